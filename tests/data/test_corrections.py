import cv2
import numpy as np
import pytest
from moving_blobs import blobs

from cellvid_diffusers.data import equalize_flicker
from cellvid_diffusers.data.corrections import (
    flatten_light,
    follow_drift,
    measure_drift,
    median_and_mad,
    uneven_light,
)


def test_median_and_deviation_are_finer_than_a_grey_level():
    rng = np.random.default_rng(0)
    for scale in (2.0, 2.4, 2.8):
        median, mad = median_and_mad(np.rint(rng.normal(100.3, scale, (400, 400))).astype(np.uint8))
        assert abs(median - 100.3) < 0.05
        assert abs(mad - 0.6745 * scale) < 0.05


def test_flicker_is_taken_out():
    still = np.repeat(blobs(1), 8, axis=0).astype(float)
    gain = np.random.default_rng(0).uniform(0.7, 1.3, (8, 1, 1))
    flickering = np.clip((still - 120) * gain + 120 + 20 * (gain - 1), 0, 255).astype(np.uint8)
    before = np.abs(np.diff(flickering.astype(float), axis=0)).mean()
    after = np.abs(np.diff(equalize_flicker(flickering).astype(float), axis=0)).mean()
    assert after < 0.15 * before


def test_steady_recording_is_hardly_touched():
    video = blobs(6)
    assert np.abs(equalize_flicker(video).astype(float) - video).mean() < 1


def test_uneven_light_is_taken_out():
    video = blobs(40, 96, 128, step=(4, 1)).astype(float)
    ramp = np.linspace(-30, 30, 128)
    flat = flatten_light(
        np.clip(video * 0.3 + 80 + ramp, 0, 255).astype(np.uint8),
        uneven_light(np.clip(video * 0.3 + 80 + ramp, 0, 255).astype(np.uint8)),
    )
    columns = flat.mean((0, 1))
    assert abs(columns[:32].mean() - columns[-32:].mean()) < 8


def test_drift_is_followed_in_whole_pixels():
    scene = cv2.GaussianBlur(np.random.default_rng(0).normal(120, 90, (120, 140)).astype(np.float32), (0, 0), 1.5)
    truth = np.array([[0, 0], [1, 0], [2, -1], [2, -3], [0, -2]])
    frames = np.stack([scene[20 - y : 100 - y, 20 - x : 116 - x] for y, x in truth])
    frames = np.clip(frames, 0, 255).astype(np.uint8)
    drift = measure_drift(frames)
    np.testing.assert_array_equal(drift, truth)
    steady = follow_drift(frames, drift, (drift.min(0), drift.max(0)))
    assert steady.shape == (5, 78, 93)
    assert (steady == steady[0]).all()


@pytest.mark.parametrize("drifts", [False, True])
def test_cells_that_crawl_one_way_are_no_drift(drifts):
    """Twelve bright cells cross a dish with a little debris by 40 px in 40 frames; the dish rests, or wanders."""
    rng = np.random.default_rng(0)
    dish = 120 + cv2.GaussianBlur(rng.normal(0, 25, (240, 260)).astype(np.float32), (0, 0), 1.5)
    rows, columns = np.mgrid[:240, :260]
    cells, frames = rng.uniform(40, 200, (12, 2)), []
    truth = np.rint(np.cumsum(rng.normal(0, 1.5, (40, 2)), axis=0)).astype(int) * drifts
    truth -= truth[0]
    for t, (dy, dx) in enumerate(truth):
        scene = dish + rng.normal(0, 2, dish.shape)
        for y, x in cells:
            scene = scene + 90 * np.exp(-((rows - y) ** 2 + (columns - x - t) ** 2) / 60)
        frames.append(scene[30 - dy : 210 - dy, 30 - dx : 230 - dx])
    drift = measure_drift(np.clip(frames, 0, 255).astype(np.uint8))
    assert np.abs(drift - truth).max() <= 1


def test_frames_that_have_nothing_in_common_are_told():
    with pytest.raises(ValueError, match="only where successive frames resemble each other"):
        measure_drift(np.random.default_rng(0).integers(0, 255, (3, 128, 128), dtype=np.uint8))


@pytest.mark.parametrize("dark", [[0], [2], [1, 2], [4]])
def test_drift_goes_on_behind_frames_without_picture(dark):
    scene = cv2.GaussianBlur(np.random.default_rng(0).normal(120, 90, (120, 140)).astype(np.float32), (0, 0), 1.5)
    truth = np.array([[0, 0], [0, 0], [2, -1], [2, -3], [0, -2]])
    frames = np.clip([scene[20 - y : 100 - y, 20 - x : 116 - x] for y, x in truth], 0, 255).astype(np.uint8)
    contrast = frames.std()
    frames[dark] = np.random.default_rng(1).integers(8, 12, frames[dark].shape)
    drift = measure_drift(frames, contrast)
    shown = [t for t in range(5) if t not in dark]
    np.testing.assert_array_equal(drift[shown], truth[shown])
