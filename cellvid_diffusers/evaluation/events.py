"""Counts of events that are rare in real cells and common in bad videos: cells that merge, split, appear or vanish
inside the frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .statistics import cluster_weights
from .strata import Side

EVENTS = {
    "appearances": ("started", "appearance"),
    "disappearances": ("ended", "disappearance"),
    "merges": ("ended", "merge"),
    "splits": ("started", "split"),
}


def count_events(tracks: pd.DataFrame) -> pd.DataFrame:
    """Count events over the tracks of one clip.

    Entering or leaving at the border is not an event, nor is a gap that a track bridges. A division counts as a split.

    Parameters
    ----------
    tracks : DataFrame
        From `link_cells`.

    Returns
    -------
    DataFrame
        One row: ``appearances``, ``disappearances``, ``merges``, ``splits`` (counts), ``cell_frames`` (cells times
        frames, the denominator of rates).
    """
    cell_frames = int(tracks["num_frames"].sum())
    counts = {name: int((tracks[column] == value).sum()) for name, (column, value) in EVENTS.items()}
    return pd.DataFrame([counts | {"cell_frames": cell_frames}])


def compare_events(
    real: pd.DataFrame,
    synth: pd.DataFrame,
    sides: tuple[Side, Side],
    *,
    level: float = 0.95,
    repeats: int = 1000,
    seed: int = 0,
) -> dict[str, dict]:
    """Rates of each event on both sides, and the ratio of the synthetic rate to the real one.

    Rates of synthetic clips are computed within the strata that both sides have, and weighted by the real side's cells.

    Parameters
    ----------
    real, synth : DataFrame
        One row per clip, from `count_events`, with column `clip`.
    sides : (Side, Side)

    Returns
    -------
    dict
        Event -> ``real`` and ``synth`` (per 100 cells and frame), ``ratio`` of the two and its ``interval`` by cluster
        bootstrap over units and clips. Half an event is added to both counts in the ratio to avoid division by zero.
        For a side without events, where the bootstrap has nothing to resample, counts are drawn from an exponential
        distribution, whose upper end is the exact one for no observed event (3.7). Ratio and interval are None where
        neither side has an event, or one has no cells.
    """
    strata = _shared([side.strata[t["clip"]] for side, t in zip(sides, (real, synth), strict=True)])
    parts = [
        _Part.of(t, side, kinds, repeats=repeats, seed=2 * seed + offset)
        for offset, (t, side, kinds) in enumerate(zip((real, synth), sides, strata, strict=True))
    ]
    shares = parts[0].exposures / np.maximum(parts[0].exposures.sum(0), 1)
    totals = [part.exposures.sum(0) for part in parts]
    out: dict[str, dict] = {}
    for event in EVENTS:
        counts = [part.in_shares(event, shares) for part in parts]
        rates = [100 * c[0] / max(total[0], 1.0) for c, total in zip(counts, totals, strict=True)]
        out[event] = dict(zip(("real", "synth"), map(float, rates), strict=True)) | {"ratio": None, "interval": None}
        if all(total[0] for total in totals) and any(c[0] for c in counts):
            rng = np.random.default_rng(seed)
            for c in counts:
                if not c[0]:
                    c[1:] = rng.exponential(size=repeats) - 0.5
            real_rate, synth_rate = ((c + 0.5) / np.maximum(total, 1) for c, total in zip(counts, totals, strict=True))
            ratio, drawn = float(synth_rate[0] / real_rate[0]), (synth_rate / real_rate)[1:]
            interval = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
            out[event] |= {"ratio": ratio, "interval": [float(end) for end in interval]}
    return out


@dataclass(frozen=True)
class _Part:
    """One side's cells and events by stratum, as observed (column 0) and in each bootstrap replicate.

    `exposures` is `(strata, 1 + repeats)`, `counts` the same for each event.
    """

    exposures: np.ndarray
    counts: dict[str, np.ndarray]

    @classmethod
    def of(cls, table: pd.DataFrame, side: Side, strata: np.ndarray, *, repeats: int, seed: int) -> "_Part":
        """Build from a table with one row per clip and the stratum of each row."""
        clip, weights = table["clip"].to_numpy(), []
        for number, stratum in enumerate(np.unique(strata[strata != ""])):
            here, each = strata == stratum, np.zeros((1 + repeats, len(table)))
            each[0, here] = 1
            levels = [side.units[clip[here]], clip[here]]
            each[1:, here] = cluster_weights(levels, repeats=repeats, seed=seed + 2000 * number)
            weights.append(each)
        drawn = {
            name: np.stack([w @ table[name].to_numpy(float) for w in weights]) for name in ("cell_frames", *EVENTS)
        }
        return cls(drawn.pop("cell_frames"), drawn)

    def in_shares(self, event: str, shares: np.ndarray) -> np.ndarray:
        """Expected count of an event among as many cells, with these shares of the strata, `(1 + repeats,)`."""
        rates = self.counts[event] / np.maximum(self.exposures, 1)
        return self.exposures.sum(0) * (shares * rates).sum(0)


def _shared(strata: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Strata of the rows of both sides as str, "" for those that one side lacks; a single one if they share none."""
    real, synth = (np.asarray(each).astype(str) for each in strata)
    shared = np.intersect1d(real, synth)
    if len(shared) == 0:
        return [np.full(len(real), "all"), np.full(len(synth), "all")]
    return [np.where(np.isin(each, shared), each, "") for each in (real, synth)]
