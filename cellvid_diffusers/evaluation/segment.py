"""Cell bodies in label-free video: one label for each cell and frame, without downloaded weights.

A small network predicts foreground, depth inside the cell and seams between touching cells (`segmentation_network`), at
every resolution at which the cells are wide enough; `split` then separates touching cells. Objects that the network is
not confident of in any frame are dropped: debris, out-of-focus ghosts, the wall of a dish. The thresholds come from
`calibration.json`.
"""

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.segmentation import relabel_sequential

from .calibration import THRESHOLDS
from .segmentation_network import predict
from .split import split_cells

LIMITS = THRESHOLDS["segmentation"]
COARSER = (0.7, 0.5, 0.35)
"""Relative resolutions at which the network sees a frame, in addition to its own."""
TYPICAL_PIXEL_UM = 0.87
"""Pixel size of the frames that the network was trained on, at their original scale."""


def segment_cells(video: np.ndarray, *, pixel_size_um: float | None = None) -> np.ndarray:
    """Label the cells of each frame; labels are not linked between frames.

    Cells of about 10 to 100 pixels across are detected. If the pixel size is known to be much smaller than
    `TYPICAL_PIXEL_UM`, frames are segmented on a grid coarser by an integer factor, so that cells stay in that range.

    Parameters
    ----------
    video : ndarray
        `(F, H, W)`, uint8 or float in [0, 1].
    pixel_size_um : float, optional

    Returns
    -------
    ndarray
        `(F, H, W)` int32; 0 is background. A frame without cells is all 0.

    Raises
    ------
    ValueError
        If the video has another shape, is empty or is not finite in [0, 1], or the pixel size is not positive.
    """
    video = check_video(video)
    if pixel_size_um is not None and not 0 < pixel_size_um < np.inf:
        raise ValueError(f"pixel_size_um must be positive, got {pixel_size_um}")
    coarser = 1 if pixel_size_um is None else max(1, round(TYPICAL_PIXEL_UM / pixel_size_um))
    height, width = video.shape[1:]
    size = max(16, width // coarser), max(16, height // coarser)
    small = video if coarser == 1 else np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in video])
    maps = see_cells(small)
    labels = drop_unsure(np.stack([split_cells(*of_frame) for of_frame in maps]), maps[:, 0])
    if coarser == 1:
        return labels
    rows, columns = np.arange(height) * size[1] // height, np.arange(width) * size[0] // width
    return labels[:, rows[:, None], columns]


def see_cells(video: np.ndarray, *, narrow: float = LIMITS["narrow"]) -> np.ndarray:
    """Foreground, depth and contact of a video `(F, H, W)` in [0, 1], as `(F, 3, H, W)`.

    The mean over the video's own resolution and those of `COARSER` at which the cells are at least `narrow` px wide: at
    a fine resolution, texture inside large cells looks like borders, and debris like small cells.
    """
    maps = predict(video)
    cells = typical_width(maps[:, 0] > LIMITS["foreground"])
    scales = [scale for scale in COARSER if scale * cells >= narrow]
    height, width = video.shape[1:]
    for scale in scales:
        size = round(scale * width), round(scale * height)
        coarse = predict(np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in video]))
        for fine, each in zip(maps.reshape(-1, height, width), coarse.reshape(-1, *coarse.shape[2:]), strict=True):
            fine += cv2.resize(each, (width, height))
    maps /= 1 + len(scales)
    return maps


def typical_width(foreground: np.ndarray) -> float:
    """Mean width of the foreground `(F, H, W)` bool in px: four times the mean distance to its edge; 0 if empty."""
    depths = [cv2.distanceTransform(f.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)[f] for f in foreground]
    depth = np.concatenate(depths)
    return 4 * float(depth.mean()) if len(depth) else 0.0


def check_video(video: np.ndarray) -> np.ndarray:
    """Return the video as float32 in [0, 1]. Raise `ValueError` if it is not a valid one."""
    video = np.asarray(video)
    if video.ndim != 3 or min(video.shape) == 0:
        raise ValueError(f"video must be (frames, height, width), none of them 0, got {video.shape}")
    if min(video.shape[1:]) < 16:
        raise ValueError(f"frames must be at least 16 x 16 pixels, got {video.shape[1]} x {video.shape[2]}")
    if video.dtype == np.uint8:
        return video.astype(np.float32) / 255
    if not np.issubdtype(video.dtype, np.floating):
        raise ValueError(f"video must be uint8 or float in [0, 1], got {video.dtype}")
    wrong = np.flatnonzero(~np.isfinite(video).all(axis=(1, 2)))
    if len(wrong):
        raise ValueError(f"frames must be finite, got NaN or infinity in frame {wrong[0]}")
    if video.min() < 0 or video.max() > 1:
        raise ValueError(f"float video must lie in [0, 1], got {video.min():g} to {video.max():g}")
    return video.astype(np.float32)


def drop_unsure(
    labels: np.ndarray, foreground: np.ndarray, *, confidence: float = LIMITS["confidence"], share: float = 0.5
) -> np.ndarray:
    """Drop cells that the network is not confident of in any frame.

    This is hysteresis over time: a cell that rounds up or spreads looks less like one for some frames, and is kept.

    Parameters
    ----------
    labels : ndarray
        `(F, H, W)` int32, cells numbered from 1 in each frame.
    foreground : ndarray
        Probability of foreground, `(F, H, W)` in [0, 1].
    confidence : float
        Least mean foreground of a cell that the network is confident of.
    share : float
        Cells of successive frames are the same if they share at least this part of the smaller one's area.

    Returns
    -------
    ndarray
        `(F, H, W)` int32.
    """
    firsts = np.cumsum([0, *(frame.max(initial=0) for frame in labels)])
    cells = np.where(labels > 0, labels + firsts[:-1, None, None], 0)  # 0 or a number unique to each cell and frame
    count = firsts[-1] + 1
    areas = np.bincount(cells.ravel(), minlength=count)
    sure = np.bincount(cells.ravel(), foreground.ravel(), count) >= confidence * areas
    sure[0] = False
    now, then = cells[:-1].ravel(), cells[1:].ravel()
    both = (now > 0) & (then > 0)
    shared = coo_array((np.ones(both.sum()), (now[both], then[both])), shape=(count, count))
    shared.sum_duplicates()
    same = shared.data >= share * np.minimum(areas[shared.row], areas[shared.col])
    links = coo_array((same[same], (shared.row[same], shared.col[same])), shape=(count, count))
    group = connected_components(links, directed=False)[1]
    kept = (np.bincount(group, sure) > 0)[group]
    return np.stack([relabel_sequential(frame)[0] for frame in np.where(kept[cells], labels, 0)])
