"""The same mix of cell types on both sides: types look different, so another mix alone would count as a distance."""

from collections import Counter
from typing import Any

import numpy as np

from .clips import UNKNOWN, ClipSet


def thin_to_mix(real: ClipSet, synth: ClipSet, *, keep: bool = False) -> tuple[ClipSet, dict[str, Any]]:
    """Leave out synthetic clips until the cell types have the same shares as on the real side.

    The largest such subset is kept, rounded to whole clips and with at least one clip of each type that both sides
    have; the first clips of each type stay. Synthetic types that the real side lacks are left out; real types without
    synthetic clips stay. Nothing is left out if the type of any clip is unknown, or the sides share no type.

    Parameters
    ----------
    real, synth : ClipSet
    keep : bool
        Leave the synthetic side as it is, and only report the mix.

    Returns
    -------
    synth : ClipSet
        The remaining clips, in their original order.
    mix : dict
        ``real`` and ``synth``: type -> clips that are compared; ``left_out``: number of synthetic clips left out;
        ``left_out_types``: types left out because the real side lacks them; ``matched``: whether the synthetic side was
        brought to the real side's mix.
    """
    wanted, there = Counter(real.cell_types.tolist()), Counter(synth.cell_types.tolist())
    shared = sorted(wanted.keys() & there.keys())
    matched = not keep and bool(shared) and UNKNOWN not in wanted | there
    kept = synth
    if matched:
        scale = min(there[kind] / wanted[kind] for kind in shared)
        first = [np.flatnonzero(synth.cell_types == kind)[: max(1, round(scale * wanted[kind]))] for kind in shared]
        kept = synth.take(np.sort(np.concatenate(first)))
    counts = {"real": dict(sorted(wanted.items())), "synth": dict(sorted(Counter(kept.cell_types.tolist()).items()))}
    lacking = sorted(there.keys() - wanted.keys()) if matched else []
    return kept, {**counts, "left_out": len(synth) - len(kept), "left_out_types": lacking, "matched": matched}
