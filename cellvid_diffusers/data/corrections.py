"""What a microscope adds to a culture and is taken out before patches are cut: flicker, uneven light, drift."""

from collections.abc import Iterable

import cv2
import numpy as np

from .patches import blank_frames

BACKGROUND_CELL = 32


def median_and_mad(frame: np.ndarray) -> tuple[float, float]:
    """Median and median absolute deviation of a uint8 frame, to a fraction of a grey level.

    A value counts as spread evenly over its level. Whole levels will not do: phase contrast is so flat that its
    deviation is 3 or 4 levels, and rounding it would make the flicker that `equalize_flicker` takes out.
    """
    edges = np.arange(257) - 0.5
    cumulative = np.concatenate(([0], np.cumsum(np.bincount(frame.ravel(), minlength=256)))) / frame.size
    median = float(np.interp(0.5, cumulative, edges))
    reach = np.linspace(0, 256, 256 * 64 + 1)
    within = np.interp(median + reach, edges, cumulative) - np.interp(median - reach, edges, cumulative)
    return median, float(np.interp(0.5, within, reach))


def flicker_reference(frames: np.ndarray) -> tuple[float, float]:
    """Median over frames of their medians and deviations: the recording's level and contrast."""
    level, contrast = np.median([median_and_mad(frame) for frame in frames], axis=0)
    return float(level), float(contrast)


def equalize_flicker(frames: np.ndarray, *, reference: tuple[float, float] | None = None) -> np.ndarray:
    """Bring each frame's median and median absolute deviation to the recording's.

    Parameters
    ----------
    frames : ndarray of shape (F, H, W), uint8
    reference : (level, contrast), optional
        Target in grey levels; by default `flicker_reference(frames)`.

    Returns
    -------
    ndarray of shape (F, H, W), uint8
    """
    level, contrast = reference or flicker_reference(frames)
    values = np.arange(256, dtype=np.float64)
    equalized = np.empty_like(frames)
    for target, frame in zip(equalized, frames, strict=True):
        median, mad = median_and_mad(frame)
        table = (values - median) * (contrast / mad) + level
        cv2.LUT(frame, np.clip(np.rint(table), 0, 255).astype(np.uint8), dst=target)
    return equalized


def uneven_light(frames: np.ndarray) -> np.ndarray:
    """Light that stays in place: the median over time, then over cells of 32 x 32 pixels, less its own median.

    Parameters
    ----------
    frames : ndarray of shape (F, H, W), uint8
        A sample over the whole recording, so that cells have moved on.

    Returns
    -------
    ndarray of shape (ceil(H / 32), ceil(W / 32)), float32
    """
    still = np.median(frames, axis=0)
    rows, columns = (range(0, side, BACKGROUND_CELL) for side in still.shape)
    grid = [[np.median(still[y : y + BACKGROUND_CELL, x : x + BACKGROUND_CELL]) for x in columns] for y in rows]
    return (np.array(grid) - np.median(still)).astype(np.float32)


def flatten_light(frames: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Frames `(F, H, W)` uint8 less `uneven_light`, smoothly interpolated."""
    height, width = frames.shape[1:]
    padded = light.shape[1] * BACKGROUND_CELL, light.shape[0] * BACKGROUND_CELL
    field = cv2.resize(light, padded, interpolation=cv2.INTER_CUBIC)[:height, :width]
    return np.clip(np.rint(frames - field), 0, 255).astype(np.uint8)


def measure_drift(frames: Iterable[np.ndarray], contrast: float = 0.0) -> np.ndarray:
    """Where the culture lies in each frame, in whole pixels (y, x) against the first frame.

    Successive frames are laid over each other, first by phase correlation and then by their correlation coefficient,
    which see what most of the picture does, not single cells; the steps are summed before rounding.

    Parameters
    ----------
    frames : iterable of (H, W) uint8
    contrast : float
        Standard deviation of the recording's good frames in grey levels. Frames that show nothing against it
        (`blank_frames`) are passed over, and lie where the one before does.

    Returns
    -------
    ndarray of shape (F, 2), int64

    Raises
    ------
    ValueError
        If a frame has nothing in common with the last good one before.
    """
    steps, previous = [], None
    for frame in frames:
        steps.append(np.zeros(2))
        if blank_frames(frame[None], contrast)[0]:
            continue
        reduction = max(1, max(frame.shape) // 512)
        current = cv2.resize(frame, None, fx=1 / reduction, fy=1 / reduction, interpolation=cv2.INTER_AREA)
        if previous is not None:
            steps[-1] = reduction * _shift(previous, current)
        previous = current
    return np.rint(np.cumsum(steps, axis=0)).astype(np.int64)


def _shift(previous: np.ndarray, current: np.ndarray) -> np.ndarray:
    """How far (y, x) the content moves from one frame to the next, in pixels."""
    window = cv2.createHanningWindow(current.shape[::-1], cv2.CV_32F)
    guess, _ = cv2.phaseCorrelate(previous.astype(np.float32), current.astype(np.float32), window)
    matrix = np.array([[1, 0, guess[0]], [0, 1, guess[1]]], np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-4)
    try:
        _, matrix = cv2.findTransformECC(previous, current, matrix, cv2.MOTION_TRANSLATION, criteria, None, 5)
    except cv2.error:
        raise ValueError("drift can be measured only where successive frames resemble each other") from None
    return matrix[::-1, 2].astype(np.float64)


def follow_drift(frames: np.ndarray, drift: np.ndarray, extent: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Frames cut so that the culture stays in place; whole pixels, so nothing is interpolated.

    Parameters
    ----------
    frames : ndarray of shape (F, H, W)
    drift : ndarray of shape (F, 2)
        Of these frames, from `measure_drift`.
    extent : (ndarray of 2, ndarray of 2)
        Least and greatest drift of the recording; what all its frames show is kept.
    """
    low, high = extent
    height, width = np.array(frames.shape[1:]) - (high - low)
    corners = drift - low
    return np.stack([f[y : y + height, x : x + width] for f, (y, x) in zip(frames, corners, strict=True)])
