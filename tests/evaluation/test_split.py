import numpy as np
import pytest
from skimage.measure import label, regionprops

from cellvid_diffusers.evaluation.split import fill_holes, find_passes, join_pieces, split_cells


def two_discs(apart, radius=10, size=64):
    """Foreground, depth and contact of two discs, as a perfect network would see them."""
    y, x = np.mgrid[:size, :size]
    depths = [np.clip(1 - np.hypot(y - 32, x - 32 - side * apart / 2) / radius, 0, 1) for side in (-1, 1)]
    depth = np.maximum(*depths)
    return (depth > 0).astype(np.float32), depth.astype(np.float32), np.zeros((size, size), np.float32)


@pytest.mark.parametrize(("apart", "count"), [(0, 1), (12, 2), (18, 2), (30, 2)])
def test_touching_cells_are_parted(apart, count):
    labels = split_cells(*two_discs(apart))
    assert labels.dtype == np.int32
    assert np.array_equal(np.unique(labels), np.arange(count + 1))


def test_a_seam_parts_cells_that_the_depth_does_not():
    foreground = np.zeros((64, 64), np.float32)
    foreground[20:44, 10:54] = 1
    depth = foreground * 0.8
    contact = np.zeros_like(depth)
    contact[:, 31:33] = foreground[:, 31:33]
    assert split_cells(foreground, depth, contact).max() == 2
    assert split_cells(foreground, depth, contact * 0).max() == 1


def test_small_pieces_are_dropped_and_small_holes_filled():
    foreground, depth, contact = two_discs(0)
    foreground[2:5, 2:5] = depth[2:5, 2:5] = 1
    whole = split_cells(foreground, depth, contact)
    foreground[32, 32] = 0
    assert whole[3, 3] == 0
    assert np.array_equal(split_cells(foreground, depth, contact) > 0, whole > 0)


def test_passes_are_the_highest_way_between_pieces_that_touch():
    pieces = np.array([[1, 1, 2, 2], [1, 1, 2, 0], [0, 0, 0, 3]])
    relief = np.array([[9, 4, 3, 5], [9, 6, 5, 0], [0, 0, 0, 2]], float)
    pairs, passes = find_passes(pieces, relief)
    assert pairs.tolist() == [[1, 2], [2, 3]]  # corners touch
    assert passes.tolist() == [5, 2]
    assert len(find_passes(np.eye(3, dtype=int), np.eye(3))[0]) == 0


def test_a_join_leaves_the_higher_summit():
    # 1 and 2 are one cell (pass 0.1 deep), and as high as 2 it is parted from 3, from which 1 alone was not
    summits, pairs = np.array([0, 0.5, 0.8, 0.8]), np.array([[1, 2], [1, 3]])
    assert join_pieces(summits, pairs, np.array([0.4, 0.35]), 0.3).tolist() == [0, 1, 1, 3]
    assert join_pieces(summits, pairs, np.array([0.4, 0.35]), 0.5).tolist() == [0, 1, 1, 1]
    assert join_pieces(summits, pairs, np.array([0.4, 0.35]), 0.05).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("max_area", [0, 1, 4, 30])
def test_holes_are_filled_up_to_an_area(max_area):
    mask = np.random.default_rng(0).random((40, 50)) < 0.6
    filled = fill_holes(mask, max_area)
    holes = label(~mask, connectivity=1)
    for region in regionprops(holes):
        assert filled[holes == region.label].all() == (region.area <= max_area)
    assert filled[mask].all()
