"""Agreement of segmented cells with annotated ones."""

import numpy as np


def foreground_dice(found: np.ndarray, truth: np.ndarray) -> float:
    """Dice coefficient: twice the shared foreground over the sum of both; 1 if there is none in either.

    Parameters
    ----------
    found, truth : ndarray
        Labels of the same shape, 0 is background.
    """
    total = np.count_nonzero(found) + np.count_nonzero(truth)
    return 2 * np.count_nonzero((found > 0) & (truth > 0)) / total if total else 1.0


def instance_f1(found: np.ndarray, truth: np.ndarray, *, iou: float = 0.5) -> float:
    """Instance F1; a pair of cells is a match if its intersection over union exceeds `iou`, which is at least 0.5.

    Parameters
    ----------
    found, truth : ndarray
        `(H, W)` int labels, 0 is background.

    Returns
    -------
    float
        1 if there are no cells in either.
    """
    (_, rows), (_, columns) = (np.unique(np.append(labels, 0), return_inverse=True) for labels in (found, truth))
    shared = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(shared, (rows[:-1], columns[:-1]), 1)
    union = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0, keepdims=True) - shared
    hits = np.count_nonzero((shared / np.maximum(union, 1))[1:, 1:] > iou)
    cells = sum(shared.shape) - 2
    return 2 * hits / cells if cells else 1.0
