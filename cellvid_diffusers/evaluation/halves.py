"""Independent groups of real clips, and the ways to split them into two halves.

A group is an independently sampled unit: a recording where there are several of a kind, else a block of space and
time of the only one (`group_clips`).  Splits are made within strata (cell types) and keep the weight of every
stratum.
"""

from collections.abc import Sequence
from itertools import combinations, islice, pairwise, product

import numpy as np
from numpy.typing import ArrayLike

BETWEEN = "between"
"""Group of clips that lie in two blocks of the only recording of their kind (`group_clips`, `lies_in_one`)."""

Grouping = tuple[np.ndarray, np.ndarray, str]
"""Groups and strata `(N,)` of clips, and a sentence that describes them."""

SHARED = 1 / 8
"""Largest share of a clip's side length, or of its frames, that clips of two blocks may have in common."""


def group_clips(
    recordings: ArrayLike,
    *,
    kinds: ArrayLike | None = None,
    positions: np.ndarray | None = None,
    times: np.ndarray | None = None,
    size: Sequence[int] = (0, 0, 0),
) -> Grouping:
    """Form groups that are as independent of each other as the data allow, and the strata to split within.

    Parameters
    ----------
    recordings : (N,) labels
        The recording, or culture, of each clip.
    kinds : (N,) labels, optional
        Cell type (or other categories whose mix the synthetic side shares).  None: all of one kind.
    positions : (N, 2), optional
        Upper left corner (y, x) of each clip, px.
    times : (N,), optional
        First frame of each clip.
    size : (F, H, W)
        Size of the clips, which determines how far they overlap.

    Returns
    -------
    groups, strata : (N,) arrays of str
        A kind with several recordings: one group per recording.  A kind with a single one: its quadrants, each
        cut into an early and a late half where `times` differ, and `BETWEEN` for the clips that lie in two of them;
        an axis along which clips overlap too much is not cut.  Blocks of one recording share its culture, so their
        floor is too low; `how` says so.
    how : str
        A sentence for the report.
    """
    labels = np.asarray(recordings).astype(str)
    strata = np.full(len(labels), "all") if kinds is None else np.asarray(kinds).astype(str)
    groups, alone, between = labels.astype(object), [], 0
    for kind in np.unique(strata):
        members = strata == kind
        if len(np.unique(labels[members])) > 1:
            continue
        alone.append(str(labels[members][0]))
        corners = [] if positions is None else list(zip(np.asarray(positions)[members].T, size[1:], strict=True))
        corners += [] if times is None else [(np.asarray(times)[members], size[0])]
        halves = [_halves(*each) for each in corners] or [np.arange(members.sum())]
        blocks = [BETWEEN if -1 in block else "/".join(map(str, block)) for block in zip(*halves, strict=True)]
        groups[members] = [f"{alone[-1]}/{block}" for block in blocks]
        between += blocks.count(BETWEEN)
    how = "Real against real: halves that share no recording."
    if alone:
        left_out = f" ({between} of the clips lie in two and are left out)" if between else ""
        how = (
            f"Only one recording of its kind: {', '.join(alone)}. There the halves share no block of space and time"
            f"{left_out}, but they share the culture, so that the floor is lower, and every ratio higher, than new "
            "recordings would give."
        )
    return groups.astype(str), strata, how


def lies_in_one(groups: np.ndarray) -> np.ndarray:
    """Which clips lie in a single group, `(N,)` bool; a clip that lies in two blocks is independent of neither."""
    return ~np.char.endswith(groups.astype(str), f"/{BETWEEN}")


def _halves(corners: np.ndarray, length: int) -> np.ndarray:
    """Half of an axis that each clip lies in: 0, 1, or -1 for both. Clips begin at `corners` and are `length` long.
    All 0 if no cut keeps half of the clips."""
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
    groups: np.ndarray, strata: np.ndarray, *, max_splits: int = 2500, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split the groups into two halves within each stratum; return the splits as pairs of `(N,)` weights.

    Each stratum has the same weight in both halves, its number of clips.  All splits are returned if they are at most
    twice `max_splits`, else `max_splits` random ones.  A group that occurs in several strata lies in the same half in
    all of them; if no split divides every stratum, a split leaves out the strata that it does not divide.  Strata with
    a single group cannot be split and are left out, as are clips `BETWEEN`, and splits with a half of a single clip,
    unless there are no others.
    """
    halved = lies_in_one(groups)
    members = [halved & (strata == stratum) for stratum in np.unique(strata)]
    members = [here for here in members if len(set(groups[here])) > 1]
    if not members:
        raise ValueError(f"the real side needs at least two groups to compare real with real, got {np.unique(groups)}")
    names = [sorted(family) for family in _families([set(groups[here]) for here in members])]

    def weights(parts: Sequence[set]) -> tuple[np.ndarray, np.ndarray]:
        first = np.isin(groups, list(set().union(*parts)))
        sides = np.zeros((2, len(groups)))
        for here in members:
            chosen = here & first, here & ~first
            if all(each.any() for each in chosen):
                for side, each in zip(sides, chosen, strict=True):
                    side[each] = here.sum() / each.sum()
        return sides[0], sides[1]

    def is_whole(halves: tuple[np.ndarray, np.ndarray]) -> bool:
        return all(halves[0][here].any() for here in members)

    ways = [[set(c) for c in islice(combinations(n, len(n) // 2), 10 * max_splits)] for n in names]
    if np.prod([float(len(w)) for w in ways]) <= 2 * max_splits:
        splits = [weights(parts) for parts in product(*ways)]
    else:
        rng = np.random.default_rng(seed)
        splits = [weights([set(rng.permutation(n)[: len(n) // 2]) for n in names]) for _ in range(max_splits)]
    splits = list(filter(is_whole, splits)) or [halves for halves in splits if halves[0].any()]
    if not splits:
        raise ValueError(f"no stratum has groups in two halves of all groups, got {np.unique(groups)}")
    return [halves for halves in splits if min(map(np.count_nonzero, halves)) > 1] or splits


def _families(sets: list[set]) -> list[set]:
    """Merge sets that have members in common."""
    families: list[set] = []
    for each in sets:
        joined = each.union(*(family for family in families if family & each))
        families = [family for family in families if not family & each] + [joined]
    return families


def check_halves(splits: Sequence[tuple[np.ndarray, np.ndarray]], groups: np.ndarray) -> None:
    """Raise `ValueError` if every split has a half of a single clip, which has no others to be compared with."""
    if max(min(map(np.count_nonzero, halves)) for halves in splits) < 2:
        sizes = sorted(np.unique(groups, return_counts=True)[1].tolist())
        raise ValueError(f"the real side needs groups for two halves of at least two clips, got groups of {sizes}")
