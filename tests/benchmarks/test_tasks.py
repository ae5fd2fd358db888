"""The baselines of the conditional tasks on a texture of known motion; the whole page at a tiny size."""

import sys

import numpy as np
import pytest
from launching import ROOT, run_benchmark
from scipy.ndimage import gaussian_filter

sys.path.insert(0, str(ROOT / "benchmarks"))

from baselines import between, extrapolate


@pytest.fixture(scope="module")
def drifting() -> np.ndarray:
    """A smooth texture that moves by 1 px/frame to the right: (1, 8, 64, 64)."""
    texture = gaussian_filter(np.random.default_rng(0).random((64, 96)), 3)
    texture = (texture - texture.min()) / np.ptp(texture)
    return np.stack([texture[:, 16 - k : 80 - k] for k in range(8)])[None].astype(np.float32)


def inner_error(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other)[..., 12:-12, 12:-12].mean())


def test_flow_extrapolation_follows_the_drift(drifting):
    error = inner_error(extrapolate(drifting, 3)[:, 5], drifting[:, 5])
    assert error < 0.2 * inner_error(drifting[:, 2], drifting[:, 5])


def test_flow_warping_beats_blending(drifting):
    warped = inner_error(between(drifting, 2, follow_flow=True), drifting)
    assert warped < 0.3 * inner_error(between(drifting, 2, follow_flow=False), drifting)


@pytest.mark.slow
def test_page(patches, checkpoint, tmp_path):
    command = ["tasks.py", "--checkpoint", checkpoint, "--real", patches, "--out", tmp_path / "tasks.md"]
    command += ["--figure", tmp_path / "images" / "tasks.png", "--clips", "2", "--futures", "2", "--steps", "2"]
    command += ["--videos", "4", "--roll-out", "20"]
    run_benchmark(*command)
    page = (tmp_path / "tasks.md").read_text()
    assert "(images/tasks.png)" in page and (tmp_path / "images" / "tasks.png").exists()
    for row in (
        "| persistence |",
        "| flow warping |",
        "| mean of 2 samples |",
        "| motion |",
        "| flow of the recordings |",
    ):
        assert row in page
