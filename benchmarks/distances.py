"""Distances of clips to held-out ones over the real-vs-real floor, as several pages print them."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from cellvid_diffusers.evaluation import compare_clips
from cellvid_diffusers.evaluation.clips import ClipSet


def distances_to(real: ClipSet, clips: np.ndarray) -> dict[str, dict[str, Any]]:
    """Family -> `ratio`, `interval` and the rest of what `compare_clips` says of clips `(N, F, H, W)` uint8.

    The clips should have the mix of cell types of the held-out ones, see `names_in_mix`.
    """
    groups, strata, _ = real.groups()
    return compare_clips(real.frames, clips, real_groups=groups, real_strata=strata, controls=False)["distances"]


def names_in_mix(cell_types: np.ndarray, count: int, known: Iterable[str]) -> list[str]:
    """Cell types for `count` clips in the mix of these, as far as they are known; empty where none of them is.

    Numbers by largest remainder, but one of each at least; each type is spread evenly over the clips.
    """
    kinds, there = np.unique(cell_types[np.isin(cell_types, list(known))], return_counts=True)
    if not len(kinds):
        return []
    if count < len(kinds):
        raise ValueError(f"count must be at least the number of cell types, {len(kinds)}, got {count}")
    shares = count * there / there.sum()
    numbers = np.floor(shares).astype(int)
    numbers[np.argsort(numbers - shares, kind="stable")[: count - numbers.sum()]] += 1
    while not numbers.all():
        numbers[numbers.argmax()] -= 1
        numbers[numbers.argmin()] += 1
    places = sorted(((k + 0.5) / n, str(kind)) for kind, n in zip(kinds, numbers, strict=True) for k in range(n))
    return [kind for _, kind in places]
