import zipfile

import numpy as np
import pytest
from scipy import ndimage
from skimage.draw import polygon2mask

from cellvid_diffusers.io import write_imagej_rois
from cellvid_diffusers.io.imagej_rois import encode_roi, trace_outline


def filled(outline: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre lies inside the outline (x, y)."""
    return polygon2mask(shape, outline[:, ::-1] - 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_an_outline_filled_is_the_region(seed):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(40, 50)), 1.5)
    labels, count = ndimage.label(noise > 0.02)
    for region in (labels == label for label in range(1, count + 1)):
        expected = ndimage.binary_fill_holes(region, structure=np.ones((3, 3)))
        np.testing.assert_array_equal(filled(trace_outline(region), region.shape), expected)


def test_one_pixel_has_four_corners():
    region = np.zeros((3, 3), bool)
    region[1, 2] = True
    assert trace_outline(region).tolist() == [[2, 1], [3, 1], [3, 2], [2, 2]]


def test_an_independent_reader_finds_every_cell_on_its_frame(tmp_path):
    roifile = pytest.importorskip("roifile")
    masks = np.zeros((3, 30, 40), np.int32)
    masks[0, 2:9, 3:12], masks[0, 4:6, 3:7] = 7, 0
    masks[1, 5:12, 6:15] = 7
    masks[1, 20:25, 30:38] = 12
    masks[2, 1:4, 1:4], masks[2, 10:14, 20:22] = 300, 300
    write_imagej_rois(tmp_path / "rois.zip", masks)

    rois = roifile.roiread(tmp_path / "rois.zip")
    assert [roi.name for roi in rois] == ["0001-0007", "0002-0007", "0002-0012", "0003-0300-1", "0003-0300-2"]
    again = np.zeros_like(masks)
    for roi in rois:
        inside = filled(roi.coordinates(), masks.shape[1:])
        again[roi.position - 1][inside] = int(roi.name.split("-")[1])
    np.testing.assert_array_equal(again, masks)


def test_the_bytes_are_those_of_the_independent_writer():
    roifile = pytest.importorskip("roifile")
    corners = np.array([[5, 2], [9, 2], [9, 8], [7, 8], [7, 5], [5, 5]])
    ours = roifile.ImagejRoi.frombytes(encode_roi(corners, name="0001-0003", position=4))
    assert (ours.left, ours.top, ours.right, ours.bottom) == (5, 2, 9, 8)
    assert ours.roitype == roifile.ROI_TYPE.TRACED and ours.position == 4 and ours.name == "0001-0003"
    np.testing.assert_array_equal(ours.coordinates(), corners)
    assert roifile.ImagejRoi.frombytes(ours.tobytes()) == ours


def test_no_cell_gives_an_empty_archive(tmp_path):
    write_imagej_rois(tmp_path / "rois.zip", np.zeros((2, 8, 8), np.uint16))
    assert zipfile.ZipFile(tmp_path / "rois.zip").namelist() == []


@pytest.mark.parametrize("masks", [np.zeros((8, 8), int), np.zeros((2, 8, 8))])
def test_other_arrays_are_refused(tmp_path, masks):
    with pytest.raises(ValueError, match="masks must be integer labels"):
        write_imagej_rois(tmp_path / "rois.zip", masks)
    assert not any(tmp_path.iterdir())
