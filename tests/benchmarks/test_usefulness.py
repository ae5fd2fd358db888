"""The frame predictor learns a drift; the arms see what they should; the whole page at a tiny size."""

import sys

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from script import ROOT, run_script

from cellvid_diffusers.data import write_simulated
from cellvid_diffusers.io import write_ome_tiff

sys.path.insert(0, str(ROOT / "benchmarks"))

from usefulness import (
    baseline_errors,
    difference,
    share_of,
    skill,
    squared_errors,
    train,
    windows,
)


@pytest.fixture(scope="module")
def drifting() -> np.ndarray:
    """Textures that move by 1 px/frame to the right: (12, 8, 32, 32) uint8."""
    rng, clips = np.random.default_rng(0), []
    for _ in range(12):
        texture = gaussian_filter(rng.random((32, 64)), 2)
        texture = 50 + 150 * (texture - texture.min()) / np.ptp(texture)
        clips.append(np.stack([texture[:, 16 - k : 48 - k] for k in range(8)]))
    return np.stack(clips).astype(np.uint8)


def test_windows_hold_what_is_seen_and_what_comes(drifting):
    runs = windows(drifting, ahead=2)
    assert runs.shape == (12 * 4, 4, 32, 32)
    np.testing.assert_array_equal(runs[0], drifting[0, [0, 1, 2, 4]])
    np.testing.assert_array_equal(runs[-1], drifting[-1, [3, 4, 5, 7]])


def test_a_trained_network_beats_persistence_on_new_clips(drifting):
    model = train(windows(drifting[:8], ahead=2), steps=60, seed=0)
    errors = squared_errors(model, drifting[8:], ahead=2)[None]
    baselines = baseline_errors(drifting[8:], ahead=2)
    assert skill(errors, baselines["persistence"], np.arange(4)) > 0.3
    assert (baselines["flow extrapolation"] < baselines["persistence"]).all()


def test_an_untrained_network_is_persistence(drifting):
    errors = squared_errors(train(windows(drifting, 2), steps=1, seed=0), drifting, ahead=2)
    np.testing.assert_allclose(errors, baseline_errors(drifting, 2)["persistence"], rtol=0.05)


def test_difference_covers_zero_for_the_same_and_not_for_better():
    rng = np.random.default_rng(0)
    baseline, groups = rng.uniform(90, 110, 40), np.repeat(np.arange(8), 5)
    one = rng.uniform(40, 60, (3, 40))
    assert difference(one, one, baseline, groups) == (0, 0)
    low, high = difference(one - 20, one, baseline, groups)
    assert 0.15 < low <= high < 0.25


def test_a_share_has_every_kind():
    kinds = np.array(["a"] * 20 + ["b"] * 4)
    clips = np.arange(24)
    chosen = share_of(clips, kinds, 0.1, seed=0)
    assert len(chosen) == 3 and (chosen < 20).sum() == 2


@pytest.mark.slow
def test_page(tmp_path):
    write_simulated(tmp_path / "data", num_videos=16, size=64, num_frames=10, seed=0)
    made = np.random.default_rng(0).integers(0, 255, (4, 10, 64, 64), dtype=np.uint8)
    (tmp_path / "clips").mkdir()
    for index, clip in enumerate(made):
        write_ome_tiff(tmp_path / "clips" / f"video_{index:05d}.ome.tif", clip)
    command = ["usefulness.py", "--train", tmp_path / "data", "--real", tmp_path / "data"]
    command += ["--clips", tmp_path / "clips", "--shares", "0.5", "1", "--seeds", "2", "--steps", "2"]
    command += ["--out", tmp_path / "usefulness.md", "--figure", tmp_path / "images" / "usefulness.png"]
    run_script(*command)
    page = (tmp_path / "usefulness.md").read_text()
    assert "(images/usefulness.png)" in page and (tmp_path / "images" / "usefulness.png").exists()
    for row in ("| 50% | real |", "| 50% | real + generated |", "| 100% | real, augmented |", "| none | generated |"):
        assert row in page
