import numpy as np
import pytest

from cellvid_diffusers.io.contrast import stretch_contrast


@pytest.fixture
def faint() -> np.ndarray:
    """Grey levels 80 to 119, each as often as any other."""
    return np.tile(np.arange(80, 120, dtype=np.uint8), (3, 8, 1))


def test_fills_the_range_where_it_may(faint):
    stretched = stretch_contrast(faint, saturated=0, at_most=10)
    assert (stretched.min(), stretched.max()) == (0, 255)
    assert (np.diff(stretched[0, 0].astype(int)) > 0).all()


def test_stretches_no_further_than_asked(faint):
    steps = np.diff(stretch_contrast(faint, at_most=3)[0, 0].astype(int))
    assert set(steps) == {3}


def test_a_full_range_stays_as_it_is():
    video = np.tile(np.arange(256, dtype=np.uint8), (2, 4, 1))
    np.testing.assert_array_equal(stretch_contrast(video, saturated=0), video)


def test_all_frames_change_alike(faint):
    video = np.stack([faint[0], faint[0] // 2])
    stretched = stretch_contrast(video)
    assert stretched[1].mean() < stretched[0].mean() - 40


def test_an_even_clip_is_grey_and_floats_are_welcome():
    assert set(np.unique(stretch_contrast(np.full((2, 4, 4), 0.3)))) == {128}


@pytest.mark.parametrize("options", [{"saturated": 1}, {"at_most": 0.5}])
def test_options_out_of_range(faint, options):
    with pytest.raises(ValueError, match="saturated must lie in"):
        stretch_contrast(faint, **options)
