"""Counts of what cells rarely do and bad videos do often: merge, split, appear and vanish inside the frame."""

import numpy as np
import pandas as pd

from .statistics import cluster_weights

EVENTS = {
    "appearances": ("started", "appearance"),
    "disappearances": ("ended", "disappearance"),
    "merges": ("ended", "merge"),
    "splits": ("started", "split"),
}


def count_events(tracks: pd.DataFrame) -> pd.DataFrame:
    """Count events over the tracks of one clip.

    Coming in and leaving at the border is no event, nor is a gap that a track bridges. A division counts as a split.

    Parameters
    ----------
    tracks : DataFrame
        From `link_cells`.

    Returns
    -------
    DataFrame
        One row: ``appearances``, ``disappearances``, ``merges``, ``splits`` (counts), ``cell_frames`` (cells times
        frames, by which counts are divided).
    """
    cell_frames = int(tracks["num_frames"].sum())
    counts = {name: int((tracks[column] == value).sum()) for name, (column, value) in EVENTS.items()}
    return pd.DataFrame([counts | {"cell_frames": cell_frames}])


def compare_events(
    real: pd.DataFrame,
    synth: pd.DataFrame,
    units: tuple[np.ndarray, np.ndarray],
    *,
    level: float = 0.95,
    repeats: int = 1000,
    seed: int = 0,
) -> dict[str, dict]:
    """How often each event happens on either side, and how many times as often in synthetic clips.

    Parameters
    ----------
    real, synth : DataFrame
        A row a clip, from `count_events`, with column `clip`.
    units : pair of arrays
        Outermost unit (recording or block) of each clip of either side, by number of the clip.

    Returns
    -------
    dict
        Event -> ``real`` and ``synth`` (per 100 cells and frame), ``ratio`` of the two and its ``interval`` by cluster
        bootstrap over units and clips. Half an event is added to either count in the ratio, so that none is no
        division by zero; of a side without any, where the bootstrap has nothing to draw from, the number is drawn from
        an exponential distribution, so that its upper end is the exact one of none seen (3.7). Ratio and interval are
        None where neither side has an event, or one has no cells.
    """
    tables = real, synth
    exposures = [t["cell_frames"].to_numpy(float) for t in tables]
    weights = [
        cluster_weights([side[t["clip"]], t["clip"].to_numpy()], repeats=repeats, seed=2 * seed + offset)
        for offset, (t, side) in enumerate(zip(tables, units, strict=True))
    ]
    out: dict[str, dict] = {}
    for event in EVENTS:
        counts = [t[event].to_numpy(float) for t in tables]
        rates = [100 * c.sum() / max(e.sum(), 1.0) for c, e in zip(counts, exposures, strict=True)]
        out[event] = dict(zip(("real", "synth"), map(float, rates), strict=True)) | {"ratio": None, "interval": None}
        if all(e.any() for e in exposures) and any(c.any() for c in counts):
            ratio = _rate_ratio([c.sum(keepdims=True) for c in counts], [e.sum(keepdims=True) for e in exposures])
            rng = np.random.default_rng(seed)
            drawn = _rate_ratio(
                [
                    w @ c if c.any() else rng.exponential(size=repeats) - 0.5
                    for w, c in zip(weights, counts, strict=True)
                ],
                [w @ e for w, e in zip(weights, exposures, strict=True)],
            )
            interval = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
            out[event] |= {"ratio": float(ratio[0]), "interval": [float(end) for end in interval]}
    return out


def _rate_ratio(counts: list[np.ndarray], exposures: list[np.ndarray]) -> np.ndarray:
    """Synthetic over real rate, half an event added to each count."""
    real, synth = ((c + 0.5) / np.maximum(e, 1.0) for c, e in zip(counts, exposures, strict=True))
    return synth / real
