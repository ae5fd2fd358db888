import zipfile

import numpy as np
import pytest
import roifile
import tifffile

from cellvid_diffusers.evaluation.external_masks import check_masks, decode_roi, read_masks
from cellvid_diffusers.io import write_ctc, write_imagej_rois

SHAPE = (2, 40, 48)


@pytest.fixture
def masks():
    y, x = np.mgrid[:40, :48]
    frames = np.zeros(SHAPE, np.int32)
    for frame in range(2):
        frames[frame][np.hypot(y - 12, x - 12 - frame) < 7] = 1
        frames[frame][5 + frame : 30, 30:41] = 2
    return frames


def test_every_format_gives_the_masks_back(masks, tmp_path):
    write_ctc(tmp_path / "ctc", masks)
    tifffile.imwrite(tmp_path / "cells_cp_masks.tif", masks.astype(np.uint16))
    np.save(tmp_path / "cells.npy", masks)
    np.savez(tmp_path / "cells.npz", masks=masks)
    write_imagej_rois(tmp_path / "cells.zip", masks)
    for name in ("ctc", "cells_cp_masks.tif", "cells.npy", "cells.npz", "cells.zip"):
        read = read_masks(tmp_path / name, SHAPE)
        assert read.dtype == np.int32
        assert np.array_equal(read, masks), name


@pytest.mark.parametrize("kind", ["POLYGON", "FREEHAND", "TRACED"])
@pytest.mark.parametrize("subpixel", [False, True])
def test_outlines_agree_with_roifile(kind, subpixel, tmp_path):
    corners = np.array([[10, 5], [30, 8], [25, 30], [8, 20]]) + (0.25 if subpixel else 0)
    roi = roifile.ImagejRoi.frompoints(corners)
    roi.roitype = roifile.ROI_TYPE[kind]
    roi.position = 2
    read, position = decode_roi(roi.tobytes())
    assert position == 2
    assert np.allclose(read, roi.coordinates())


def test_ovals_and_rectangles_have_their_area(tmp_path):
    for kind, area in (("RECT", 20 * 16), ("OVAL", np.pi * 10 * 8)):
        path = tmp_path / f"{kind}.roi"
        roi = roifile.ImagejRoi(roitype=roifile.ROI_TYPE[kind], top=4, left=6, bottom=20, right=26, position=1)
        roi.tofile(path)
        read = read_masks(path, SHAPE)
        assert (read[0] > 0).sum() == pytest.approx(area, rel=0.03)
        assert not read[1].any()


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (np.zeros((2, 40, 40), int), "shape of their video"),
        (np.zeros(SHAPE), "integer labels"),
        (np.full(SHAPE, -1), "lie in 0"),
    ],
)
def test_masks_that_do_not_fit_are_refused(wrong, rule):
    with pytest.raises(ValueError, match=rule):
        check_masks(wrong, SHAPE)


@pytest.mark.parametrize("inside", [True, 1, 255])
def test_a_binary_mask_of_several_cells_is_no_labels(masks, inside):
    binary = (masks > 0) * np.array(inside)
    with pytest.raises(ValueError, match=r"one number a cell, got a binary one .* skimage\.measure\.label"):
        check_masks(binary, SHAPE)
    single = (masks == 1) * np.array(inside)
    np.testing.assert_array_equal(check_masks(single, SHAPE), single)


def test_unknown_formats_and_pickles_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"got \.png"):
        read_masks(tmp_path / "cells.png", SHAPE)
    np.save(tmp_path / "cells_seg.npy", {"masks": np.zeros(SHAPE, int)}, allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        read_masks(tmp_path / "cells_seg.npy", SHAPE)
    with pytest.raises(ValueError, match="Iout"):
        decode_roi(b"nonsense")


def test_archives_without_masks_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", labels=np.zeros((2, 8, 8), int))
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        archive.writestr("a.png", b"")
    for name, rule in (
        ("other.npz", r"must hold masks, got \['labels'\]"),
        ("pictures.zip", "must hold ImageJ outlines"),
    ):
        with pytest.raises(ValueError, match=rule):
            read_masks(tmp_path / name, (2, 8, 8))


def test_composite_outlines_are_not_taken_for_their_box():
    data = bytearray(roifile.ImagejRoi.frompoints(np.array([[2, 2], [20, 2], [20, 20], [2, 20]])).tobytes())
    data[6], data[36:40] = roifile.ROI_TYPE.RECT.value, (24).to_bytes(4, "big")  # a rectangle with a shape behind it
    with pytest.raises(ValueError, match="outlines must be single and without holes, got a composite one in x"):
        decode_roi(bytes(data), name="x")
