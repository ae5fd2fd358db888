"""What of real clips is independent of each other, and the ways to cut it into two halves.

A group is what was sampled independently: a recording where there are several of a kind, else a block of
space and time of the only one (`group_clips`).  Splits are made within strata (cell types) and keep every
stratum's weight.
"""

from collections.abc import Sequence
from itertools import combinations, islice, pairwise, product

import numpy as np
from numpy.typing import ArrayLike

BETWEEN = "between"
"""Group of the clips of an only recording that lie in both halves of it; they go into no half (`group_clips`)."""

SHARED = 1 / 8
"""Share of a clip's side, or of its frames, that clips of two blocks may have in common."""


def group_clips(
    recordings: ArrayLike,
    *,
    kinds: ArrayLike | None = None,
    positions: np.ndarray | None = None,
    times=None,
    size: Sequence[int] = (0, 0, 0),
) -> tuple[np.ndarray, np.ndarray, str]:
    """Groups that are independent of each other as far as the data allow, and the strata to split within.

    Parameters
    ----------
    recordings : (N,) labels
        The recording, or culture, of each clip.
    kinds : (N,) labels, optional
        Cell type (or any mix that the synthetic side shares).  None: all of one kind.
    positions : (N, 2), optional
        Upper left corner (y, x) of each clip, px.
    times : (N,), optional
        First frame of each clip.
    size : (F, H, W)
        Of the clips, with which they may overlap.

    Returns
    -------
    groups, strata : (N,) arrays of str
        A kind with several recordings: one group a recording.  A kind with a single one: its quadrants, each
        cut into an early and a late half where `times` differ, and `BETWEEN` for the clips that lie in two of them;
        an axis along which clips overlap too much to be cut is not.  Blocks of one recording share its culture,
        so their floor is too low; `how` says so.
    how : str
        A sentence for the report.
    """
    labels = np.asarray(recordings).astype(str)
    strata = np.full(len(labels), "all") if kinds is None else np.asarray(kinds).astype(str)
    groups, alone = labels.astype(object), []
    for kind in np.unique(strata):
        members = strata == kind
        if len(np.unique(labels[members])) > 1:
            continue
        alone.append(str(labels[members][0]))
        corners = [] if positions is None else list(zip(np.asarray(positions)[members].T, size[1:], strict=True))
        corners += [] if times is None else [(np.asarray(times)[members], size[0])]
        halves = [_halves(*each) for each in corners] or [np.arange(members.sum())]
        blocks = ["/".join(map(str, block)) for block in zip(*halves, strict=True)]
        groups[members] = [f"{alone[-1]}/{BETWEEN if '-1' in block else block}" for block in blocks]
    how = "Real against real: halves that share no recording."
    if alone:
        how = (
            f"Only one recording of its kind: {', '.join(alone)}. There the halves share no block of space and time "
            "(clips that lie in two are left out), but they share the culture, so that the floor is lower, and every "
            "ratio higher, than new recordings would give."
        )
    return groups.astype(str), strata, how


def _halves(corners: np.ndarray, length: int) -> np.ndarray:
    """For each of the clips that begin at `corners` of an axis and are `length` long, the half that it lies in: 0, 1,
    or -1 where that is both. All 0 if no cut keeps half of the clips."""
    begins = np.unique(corners)
    middle = (begins[0] + begins[-1]) / 2
    whole = np.zeros(len(corners), int)
    best, halves = (0, 0, 0.0, 0.0), whole
    for before, begin in pairwise(begins):
        cut = np.where(corners >= begin, 1, np.where(corners + (1 - SHARED) * length <= begin, 0, -1))
        smaller, kept = min(int(np.sum(cut == 0)), int(np.sum(cut == 1))), int(np.sum(cut >= 0))
        worth = smaller, kept, -abs(float(before + begin) / 2 - middle), float(begin)
        if worth > best:
            best, halves = worth, cut
    return halves if 2 * best[1] >= len(corners) and best[0] > 0 else whole


def split_halves(
    groups: np.ndarray, strata: np.ndarray, *, max_splits: int = 200, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ways to cut the groups into two halves, within each stratum, as pairs of `(N,)` weights.

    Each stratum weighs the same on both sides, as much as it has clips.  All ways where there are few, else
    a random choice.  A stratum with a single group cannot be split and stays out, as do clips `BETWEEN`; halves of
    a single clip do, too, unless there are no others.
    """
    halved = ~np.char.endswith(groups.astype(str), f"/{BETWEEN}")
    names = [sorted(set(groups[(strata == s) & halved])) for s in np.unique(strata)]
    names = [n for n in names if len(n) > 1]
    if not names:
        raise ValueError(f"the real side needs at least two groups to compare real with real, got {np.unique(groups)}")

    def weights(parts: Sequence[set]) -> tuple[np.ndarray, np.ndarray]:
        sides = np.zeros((2, len(groups)))
        for members, part in zip(names, parts, strict=True):
            here = np.isin(groups, members)
            first = np.isin(groups, list(part))
            for side, chosen in zip(sides, (first, here & ~first), strict=True):
                side[chosen] = here.sum() / chosen.sum()
        return sides[0], sides[1]

    ways = [[set(c) for c in islice(combinations(n, len(n) // 2), 10 * max_splits)] for n in names]
    if np.prod([float(len(w)) for w in ways]) <= 2 * max_splits:
        splits = [weights(parts) for parts in product(*ways)]
    else:
        rng = np.random.default_rng(seed)
        splits = [weights([set(rng.permutation(n)[: len(n) // 2]) for n in names]) for _ in range(max_splits)]
    return [halves for halves in splits if min(map(np.count_nonzero, halves)) > 1] or splits


def check_halves(splits: Sequence[tuple[np.ndarray, np.ndarray]], groups: np.ndarray) -> None:
    """A `ValueError` where all halves are single clips, which have no distance from their like."""
    if max(min(map(np.count_nonzero, halves)) for halves in splits) < 2:
        sizes = sorted(np.unique(groups, return_counts=True)[1].tolist())
        raise ValueError(f"the real side needs groups for two halves of at least two clips, got groups of {sizes}")
