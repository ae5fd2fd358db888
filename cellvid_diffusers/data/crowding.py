"""Density class of a clip, measured from its pixels: for recordings without density labels, and for crops of them."""

from collections.abc import Iterable, Mapping

import numpy as np

from .patches import block_contrast


def structured_share(video: np.ndarray, spread: float) -> float:
    """Share of a clip's 8 x 8 blocks that contain part of a cell, in [0, 1].

    Parameters
    ----------
    video : ndarray of shape (F, H, W)
    spread : float
        Standard deviation of all pixels of such clips, in the units of `video`; a block counts if its own standard
        deviation is more than half of this.
    """
    return float(np.mean([block_contrast(frame) > spread / 2 for frame in video]))


class Crowding:
    """Density classes of equal size: quantile bins of `structured_share` within each kind of clip.

    Parameters
    ----------
    clips : iterable of (kind, ndarray of shape (F, H, W), spread)
        Clips from which the class boundaries are estimated; see `structured_share`.
    classes : int
        Number of classes, at least 2.

    Attributes
    ----------
    occurs : ndarray of shape (classes,), bool
        Whether any of the clips falls into the class. Where most clips are empty, all of them are in the first class,
        leaving the next class empty.

    Raises
    ------
    ValueError
        If there are fewer than two classes, or no clip.
    """

    def __init__(self, clips: Iterable[tuple[int, np.ndarray, float]], classes: int):
        if classes < 2:
            raise ValueError(f"classes must be at least 2, got {classes}")
        shares: dict[int, list[float]] = {}
        for kind, video, spread in clips:
            shares.setdefault(kind, []).append(structured_share(video, spread))
        if not shares:
            raise ValueError("clips must hold at least one clip, got none")
        steps = np.arange(1, classes) / classes
        self.bounds: Mapping[int, np.ndarray] = {kind: np.quantile(each, steps) for kind, each in shares.items()}
        found = [np.searchsorted(self.bounds[kind], each) for kind, each in shares.items()]
        self.occurs = np.bincount(np.concatenate(found), minlength=classes) > 0

    def __call__(self, kind: int, video: np.ndarray, spread: float) -> int:
        """Class of a clip, 0 being the emptiest; -1 for a kind without clips in the estimation."""
        if kind not in self.bounds:
            return -1
        return int(np.searchsorted(self.bounds[kind], structured_share(video, spread)))
