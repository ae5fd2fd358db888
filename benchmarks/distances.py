"""Distances of clips to held-out ones over the real-vs-real floor, as several pages print them."""

from typing import Any

import numpy as np

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.evaluation import compare_clips
from cellvid_diffusers.evaluation.clips import ClipSet


def distances_to(real: ClipSet, clips: np.ndarray) -> dict[str, dict[str, Any]]:
    """Family -> `ratio`, `interval` and the rest of what `compare_clips` says of clips `(N, F, H, W)` uint8."""
    groups, strata, _ = real.groups()
    return compare_clips(real.frames, clips, real_groups=groups, real_strata=strata, controls=False)["distances"]


def names_in_mix(kinds: np.ndarray, count: int) -> list[str]:
    """`count` names in the mix of `kinds`, spread so that the first few of them are as near to it as can be.

    Cell types lie far apart in every distance: clips of another mix would be far from real ones however real they are.
    """
    names, numbers = np.unique(kinds, return_counts=True)
    shares, given = numbers / numbers.sum(), np.zeros(len(names))
    spread = []
    for position in range(1, count + 1):
        chosen = int(np.argmax(shares * position - given))
        given[chosen] += 1
        spread.append(str(names[chosen]))
    return spread


def asked_in_mix(pipe: CellVideoPipeline, kinds: np.ndarray, count: int) -> dict[str, list[str]]:
    """What to ask a pipeline for so that its clips have the mix of `kinds`: nothing where it knows none of them."""
    known = np.isin(kinds, (pipe.config.class_names or {}).get("cell_type", []))
    return {"cell_type": names_in_mix(kinds[known], count)} if known.any() else {}
