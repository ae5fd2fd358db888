import numpy as np
import pytest

from cellvid_diffusers.evaluation import measure_clip, measure_clips

TABLES = ("cells", "neurites", "tracks", "events")


@pytest.fixture(scope="module")
def clips():
    """Two clips and masks: a disc that drifts, and nothing."""
    y, x = np.mgrid[:48, :48]
    video, masks = np.full((2, 4, 48, 48), 110, np.uint8), np.zeros((2, 4, 48, 48), np.int32)
    for frame in range(4):
        inside = np.hypot(y - 24, x - 20 - 2 * frame) <= 6
        masks[0, frame][inside] = 1
        video[0, frame][inside] = 70
    return video, masks


def test_tables_name_the_clip_and_keep_their_columns(clips):
    video, masks = clips
    found = measure_clips(video, masks=masks, pixel_size_um=0.5, num_workers=0)
    assert found.cells["clip"].tolist() == [0] * 4
    assert found.cells["track"].tolist() == [1] * 4
    assert found.events[["clip", "cell_frames"]].values.tolist() == [[0, 4], [1, 0]]
    assert found.tracks["displacement_1"].item() == pytest.approx(2, abs=0.05)
    assert np.array_equal(found.masks[0], masks[0]) and len(found.masks) == 2
    nothing = measure_clips(video[1:], masks=masks[1:], pixel_size_um=np.float32(0.5), num_workers=0)
    for name in TABLES:
        assert list(getattr(nothing, name)) == list(getattr(found, name))
        assert next(iter(getattr(found, name))) == "clip"


def test_processes_do_not_change_the_result(clips):
    video, masks = clips
    one, two = (measure_clips(video, masks=masks, num_workers=n) for n in (0, 2))
    for name in TABLES:
        assert getattr(one, name).equals(getattr(two, name))


def test_without_masks_cells_are_segmented(clips):
    found = measure_clip(clips[0][1])
    assert len(found.cells) == 0 and not found.masks[0].any()


@pytest.mark.parametrize(
    ("videos", "masks", "rule"),
    [
        ([], None, "at least one clip"),
        ([np.zeros((2, 32, 32)), np.full((2, 32, 32), np.nan)], None, "clip 1: frames must be finite"),
        ([np.zeros((0, 32, 32))], None, "clip 0: video must be"),
        ([np.zeros((2, 32, 32))], [np.zeros((2, 32, 31), int)], "clip 0: masks must have the shape"),
        ([np.zeros((2, 32, 32))], [], "as many as clips"),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_line(videos, masks, rule):
    with pytest.raises(ValueError, match=rule) as error:
        measure_clips(videos, masks=masks, num_workers=0)
    assert "\n" not in str(error.value)
