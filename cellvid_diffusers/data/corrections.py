"""Removal of imaging artefacts before patches are cut: flicker, uneven illumination, drift."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .patches import blank_frames

BACKGROUND_CELL = 32
KEPT = 0.25
"""A key frame is replaced when a frame's correlation with it drops below this share of the first such correlation."""
LEAST_LIKENESS = 0.05
"""Correlation below which two frames have nothing in common."""
LEAST_OVERLAP = 16
"""Smallest side of the area that two frames share, px."""


def median_and_mad(frame: np.ndarray) -> tuple[float, float]:
    """Median and median absolute deviation of a uint8 frame, to a fraction of a grey level.

    Pixels of a grey level are treated as spread evenly over it. Whole levels are too coarse: phase contrast is so flat
    that its deviation is 3 or 4 levels, and rounding would introduce the flicker that `equalize_flicker` removes.
    """
    edges = np.arange(257) - 0.5
    cumulative = np.concatenate(([0], np.cumsum(np.bincount(frame.ravel(), minlength=256)))) / frame.size
    median = float(np.interp(0.5, cumulative, edges))
    reach = np.linspace(0, 256, 256 * 64 + 1)
    within = np.interp(median + reach, edges, cumulative) - np.interp(median - reach, edges, cumulative)
    return median, float(np.interp(0.5, within, reach))


def flicker_reference(frames: np.ndarray) -> tuple[float, float]:
    """A recording's level and contrast: median over frames of their medians and median absolute deviations."""
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
    """Static illumination: the median over time, then over blocks of 32 x 32 pixels, minus its overall median.

    Parameters
    ----------
    frames : ndarray of shape (F, H, W), uint8
        A sample from the whole recording, so that cells have moved in between.

    Returns
    -------
    ndarray of shape (ceil(H / 32), ceil(W / 32)), float32
    """
    still = np.median(frames, axis=0)
    rows, columns = (range(0, side, BACKGROUND_CELL) for side in still.shape)
    grid = [[np.median(still[y : y + BACKGROUND_CELL, x : x + BACKGROUND_CELL]) for x in columns] for y in rows]
    return (np.array(grid) - np.median(still)).astype(np.float32)


def flatten_light(frames: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Subtract the smoothly interpolated `uneven_light` from frames `(F, H, W)` uint8."""
    height, width = frames.shape[1:]
    padded = light.shape[1] * BACKGROUND_CELL, light.shape[0] * BACKGROUND_CELL
    field = cv2.resize(light, padded, interpolation=cv2.INTER_CUBIC)[:height, :width]
    return np.clip(np.rint(frames - field), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Corrections:
    """Corrections to the frames of one recording, measured once over all of it.

    Attributes
    ----------
    light : ndarray, optional
        `uneven_light`.
    reference : (float, float), optional
        `flicker_reference`.
    drift : ndarray of shape (F, 2), optional
        `measure_drift` of all frames.
    """

    light: np.ndarray | None = None
    reference: tuple[float, float] | None = None
    drift: np.ndarray | None = None

    def apply(self, frames: np.ndarray, indices: Sequence[int]) -> np.ndarray:
        """Even out the light of frames `(n, H, W)` uint8 with these indices and remove flicker and drift."""
        return self.steady(self.correct_light(frames), indices)

    def correct_light(self, frames: np.ndarray) -> np.ndarray:
        """Even out the light of frames `(n, H, W)` uint8 and remove flicker."""
        if self.light is not None:
            frames = flatten_light(frames, self.light)
        if self.reference is not None:
            frames = equalize_flicker(frames, reference=self.reference)
        return frames

    def steady(self, frames: np.ndarray, indices: Sequence[int]) -> np.ndarray:
        """Remove the drift from frames, or masks, with these indices."""
        if self.drift is None:
            return frames
        return follow_drift(frames, self.drift[list(indices)], (self.drift.min(0), self.drift.max(0)))


def measure_drift(frames: Iterable[np.ndarray], contrast: float = 0.0) -> np.ndarray:
    """Position of the culture in each frame, in whole pixels (y, x) relative to the first frame.

    Frames are registered to a key frame by cross-correlation of their fine structure, with strong contrast clipped so
    that the bulk of the picture counts and not single bright cells. The key is the first frame until too little of it
    is left, then the previous frame. Frame-to-frame steps are not summed: where cells crawl in one direction, each step
    would contain a little of that motion.

    Parameters
    ----------
    frames : iterable of (H, W) uint8
    contrast : float
        Standard deviation of the recording's good frames in grey levels. Frames that are blank by comparison
        (`blank_frames`) are skipped and get the position of the previous frame.

    Returns
    -------
    ndarray of shape (F, 2), int64

    Raises
    ------
    ValueError
        If a frame has nothing in common with the last good frame before it.
    """
    places, at, follower = [], np.zeros(2), _Follower()
    for frame in frames:
        if not blank_frames(frame[None], contrast)[0]:
            reduction = max(1, max(frame.shape) // 512)
            small = cv2.resize(frame, None, fx=1 / reduction, fy=1 / reduction, interpolation=cv2.INTER_AREA)
            at = reduction * follower.place(_fine_structure(small))
        places.append(at)
    return np.rint(places).astype(np.int64).reshape(-1, 2)


class _Follower:
    """Registers pictures to a key picture, which is replaced by the previous picture when too little of it is left."""

    def __init__(self) -> None:
        self.key: np.ndarray | None = None
        self.before: np.ndarray | None = None
        self.alike: float | None = None  # the first picture's correlation with the key
        self.key_at = self.at = np.zeros(2)

    def place(self, current: np.ndarray) -> np.ndarray:
        """Position (y, x) of the next picture relative to the first."""
        if self.key is None:
            self.key = current
        else:
            moved, likeness = _shift(self.key, current)
            if self.before is not None and self.alike is not None and likeness < KEPT * self.alike:
                self.key, self.key_at, self.alike = self.before, self.at, None
                moved, likeness = _shift(self.key, current)
            if likeness < LEAST_LIKENESS:
                raise ValueError("drift can be measured only where successive frames resemble each other")
            self.alike = likeness if self.alike is None else self.alike
            self.at = self.key_at + moved
        self.before = current
        return self.at


def _fine_structure(frame: np.ndarray) -> np.ndarray:
    """Structure of 1 to 6 px, clipped at its standard deviation as estimated from the median."""
    image = frame.astype(np.float32)
    fine = cv2.GaussianBlur(image, (0, 0), 1.0) - cv2.GaussianBlur(image, (0, 0), 6.0)
    limit = 1.4826 * float(np.median(np.abs(fine))) + 1e-3
    return np.clip(fine, -limit, limit)


def _shift(key: np.ndarray, current: np.ndarray) -> tuple[np.ndarray, float]:
    """Shift (y, x) of the content in pixels, and the correlation of the area that both pictures share after it."""
    moved = _peak(key, current)
    for _ in range(2):  # repeat on the overlap: the window function biases large shifts towards smaller ones
        both = _overlap(key, current, *np.rint(moved).astype(int))
        if min(both[0].shape) < LEAST_OVERLAP:
            return moved, 0.0
        moved = np.rint(moved) + _peak(*both)
    one, two = (part.ravel() for part in _overlap(key, current, *np.rint(moved).astype(int)))
    spread = float(one.std() * two.std())
    return moved, float(np.mean((one - one.mean()) * (two - two.mean())) / spread) if spread > 0 else 0.0


def _peak(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Shift (y, x) of maximum cross-correlation of two pictures, to a fraction of a pixel."""
    window = cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F)
    spectra = [np.fft.rfft2((picture - picture.mean()) * window) for picture in (one, two)]
    surface = np.fft.irfft2(np.conj(spectra[0]) * spectra[1], one.shape)
    y, x = np.unravel_index(surface.argmax(), surface.shape)
    found = []
    for place, line in ((int(y), surface[:, x]), (int(x), surface[y])):
        left, top, right = line[place - 1], line[place], line[(place + 1) % len(line)]
        bend = left - 2 * top + right
        centred = place if place <= len(line) // 2 else place - len(line)
        found.append(centred + ((left - right) / (2 * bend) if bend < 0 else 0.0))
    return np.array(found)


def _overlap(one: np.ndarray, two: np.ndarray, dy: int, dx: int) -> tuple[np.ndarray, np.ndarray]:
    """Area that both pictures share when the content of the second is shifted by (dy, dx)."""
    height, width = one.shape
    first = one[max(0, -dy) : max(0, height - max(0, dy)), max(0, -dx) : max(0, width - max(0, dx))]
    second = two[max(0, dy) : max(0, height + min(0, dy)), max(0, dx) : max(0, width + min(0, dx))]
    return first, second


def follow_drift(frames: np.ndarray, drift: np.ndarray, extent: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Crop frames so that the culture stays in place; whole pixels, so nothing is interpolated.

    Parameters
    ----------
    frames : ndarray of shape (F, H, W)
    drift : ndarray of shape (F, 2)
        Drift of these frames, from `measure_drift`.
    extent : (ndarray of 2, ndarray of 2)
        Smallest and largest drift of the recording; the area that all its frames show is kept.
    """
    low, high = extent
    height, width = np.array(frames.shape[1:]) - (high - low)
    corners = drift - low
    return np.stack([f[y : y + height, x : x + width] for f, (y, x) in zip(frames, corners, strict=True)])
