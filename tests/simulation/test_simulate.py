"""Properties of simulated cultures."""

import numpy as np
import pytest
import torch

from cellvid_diffusers.flow import warp
from cellvid_diffusers.simulation import phase_contrast, simulate

SMALL = {"size": 64, "num_frames": 5}


@pytest.fixture(scope="module")
def culture():
    return simulate(**SMALL, density="dense", seed=3)


def test_shapes_and_types(culture):
    assert culture.video.shape == culture.masks.shape == (5, 64, 64)
    assert culture.flow.shape == (4, 64, 64, 2)
    assert (culture.video.dtype, culture.masks.dtype, culture.flow.dtype) == (np.uint8, np.int32, np.float32)


def test_seed_makes_the_culture(culture):
    again = simulate(**SMALL, density="dense", seed=3)
    np.testing.assert_array_equal(culture.video, again.video)
    np.testing.assert_array_equal(culture.flow, again.flow)
    assert not np.array_equal(culture.video, simulate(**SMALL, density="dense", seed=4).video)


def test_background_stands_still(culture):
    assert np.all(culture.flow[culture.masks[:-1] == 0] == 0)
    assert np.abs(culture.flow[culture.masks[:-1] > 0]).max() > 0.3


def test_flow_carries_the_masks(culture):
    """A body pixel moved by its flow lands in the same body, but for rounding at the outline."""
    for mask, following, flow in zip(culture.masks[:-1], culture.masks[1:], culture.flow, strict=True):
        rows, columns = np.nonzero(mask)
        x, y = np.rint(np.stack([columns, rows]) + flow[rows, columns].T).astype(int)
        inside = (x >= 0) & (x < 64) & (y >= 0) & (y < 64)
        kept = following[y[inside], x[inside]] == mask[rows, columns][inside]
        assert kept.mean() > 0.9


def test_flow_explains_the_video(culture):
    video = torch.from_numpy(culture.video).float()
    moved = warp(video[1:], torch.from_numpy(culture.flow).permute(0, 3, 1, 2))
    bodies = torch.from_numpy(culture.masks[:-1] > 0)
    explained = (moved - video[:-1])[bodies].abs().mean()
    assert explained < 0.75 * (video[1:] - video[:-1])[bodies].abs().mean()


def test_cells_do_not_vanish_inside_the_frame():
    culture = simulate(size=96, num_frames=8, density="dense", seed=1)
    for before, after in zip(culture.masks[:-1], culture.masks[1:], strict=True):
        for cell in set(np.unique(before)) - set(np.unique(after)):
            rows, columns = np.nonzero(before == cell)
            assert min(rows.min(), columns.min(), 95 - rows.max(), 95 - columns.max()) < 8


def test_dead_clumps_move_only_when_pushed():
    speeds = {True: [], False: []}
    for seed in range(30):  # so sparse that few clumps are touched
        culture = simulate(num_frames=2, size=96, density="very_sparse", seed=seed)
        for cell in np.unique(culture.masks[0])[1:]:
            speeds[cell in culture.dead].extend(np.abs(culture.flow[0][culture.masks[0] == cell]).ravel())
    assert np.median(speeds[True]) == 0 < np.median(speeds[False])


def test_density_is_met():
    counts = [
        np.mean([len(np.unique(simulate(size=96, num_frames=1, density=d, seed=s).masks)) for s in range(8)])
        for d in ("very_sparse", "sparse", "moderate", "dense", "very_dense")
    ]
    assert counts == sorted(counts) and counts[-1] > 4 * counts[0]


def test_mature_cultures_have_longer_neurites():
    def length(maturity: str) -> float:
        lines = [
            line for s in range(4) for _, line in simulate(size=64, num_frames=1, maturity=maturity, seed=s).neurites[0]
        ]
        return np.mean([np.linalg.norm(np.diff(line, axis=0), axis=1).sum() for line in lines])

    assert length("very_young") < length("mature") < length("very_mature")


def test_nothing_in_focus_is_uniform_light():
    np.testing.assert_allclose(phase_contrast(np.zeros((32, 32)), pixel_size_um=1.0), 1.0)


def test_thick_parts_are_dark_with_a_bright_halo():
    rows, columns = np.mgrid[:96, :96] - 48
    radius = np.hypot(rows, columns)
    image = phase_contrast(0.3 * (radius < 10), pixel_size_um=1.0)
    assert image[radius < 8].mean() < 0.8 < 1.03 < image[(radius > 11) & (radius < 15)].mean()
    assert abs(image[radius > 40].mean() - 1) < 0.01


@pytest.mark.parametrize(
    "arguments, message",
    [({"density": "full"}, "density must be one of"), ({"maturity": "old"}, "maturity must be"), ({"size": 4}, "size")],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(**arguments)
