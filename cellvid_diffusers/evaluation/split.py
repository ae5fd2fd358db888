"""Separate touching cells: watershed of the relief from every summit, then pieces are joined, shallowest pass first.

Each join leaves one of two summits, and later joins are judged by the result. Cells that a fold or a bright spot cuts
in one frame but not in the next thus appear to split and merge less often than with a watershed from prominent summits
alone.
"""

import numpy as np
from scipy import ndimage
from skimage.morphology import h_maxima
from skimage.segmentation import relabel_sequential, watershed

from .calibration import THRESHOLDS

LIMITS = THRESHOLDS["segmentation"]
PIECE = 0.1
"""Least height of a summit above the pass to a higher one; lower summits do not start a piece."""


def split_cells(
    foreground: np.ndarray,
    depth: np.ndarray,
    contact: np.ndarray,
    *,
    threshold: float = LIMITS["foreground"],
    contact_weight: float = LIMITS["contact_weight"],
    prominence: float = LIMITS["prominence"],
    smoothing: float = LIMITS["smoothing"],
    min_area: int = LIMITS["min_area"],
) -> np.ndarray:
    """Label the cells of one frame from the network's predictions.

    Parameters
    ----------
    foreground, depth, contact : ndarray
        `(H, W)` in [0, 1].
    threshold : float
        Pixels with a foreground above this belong to cells.
    contact_weight : float
        How far a seam lowers the depth.
    prominence : float
        Two summits are two cells if the pass between them is at least this much lower than the lower summit.
    smoothing : float
        Standard deviation of the smoothing of the depth, px.
    min_area : int
        Smaller cells, in px, are dropped, and holes up to this size are filled.

    Returns
    -------
    ndarray
        `(H, W)` int32.
    """
    cells = fill_holes(foreground > threshold, min_area)
    relief = np.where(cells, np.maximum(ndimage.gaussian_filter(depth, smoothing) - contact_weight * contact, 0), 0)
    steps = np.round(relief / PIECE * 8).astype(np.uint8)  # h_maxima of floats is slow and not exact
    summits, count = ndimage.label(h_maxima(steps, 8) & cells, structure=np.ones((3, 3)))
    pieces = watershed(-relief, summits, mask=cells)
    heights = np.append(0, ndimage.maximum(relief, pieces, np.arange(1, count + 1)))
    labels = join_pieces(heights, *find_passes(pieces, relief), prominence)[pieces]
    kept = np.bincount(labels.ravel()) >= min_area
    kept[0] = False
    return relabel_sequential(np.where(kept[labels], labels, 0))[0].astype(np.int32)


def find_passes(pieces: np.ndarray, relief: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of pieces that touch `(P, 2)` and the height of the highest pass between each `(P,)`."""
    height, width = pieces.shape
    pairs, heights = [], []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = slice(height - dy), slice(max(-dx, 0), width - max(dx, 0))
        there = slice(dy, height), slice(max(dx, 0), width - max(-dx, 0))
        border = (pieces[here] != pieces[there]) & (pieces[here] > 0) & (pieces[there] > 0)
        pairs.append(np.sort(np.stack([pieces[here][border], pieces[there][border]], axis=1), axis=1))
        heights.append(np.minimum(relief[here], relief[there])[border])
    found, index = np.unique(np.concatenate(pairs), axis=0, return_inverse=True)
    passes = np.zeros(len(found))
    np.maximum.at(passes, index.ravel(), np.concatenate(heights))
    return found, passes


def join_pieces(summits: np.ndarray, pairs: np.ndarray, passes: np.ndarray, prominence: float) -> np.ndarray:
    """Join pieces; return the label of each `(N,)`, from the heights of their summits `(N,)` and of the passes between
    pairs of them."""
    labels, summits, pairs = np.arange(len(summits)), summits.copy(), pairs.copy()
    while len(pairs):
        depths = summits[pairs].min(axis=1) - passes
        shallowest = depths.argmin()
        if depths[shallowest] >= prominence:
            break
        kept, lost = pairs[shallowest]
        summits[kept] = max(summits[kept], summits[lost])
        labels[labels == lost] = kept
        pairs[pairs == lost] = kept
        apart = pairs[:, 0] != pairs[:, 1]
        pairs, passes = pairs[apart], passes[apart]
    return labels


def fill_holes(mask: np.ndarray, max_area: int) -> np.ndarray:
    """Fill holes of at most `max_area` px in a mask `(H, W)` (scikit-image's function has changed its arguments)."""
    holes, _ = ndimage.label(~mask)
    small = np.bincount(holes.ravel()) <= max_area
    small[0] = False
    return mask | small[holes]
