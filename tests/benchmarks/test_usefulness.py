"""The networks learn; the arms see what they should; curves know their intervals; the whole page at a tiny size."""

import sys

import numpy as np
import pytest
import tifffile
from launching import ROOT, run_benchmark
from scipy.ndimage import gaussian_filter

from cellvid_diffusers.io import write_ome_tiff
from cellvid_diffusers.simulation import simulate

sys.path.insert(0, str(ROOT / "benchmarks"))

import predict_frames
import segment_frames
from low_data import Curve, share_of
from predict_frames import baseline_errors, skill, squared_errors, windows


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


def test_a_trained_predictor_beats_persistence_on_new_clips(drifting):
    model = predict_frames.train(windows(drifting[:8], ahead=2), steps=60, seed=0)
    errors = squared_errors(model, drifting[8:], ahead=2)[None]
    baselines = baseline_errors(drifting[8:], ahead=2)
    assert skill(errors, baselines["persistence"], np.arange(4)) > 0.3
    assert (baselines["flow extrapolation"] < baselines["persistence"]).all()


def test_an_untrained_predictor_is_persistence(drifting):
    errors = squared_errors(predict_frames.train(windows(drifting, 2), steps=1, seed=0), drifting, ahead=2)
    np.testing.assert_allclose(errors, baseline_errors(drifting, 2)["persistence"], rtol=0.05)


def test_a_trained_segmenter_finds_the_cells_of_new_cultures():
    pairs = segment_frames.simulated(18)
    model = segment_frames.train(pairs[:15], steps=60, seed=0, augment=True)
    dice = [segment_frames.foreground_dice(segment_frames.label(model, frame), labels) for frame, labels in pairs[15:]]
    assert np.mean(dice) > 0.5


def test_tiles_do_not_overlap():
    frame, labels = np.arange(300 * 270, dtype=np.float32).reshape(300, 270), np.zeros((300, 270), np.int32)
    cut = [piece for piece, _ in segment_frames.tiles([(frame, labels)])]
    assert [piece.shape for piece in cut] == [(128, 128)] * 4
    assert len(np.unique(np.stack(cut))) == 4 * 128**2


def test_a_difference_covers_zero_for_the_same_and_not_for_better():
    rng = np.random.default_rng(0)
    curve = Curve("score", ("real",), np.repeat(np.arange(8), 5), lambda values, chosen: values[:, chosen].mean())
    one = rng.uniform(0.4, 0.6, (3, 40))
    assert curve.difference(one, one) == (0, 0)
    low, high = curve.difference(one + 0.2, one)
    assert low == pytest.approx(0.2) and high == pytest.approx(0.2)
    low, high = curve.difference(rng.uniform(0.4, 0.6, (3, 40)), one)
    assert low < 0 < high


def test_a_share_has_every_kind():
    chosen = share_of(np.array(["a"] * 20 + ["b"] * 4), 0.1, seed=0)
    assert len(chosen) == 3 and (chosen < 20).sum() == 2


@pytest.mark.slow
def test_page(patches, tmp_path):
    made = np.random.default_rng(0).integers(0, 255, (4, 10, 64, 64), dtype=np.uint8)
    (tmp_path / "clips").mkdir()
    for index, clip in enumerate(made):
        write_ome_tiff(tmp_path / "clips" / f"video_{index:05d}.ome.tif", clip)
    (tmp_path / "annotated" / "usiigaci_annotated").mkdir(parents=True)
    for name in ("train_set1", "train_set3"):
        culture = simulate(num_frames=1, size=256, seed=1)
        tifffile.imwrite(tmp_path / "annotated" / "usiigaci_annotated" / f"{name}.tif", culture.video[0])
        tifffile.imwrite(tmp_path / "annotated" / "usiigaci_annotated" / f"{name}_masks.tif", culture.masks[0])
    command = ["usefulness.py", "--train", patches, "--real", patches]
    command += ["--clips", tmp_path / "clips", "--data_dir", tmp_path / "annotated"]
    command += ["--shares", "0.5", "1", "--seeds", "2", "--steps", "2"]
    command += ["--out", tmp_path / "usefulness.md", "--figure", tmp_path / "images" / "usefulness.png"]
    run_benchmark(*command)
    page = (tmp_path / "usefulness.md").read_text()
    assert "(images/usefulness.png)" in page and (tmp_path / "images" / "usefulness.png").exists()
    for row in ("| 50% | real |", "| 50% | real + generated |", "| 100% | real, augmented |", "| none | generated |"):
        assert row in page
    for row in ("| 50% | generated |", "| 50% | real + simulated |", "| none | simulated |"):
        assert row in page
