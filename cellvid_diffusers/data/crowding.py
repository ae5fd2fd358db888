"""How crowded a clip is, as a class: for recordings whose density nobody wrote down, and for crops of them."""

from collections.abc import Iterable, Mapping

import numpy as np

from .patches import block_contrast


def structured_share(video: np.ndarray, spread: float) -> float:
    """Share of a clip's blocks of 8 x 8 pixels that hold a part of a cell, in [0, 1].

    Parameters
    ----------
    video : ndarray of shape (F, H, W)
    spread : float
        Standard deviation of all pixels of such clips, in the units of `video`; a block is structured if its own is
        at least half of it.
    """
    return float(np.mean([block_contrast(frame) > spread / 2 for frame in video]))


class Crowding:
    """Density classes of equal size within each kind of clip: the n-th of N is the n-th N-th by `structured_share`.

    Parameters
    ----------
    clips : iterable of (kind, ndarray of shape (F, H, W), spread)
        Of which the bounds between the classes are learned; see `structured_share`.
    classes : int
        Number of classes, at least 2.

    Attributes
    ----------
    occurs : ndarray of shape (classes,), bool
        Whether one of the clips is of the class: where most are empty, all of these are of the first, and the next
        is none's.

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
        """Class of a clip, 0 the emptiest; -1 for a kind that no clip was learned of."""
        if kind not in self.bounds:
            return -1
        return int(np.searchsorted(self.bounds[kind], structured_share(video, spread)))
