"""Size, shape and appearance of every cell in every frame.

The perimeter is the length of the half-height contour of the slightly blurred mask, scaled so that the contour encloses
the cell's area. Counting pixel edges or steps makes the perimeter depend on the angle; this stays within 1 % on
ellipses.
"""

from typing import Any

import cv2
import numpy as np
import pandas as pd
from scipy import ndimage
from skimage.measure import find_contours

from .calibration import THRESHOLDS

DEAD = THRESHOLDS["dead"]
LOST = 0.1
"""If the contour misses more than this share of the area (and more than `LOST_PX`), the mask is enlarged twofold first:
the blur erases arms that are one pixel thin."""
LOST_PX = 5
COLUMNS = {
    "frame": int,
    "label": int,
    "kind": object,
    "y": float,
    "x": float,
    "area": float,
    "perimeter": float,
    "eccentricity": float,
    "elongation": float,
    "orientation": float,
    "solidity": float,
    "circularity": float,
    "contrast": float,
    "touches_border": bool,
}


def measure_cells(labels: np.ndarray, video: np.ndarray, *, pixel_size_um: float | None = None) -> pd.DataFrame:
    """Measure every cell of every frame.

    Parameters
    ----------
    labels : ndarray
        `(F, H, W)` int, 0 is background.
    video : ndarray
        `(F, H, W)`, uint8 or float in [0, 1].
    pixel_size_um : float, optional
        Adds ``area_um2`` and ``perimeter_um``.

    Returns
    -------
    DataFrame
        ``frame``, ``label``; ``kind`` (`living`, or `dead`: round and bright, as a dividing cell also is for a while);
        ``y``, ``x`` of the centre, ``area`` and ``perimeter`` in px; ``eccentricity``, ``elongation`` (long over short
        axis) and ``orientation`` (of the long axis, rad, 0 to the right, increasing downwards, within a half turn) of
        the ellipse with the same second moments; ``solidity`` (area over that of the convex hull); ``circularity``
        (4 pi area over perimeter squared); ``contrast`` (standard deviation of the grey values, full range 1);
        ``touches_border``.

    Raises
    ------
    ValueError
        If the video is not `(F, H, W)` of uint8 or floats, or the labels are not integers of the same shape.
    """
    if video.ndim != 3 or not (video.dtype == np.uint8 or np.issubdtype(video.dtype, np.floating)):
        raise ValueError(f"video must be (F, H, W), uint8 or float in [0, 1], got {video.dtype} {video.shape}")
    if labels.shape != video.shape or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be integers of shape {video.shape}, got {labels.dtype} {labels.shape}")
    grey = video / np.float32(255) if video.dtype == np.uint8 else video
    rows = [
        {"frame": frame} | row
        for frame, (regions, image) in enumerate(zip(labels, grey, strict=True))
        for row in _measure_frame(regions, image)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    if pixel_size_um is not None:
        table["area_um2"] = table["area"] * pixel_size_um**2
        table["perimeter_um"] = table["perimeter"] * pixel_size_um
    return table


def _measure_frame(labels: np.ndarray, image: np.ndarray) -> list[dict]:
    level = float(np.median(image))
    rows = []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        region = labels[box] == label
        pixels = image[box][region]
        row: dict[str, Any] = {"label": label, **measure_shape(region)}
        row["y"] += box[0].start
        row["x"] += box[1].start
        contrast = float(pixels.std())
        bright = float(pixels.mean()) - level >= DEAD["min_brightness"] * max(contrast, 1 / 255)
        dead = bright and row["circularity"] >= DEAD["min_circularity"]
        edges = [s.start == 0 or s.stop == n for s, n in zip(box, labels.shape, strict=True)]
        row |= {"kind": "dead" if dead else "living", "contrast": contrast, "touches_border": any(edges)}
        rows.append(row)
    return rows


def measure_shape(region: np.ndarray) -> dict[str, float]:
    """Centre, area, perimeter and shape of a mask `(H, W)` bool; see `measure_cells`."""
    y, x = np.nonzero(region)
    area = len(y)
    cy, cx = y.mean(), x.mean()
    # A pixel is a square, not a point: its own second moment is 1/12 along each axis.
    yy, xx, xy = ((y - cy) ** 2).mean() + 1 / 12, ((x - cx) ** 2).mean() + 1 / 12, ((y - cy) * (x - cx)).mean()
    middle, half = (yy + xx) / 2, np.hypot((xx - yy) / 2, xy)
    ratio = (middle - half) / (middle + half)
    length = perimeter(region)
    corners = np.stack([x, y], 1)[:, None] + [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]]
    hull = cv2.contourArea(cv2.convexHull(corners.reshape(-1, 2).astype(np.float32)))
    return {
        "y": float(cy),
        "x": float(cx),
        "area": float(area),
        "perimeter": length,
        "eccentricity": float(np.sqrt(1 - ratio)),
        "elongation": float(1 / np.sqrt(ratio)),
        "orientation": float(np.arctan2(2 * xy, xx - yy) / 2),
        "solidity": area / hull,
        "circularity": float(4 * np.pi * area / length**2),
    }


def perimeter(region: np.ndarray, *, smoothing: float = 1.0) -> float:
    """Length of the outer outline of a mask, in px, summed over its parts.

    Parameters
    ----------
    region : ndarray
        `(H, W)` bool, one cell; holes are ignored.
    smoothing : float
        Standard deviation of the blur, px.

    Returns
    -------
    float
    """
    filled = np.asarray(ndimage.binary_fill_holes(region), np.float32)
    area = float(filled.sum())
    length, enclosed = _length_and_area(filled, smoothing)
    if area - enclosed > max(LOST_PX, LOST * area):
        length, enclosed = _length_and_area(filled.repeat(2, axis=0).repeat(2, axis=1), smoothing)
        length, enclosed = length / 2, enclosed / 4
    return length * np.sqrt(area / enclosed)


def _length_and_area(filled: np.ndarray, smoothing: float) -> tuple[float, float]:
    """Total length and enclosed area of the half-height contours of a blurred mask."""
    soft = cv2.GaussianBlur(np.pad(filled, int(np.ceil(4 * smoothing))), (0, 0), smoothing)
    length = area = 0.0
    for y, x in (outline.T for outline in find_contours(soft, min(0.5, float(soft.max()) / 2))):
        length += float(np.hypot(np.diff(y), np.diff(x)).sum())
        area += abs(float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))) / 2
    return length, area
