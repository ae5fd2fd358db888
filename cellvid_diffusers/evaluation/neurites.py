"""Neurites: dark ridges and thin arms of cells, traced from the soma to the tip.

A frame's ridges are where the Hessian of the smoothed image has a strongly positive eigenvalue, measured in standard
deviations of the background, over several scales. Ridges and thin parts of cells are thinned to a skeleton; shortest
paths along it lead from somata (or the border, when the soma is out of view) to tips. A path is then moved onto the
ridge line with sub-pixel precision and smoothed, since counting pixels makes oblique lines up to 8 % too long and
biases directions towards the axes and diagonals.

References
----------
.. [1] An unbiased detector of curvilinear structures (Steger, 1998), https://doi.org/10.1109/34.659930
.. [2] Multiscale vessel enhancement filtering (Frangi et al., 1998), https://doi.org/10.1007/BFb0056195
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import pandas as pd
from scipy import ndimage
from skimage.filters import apply_hysteresis_threshold
from skimage.morphology import skeletonize

from .calibration import THRESHOLDS
from .skeleton_routes import Route, find_routes

LIMITS = THRESHOLDS["neurites"]
COLUMNS = {
    "label": int,
    "length": float,
    "total_length": float,
    "direction": float,
    "branch_points": int,
    "base_y": float,
    "base_x": float,
    "tip_y": float,
    "tip_x": float,
    "origin": object,
    "connects": int,
    "censored": bool,
}
SMOOTHING, BENT, REACH, STEP, SIDE = 2.0, 4, 4, 0.25, 5.0  # px
CORE = 0.3
"""Share of the ridge strength on a line above which pixels belong to it: keeps bold lines as narrow as faint ones."""


@dataclass(frozen=True)
class Ridges:
    """Ridge strength in background standard deviations and offset to the ridge line, for each pixel of a frame.

    `offset` is `(H, W, 2)`: y and x, in pixels, from the centre of the pixel to the nearest point of the line.
    """

    strength: np.ndarray
    offset: np.ndarray


def find_ridges(frame: np.ndarray, *, scales: tuple[float, ...] = tuple(LIMITS["scales"])) -> Ridges:
    """Detect dark lines of several widths in a frame.

    Parameters
    ----------
    frame : ndarray
        `(H, W)`, any range.
    scales : tuple of float
        Standard deviations of the smoothing, px; the response to a line of width w is largest at w / sqrt(12) to w / 2.

    Returns
    -------
    Ridges
        At each pixel, from the scale with the largest response.
    """
    strength = np.full(frame.shape, -np.inf, np.float32)
    offset = np.zeros((*frame.shape, 2), np.float32)
    for sigma in scales:
        smooth = cv2.GaussianBlur(frame.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
        gy, gx = np.gradient(smooth)
        (hyy, hyx), (_, hxx) = np.gradient(gy), np.gradient(gx)
        mean, half = (hyy + hxx) / 2, np.hypot((hyy - hxx) / 2, hyx)
        curvature = mean + half
        angle = np.arctan2(2 * hyx, hyy - hxx) / 2  # angle of the normal, from the y axis
        ny, nx = np.cos(angle), np.sin(angle)
        step = -(gy * ny + gx * nx) / np.where(np.abs(curvature) < 1e-9, np.inf, curvature)
        spread = 1.4826 * np.median(np.abs(curvature - np.median(curvature)))
        answer = (curvature - np.median(curvature)) / max(spread, 1e-6)
        better = answer > strength
        strength[better] = answer[better]
        offset[better] = np.clip(step, -1, 1)[better, None] * np.stack([ny, nx], -1)[better]
    return Ridges(strength, offset)


def find_somata(labels: np.ndarray, *, share: float = LIMITS["soma_share"]) -> np.ndarray:
    """Find the compact body of each cell: its mask, opened with a disc of `share` times its largest inscribed radius.

    Parameters
    ----------
    labels : ndarray
        `(H, W)` int.
    share : float

    Returns
    -------
    ndarray
        `(H, W)` int labels, without arms.
    """
    somata = np.zeros_like(labels)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        region = np.pad(labels[box] == label, 1)
        depth = ndimage.distance_transform_edt(region)  # OpenCV's is rounded as memory happens to be aligned
        radius = share * depth.max()
        body = ((ndimage.distance_transform_edt(depth < radius) < radius) & region)[1:-1, 1:-1]
        somata[box][body] = label
    return somata


def trace_neurites(
    frame: np.ndarray,
    labels: np.ndarray,
    *,
    polarity: str = "dark",
    seed: float = LIMITS["seed"],
    grow: float = LIMITS["grow"],
    min_length: float = LIMITS["min_length"],
) -> pd.DataFrame:
    """Trace the neurites of one frame.

    Parameters
    ----------
    frame : ndarray
        `(H, W)`, any range.
    labels : ndarray
        `(H, W)` int, cells; 0 is background.
    polarity : {"dark", "bright"}
        Neurites relative to their surroundings: dark in phase contrast, bright on the other side of focus.
    seed, grow : float
        Ridge strength, in background standard deviations, needed to start a neurite and to continue it.
    min_length : float
        Shorter neurites, in px, are left out, and shorter side branches are not counted.

    Returns
    -------
    DataFrame
        A row for each neurite: ``label`` of its cell (0: out of view or none), ``length`` of the longest path and
        ``total_length`` with its branches (px), ``direction`` from base to tip (rad, 0 to the right, increasing
        downwards), ``branch_points``, ``base_y``, ``base_x``, ``tip_y``, ``tip_x`` (px), ``origin`` (`soma`,
        `border`, `across` where both ends leave the frame, so that either may be the base, or `none` for a loose
        piece, whose bolder end is taken as the base), ``connects`` (label of the cell at the other end, or 0) and
        ``censored`` (it leaves the frame, so its length is a lower bound).

    Raises
    ------
    ValueError
        If frame and labels differ in shape or the polarity is unknown.
    """
    if polarity not in ("dark", "bright"):
        raise ValueError(f"polarity must be 'dark' or 'bright', got {polarity!r}")
    if frame.ndim != 2 or frame.shape != labels.shape:
        raise ValueError(f"frame and labels must be (H, W) alike, got {frame.shape} and {labels.shape}")
    frame = np.where(polarity == "dark", 1, -1) * frame.astype(np.float32)
    labels = labels.astype(np.int32)  # a value above the highest label is needed, and uint8 has none above 255
    scene = _Scene(frame, labels, find_somata(labels), find_ridges(frame))
    skeleton = _find_skeleton(scene, seed, grow)
    beside = ndimage.maximum_filter(scene.somata, 3)
    pieces, _ = ndimage.label(skeleton, structure=np.ones((3, 3)))
    rows = []
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        pixels = np.argwhere(pieces[box] == number) + [box[0].start, box[1].start]
        if len(pixels) >= min_length / 2:
            routes = find_routes(pixels, beside, min_length)
            rows += [_measure(route, scene) for route in routes if len(route.pixels) >= min_length / 2]
    kept = [row for row in rows if row is not None and row["length"] >= min_length]
    return pd.DataFrame(kept, columns=list(COLUMNS)).astype(COLUMNS)


def of_known_direction(neurites: pd.DataFrame) -> pd.DataFrame:
    """Select neurites whose base is known: rows of `trace_neurites` that begin at a soma or enter the frame."""
    return neurites[neurites["origin"].isin(["soma", "border"])]


def of_known_length(neurites: pd.DataFrame) -> pd.DataFrame:
    """Select neurites that are visible from the soma on: rows of `trace_neurites` that are whole or cut off at the tip.

    Neurites that enter the frame are also cut off at the base, and longer ones are more likely to be seen, which
    survival curves do not correct for.
    """
    return neurites[neurites["origin"] == "soma"]


@dataclass(frozen=True)
class _Scene:
    """A frame with dark neurites, its cells, their somata and its ridges."""

    frame: np.ndarray
    labels: np.ndarray
    somata: np.ndarray
    ridges: Ridges

    @cached_property
    def smooth(self) -> np.ndarray:
        return cv2.GaussianBlur(self.frame, (0, 0), 1.0)

    @cached_property
    def signal(self) -> float:
        """Root mean squared contrast of the cells; 0 without cells."""
        inside = self.frame[self.labels > 0] - np.median(self.frame)
        return float(np.sqrt((inside**2).mean())) if len(inside) else 0.0


def _find_skeleton(scene: _Scene, seed: float, grow: float) -> np.ndarray:
    """Lines one pixel wide along ridges and arms, outside somata; touching cells are kept apart."""
    cells = scene.labels > 0
    beyond = np.where(cells, scene.labels, scene.labels.max(initial=0) + 1)
    touching = cells & (ndimage.maximum_filter(scene.labels, 3) > ndimage.minimum_filter(beyond, 3))
    strength = np.where(cells, 0, scene.ridges.strength)
    core = strength > CORE * ndimage.maximum_filter(strength, 7)
    lines = apply_hysteresis_threshold(strength, grow, seed) & core
    return skeletonize(lines | (cells & ~touching)) & (scene.somata == 0)


def _measure(route: Route, scene: _Scene) -> dict | None:
    """Measure length, direction and ends of a route on the ridge line; None if it is not a neurite."""
    at = tuple(route.pixels.T)
    outside = scene.labels[at] == 0
    line = route.pixels + np.where(outside[:, None], scene.ridges.offset[at], 0)
    again = tuple(np.rint(line).astype(int).clip(0, np.array(scene.frame.shape) - 1).T)
    line = np.where(outside[:, None], np.array(again).T + scene.ridges.offset[again], line)
    width = min(int(3 * SMOOTHING), len(line) - 1)
    padded = np.pad(line, ((width, width), (0, 0)), mode="reflect", reflect_type="odd")
    line = ndimage.gaussian_filter1d(padded, SMOOTHING, axis=0, truncate=3)[width : len(line) + width]
    boldness = (
        np.median(_contrast(line, scene.smooth).min(axis=0)[outside]) if outside.sum() > len(line) / 2 else np.inf
    )
    if boldness < LIMITS["min_contrast"] * scene.signal:
        return None  # the dark fringe of a halo stands out from the halo only, on one side
    if route.origin == "soma":
        line = _find_base(line, scene.somata)
    if route.connects:
        line = _find_base(line[::-1], scene.somata)[::-1]
    elif outside[-1] and not route.censored:
        line = _find_tip(line, scene.smooth)
    if route.origin == "none":
        line = _find_tip(line[::-1], scene.smooth)[::-1]
        near, far = np.array_split(_contrast(line, scene.smooth).mean(axis=0), 2)
        line = line[::-1] if near.mean() < far.mean() else line
    length = float(np.hypot(*np.diff(line, axis=0).T).sum())
    (base_y, base_x), (tip_y, tip_x) = line[0], line[-1]
    if route.origin == "none" and length < LIMITS["min_loose_length"]:
        return None  # debris
    if route.origin == "soma" and not route.connects:
        departure = np.hypot(*(np.argwhere(scene.somata == route.label) - line[-1]).T).min()
        if departure < LIMITS["min_departure"] * length:
            return None  # it runs along its cell
    return {
        "label": route.label,
        "length": length,
        "total_length": length + route.branch_length,
        "direction": float(np.arctan2(tip_y - base_y, tip_x - base_x)),
        "branch_points": route.branch_points,
        "base_y": base_y,
        "base_x": base_x,
        "tip_y": tip_y,
        "tip_x": tip_x,
        "origin": route.origin,
        "connects": route.connects,
        "censored": route.censored,
    }


def _contrast(line: np.ndarray, smooth: np.ndarray) -> np.ndarray:
    """How much darker a line `(N, 2)` is than its left and its right side, `(2, N)`."""
    tangent = np.gradient(line, axis=0)
    side = SIDE * tangent[:, ::-1] * [-1, 1] / np.maximum(np.hypot(*tangent.T), 1e-6)[:, None]
    left, middle, right = (
        ndimage.map_coordinates(smooth, (line + k * side).T, order=1, mode="nearest") for k in (-1, 0, 1)
    )
    return np.stack([left - middle, right - middle])


def _find_base(line: np.ndarray, somata: np.ndarray) -> np.ndarray:
    """Extend a line `(N, 2)` straight back to the edge of its soma, near which the skeleton is bent."""
    line, back = _straighten(line[::-1])
    inside = ndimage.map_coordinates((somata > 0).astype(np.float32), back.T, order=1) >= 0.5
    return np.concatenate([line, back[: inside.argmax()]])[::-1]


def _find_tip(line: np.ndarray, smooth: np.ndarray) -> np.ndarray:
    """End a line `(N, 2)` where its contrast to both sides falls to half: the skeleton stops too early or too late."""
    line, ahead = _straighten(line)
    long = np.concatenate([line, ahead])
    contrast = _contrast(long, smooth).mean(axis=0)
    start = max(len(line) - 2 * REACH, 2)
    past = np.flatnonzero(contrast[start:] < np.median(contrast[: len(line)]) / 2)
    return long[: start + past[0]] if len(past) else long


def _straighten(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut off the end of a line `(N, 2)`, where a skeleton turns to a corner; return the rest and points straight ahead
    of it."""
    kept = line[: len(line) - min(BENT, len(line) // 4)]
    ahead = kept[-1] - kept[-min(9, len(kept))]
    steps = np.arange(STEP, BENT + REACH, STEP)[:, None]
    return kept, kept[-1] + steps * ahead / max(np.hypot(*ahead), 1e-6)
