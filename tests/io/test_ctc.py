import numpy as np
import pytest
import tifffile

from cellvid_diffusers.io import read_ctc, write_ctc


@pytest.fixture
def division() -> tuple[np.ndarray, np.ndarray]:
    """Cell 1 divides after frame 1 into 2 and 3; cell 9 comes late."""
    masks = np.zeros((4, 10, 12), np.int32)
    masks[:2, 1:5, 1:5] = 1
    masks[2:, 1:3, 1:5], masks[2:, 4:6, 1:5] = 2, 3
    masks[3, 8:, 8:] = 9
    return masks, np.array([[1, 0, 1, 0], [2, 2, 3, 1], [3, 2, 3, 1], [9, 3, 3, 0]])


def test_read_is_the_inverse_of_write(tmp_path, division):
    write_ctc(tmp_path / "01_RES", *division)
    masks, tracks = read_ctc(tmp_path / "01_RES")
    np.testing.assert_array_equal(masks, division[0])
    np.testing.assert_array_equal(tracks, division[1])


def test_the_layout_is_the_challenges(tmp_path, division):
    write_ctc(tmp_path / "01_RES", *division)
    names = sorted(each.name for each in (tmp_path / "01_RES").iterdir())
    assert names == ["mask000.tif", "mask001.tif", "mask002.tif", "mask003.tif", "res_track.txt"]
    assert tifffile.imread(tmp_path / "01_RES" / "mask000.tif").dtype == np.uint16
    assert (tmp_path / "01_RES" / "res_track.txt").read_text() == "1 0 1 0\n2 2 3 1\n3 2 3 1\n9 3 3 0\n"


def test_tracks_are_found_when_none_are_given(tmp_path, division):
    write_ctc(tmp_path / "01_RES", division[0])
    assert read_ctc(tmp_path / "01_RES")[1].tolist() == [[1, 0, 1, 0], [2, 2, 3, 0], [3, 2, 3, 0], [9, 3, 3, 0]]


def test_no_cell_at_all(tmp_path):
    write_ctc(tmp_path / "01_RES", np.zeros((2, 4, 4), int))
    masks, tracks = read_ctc(tmp_path / "01_RES")
    assert not masks.any() and tracks.shape == (0, 4)


def test_an_earlier_result_is_replaced_whole(tmp_path, division):
    write_ctc(tmp_path / "01_RES", *division)
    write_ctc(tmp_path / "01_RES", division[0][:1])
    assert read_ctc(tmp_path / "01_RES")[0].shape[0] == 1
    assert [each.name for each in tmp_path.iterdir()] == ["01_RES"]


def test_true_tracks_are_read_too(tmp_path):
    for frame in range(3):
        tifffile.imwrite(tmp_path / f"man_track{frame:03d}.tif", np.full((4, 4), 5, np.uint16))
    (tmp_path / "man_track.txt").write_text("5 0 2 0\n")
    masks, tracks = read_ctc(tmp_path)
    assert masks.shape == (3, 4, 4) and (masks == 5).all() and tracks.tolist() == [[5, 0, 2, 0]]


@pytest.mark.parametrize(
    ("tracks", "rule"),
    [
        ([[1, 0, 1, 0], [2, 2, 3, 1], [3, 2, 3, 1]], "track 9, which is unknown, seen in frame 3"),
        ([[1, 0, 2, 0], [2, 2, 3, 0], [3, 2, 3, 0], [9, 3, 3, 0]], "track 1, .*, not seen in frame 2"),
        ([[1, 0, 1, 0], [2, 2, 3, 3], [3, 2, 3, 1], [9, 3, 3, 0]], "parent 3 of track 2"),
        ([[1, 0, 1, 0], [1, 0, 1, 0], [2, 2, 3, 1], [3, 2, 3, 1], [9, 3, 3, 0]], "each track must have one row"),
        ([[1, 0, 1, 0], [2, 2, 3, 7], [3, 2, 3, 1], [9, 3, 3, 0]], "parent 7 of track 2"),
    ],
)
def test_masks_and_tracks_must_agree(tmp_path, division, tracks, rule):
    with pytest.raises(ValueError, match=rule):
        write_ctc(tmp_path / "01_RES", division[0], tracks)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("label", [-1, 65536])
def test_labels_must_fit_16_bits(tmp_path, label):
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.65535"):
        write_ctc(tmp_path / "01_RES", np.full((1, 2, 2), label))


def test_files_of_the_systems_file_browser_do_not_matter(tmp_path, division):
    write_ctc(tmp_path, *division)
    for name in (".DS_Store", "Thumbs.db"):
        (tmp_path / name).touch()
    write_ctc(tmp_path, *division)
    np.testing.assert_array_equal(read_ctc(tmp_path)[0], division[0])


def test_a_folder_of_something_else_is_left_alone(tmp_path, division):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"with thesis\.txt in it"):
        write_ctc(tmp_path, *division)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    with pytest.raises(ValueError, match="a folder with mask"):
        read_ctc(tmp_path)


def test_a_frame_that_is_missing_is_told(tmp_path, division):
    write_ctc(tmp_path / "out", *division)
    sorted((tmp_path / "out").glob("mask*.tif"))[1].unlink()
    with pytest.raises(ValueError, match="masks must leave no frame out, frame 1 is missing"):
        read_ctc(tmp_path / "out")
