import numpy as np
import pytest
from moving_blobs import blobs

from cellvid_diffusers.data.patches import (
    axis_starts,
    blank_frames,
    noise_level,
    patch_grid,
    reject_reason,
    window_starts,
)


def test_the_papers_geometry_gives_196_patches_a_window():
    grid = patch_grid(1400, 1400, 128, 0.25)
    assert len(grid) == 196
    assert grid[0] == (0, 0) and grid[-1] == (1272, 1272)


@pytest.mark.parametrize("length", [64, 65, 100, 131])
@pytest.mark.parametrize("overlap", [0, 0.25, 0.5])
def test_patches_cover_the_frame_and_stay_in_it(length, overlap):
    seen = np.zeros((length, length + 7), int)
    for y, x in patch_grid(length, length + 7, 32, overlap):
        part = seen[y : y + 32, x : x + 32]
        assert part.shape == (32, 32)
        part += 1
    assert seen.min() >= 1


def test_windows_of_time():
    assert window_starts(70, 35) == [0, 35]
    assert window_starts(37, 10) == [0, 10, 20, 27]
    assert window_starts(21, 5, 2) == [0, 10, 12]
    assert axis_starts(10, 10, 5) == [0]
    with pytest.raises(ValueError, match="recording must hold 9 frames for 5 at stride 2, got 8"):
        window_starts(8, 5, 2)


def test_rejection():
    cells = blobs(6, 64, 64)
    noise = np.random.default_rng(0).normal(120, 2, cells.shape).astype(np.uint8)
    level = noise_level(noise)
    assert reject_reason(cells, level) is None
    assert reject_reason(noise, level) == "empty"
    assert reject_reason(np.repeat(cells[:1], 6, axis=0), level) == "frozen"
    bright = cells.copy()
    bright[:, :10] = 255
    assert reject_reason(bright, level) == "saturated"
    corrected = bright // 2 + 20
    assert reject_reason(corrected, level) is None
    assert reject_reason(corrected, level, recorded=bright) == "saturated"


@pytest.mark.parametrize("level", [0, 4, 120, 255])
def test_a_frame_without_picture_is_blank(level):
    cells = blobs(6, 64, 64)
    contrast = float(cells.std((1, 2)).mean())
    assert not blank_frames(cells, contrast).any()
    cells[3] = np.clip(np.random.default_rng(0).normal(level, 1, cells[3].shape), 0, 255)
    assert np.flatnonzero(blank_frames(cells, contrast)).tolist() == [3]


def test_faint_recordings_and_changing_light_are_not_blank():
    cells = blobs(6, 64, 64)
    contrast = float(cells.std((1, 2)).mean())
    assert not blank_frames(np.full_like(cells, 7), contrast=0.0).any()
    cells[3:] //= 4
    assert not blank_frames(cells, contrast).any()
