"""Real against synthetic: one column of a table, neurite directions, neurite lengths.

The units of the tests are whole videos or recordings; the paper's own tests are given for comparison.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .statistics import (
    cardinal_index,
    directional_harmonics,
    effect_size,
    kuiper,
    log_rank,
    permute_labels,
    rotation_test,
    stratify,
    w1_over_floor,
    watson_u2,
)
from .statistics.equivalence import MARGIN, tost_within
from .statistics.permutation import MIN_UNITS, count_units, least_p, permutation_within
from .statistics.survival import log_rank_permutation, median_length
from .strata import Rows, Side, within_strata


def compare_measure(
    real: pd.DataFrame,
    synth: pd.DataFrame,
    column: str,
    sides: tuple[Side, Side],
    splits: Sequence,
    *,
    repeats: int = 500,
    seed: int = 0,
) -> dict | None:
    """Effect size, Wasserstein distance over its floor, permutation and equivalence tests of one column.

    The effect and the equivalence margin are in standard deviations of the real values; where these are all equal (no
    real clip holds a dead cell, for example), of both sides pooled. Comparisons are made within strata and averaged,
    weighted by the strata's shares of the real values; ``mean_synth`` is the synthetic mean with these weights.

    Parameters
    ----------
    real, synth : DataFrame
        With columns `clip` and `column`; missing values are left out.
    sides : (Side, Side)
    splits : sequence of pairs of (clips,) weights
        Halves of the real clips that share no group.

    Returns
    -------
    dict or None
        None if a side has fewer than three values, or all values of both sides are equal. The verdict is added by
        `decide`, after Holm's correction. ``left_out``: strata that could not be compared, with one unit on a side.
    """
    known = [t.loc[t[column].notna(), ["clip", column]] for t in (real, synth)]
    *rows, left_out = within_strata(*(Rows.of(t, side) for t, side in zip(known, sides, strict=True)))
    values = [each.table[column].to_numpy(float) for each in rows]
    if min(map(len, values)) < 3:
        return None
    scale = values[0] if np.ptp(values[0]) else np.concatenate(values)
    if not np.ptp(scale):
        return None
    spread = float(scale.std(ddof=1))
    clips, strata = [each.table["clip"].to_numpy() for each in rows], [each.strata for each in rows]
    parts = stratify(values, [each.units for each in rows], strata)
    levels = [[each.units, clip] for each, clip in zip(rows, clips, strict=True)]
    effect = effect_size(
        values[0], values[1], levels[0], levels[1], strata=strata, spread=spread, repeats=repeats, seed=seed
    )
    cell_splits = [(a[clips[0]], b[clips[0]]) for a, b in splits]
    return {
        "left_out": left_out,
        "mean_real": float(values[0].mean()),
        "mean_synth": float(values[0].mean()) + effect["difference"],
        "count": [len(v) for v in values],
        "units": count_units(parts),
        "least_p": least_p(parts),
        **effect,
        **w1_over_floor(values[0], values[1], cell_splits, strata=strata, seed=seed),
        "p": permutation_within(parts, repeats=4 * repeats, seed=seed),
        "p_equivalence": tost_within(parts, margin=MARGIN * spread),
        "p_cells": float(stats.ttest_ind(*values, equal_var=False).pvalue),
    }


def _of_sides(labels: Sequence[np.ndarray]) -> np.ndarray:
    """Labels of both sides in one array, distinguished by the number of the side as a prefix."""
    return np.concatenate([np.char.add(f"{number} ", each.astype(str)) for number, each in enumerate(labels)])


def compare_directions(
    real: pd.DataFrame, synth: pd.DataFrame, sides: tuple[Side, Side], *, seed: int = 0
) -> dict | None:
    """Compare neurite directions: two-sample tests, harmonics, and the cardinal index with its rotation test.

    ``p`` is that of Watson's U2 under permutation of whole units; U2 is computed within strata and weighted by their
    shares of the real neurites. The textbook U2 of all neurites and its p, which assumes independent neurites, are also
    given.
    """
    *rows, _ = within_strata(Rows.of(real, sides[0]), Rows.of(synth, sides[1]))
    if min(len(each.table) for each in rows) < 3:
        return None
    angles, units = [each.table["direction"].to_numpy(float) for each in rows], [each.units for each in rows]
    pooled = np.concatenate(angles)
    names, first, index = np.unique(_of_sides(units), return_index=True, return_inverse=True)
    is_synth = np.char.startswith(names, "1 ")
    kinds = np.concatenate([each.strata for each in rows])
    parts = [(kinds == kind, float(np.mean(rows[0].strata == kind))) for kind in np.unique(kinds)]

    def statistic(called: np.ndarray) -> float:
        synthetic = called[index]
        return sum(share * watson_u2(pooled[here & ~synthetic], pooled[here & synthetic])[0] for here, share in parts)

    enough = min(is_synth.sum(), (~is_synth).sum()) >= MIN_UNITS
    u2, p_u2 = watson_u2(*angles)
    v, p_v = kuiper(*angles)
    out: dict[str, Any] = {
        "p": permute_labels(statistic, is_synth, strata=kinds[first], repeats=500, seed=seed)[1] if enough else None,
        "watson_u2": u2,
        "p_watson_independent": p_u2,
        "kuiper_v": v,
        "p_kuiper_independent": p_v,
        "count": [len(a) for a in angles],
        "units": [int((~is_synth).sum()), int(is_synth.sum())],
    }
    for name, angle, unit in zip(("real", "synth"), angles, units, strict=True):
        out[f"cardinal_index_{name}"] = cardinal_index(angle)
        out[f"p_rotation_{name}"] = rotation_test(angle, unit, seed=seed)[1] if enough else None
        out[f"harmonics_{name}"] = {k: abs(m) for k, m in directional_harmonics(angle).items()}
    return out


def compare_lengths(real: pd.DataFrame, synth: pd.DataFrame, sides: tuple[Side, Side], *, seed: int = 0) -> dict | None:
    """Compare neurite lengths, with those that leave the frame as censored: medians, weighted by the strata's shares of
    the real side, and the log-rank test within strata."""
    *rows, _ = within_strata(Rows.of(real, sides[0]), Rows.of(synth, sides[1]))
    real, synth = (each.table for each in rows)
    if min(len(real), len(synth)) < 3:
        return None
    lengths, censored = (np.concatenate([t[c].to_numpy() for t in (real, synth)]) for c in ("length", "censored"))
    is_synth = np.repeat([False, True], [len(real), len(synth)])
    units, kinds = _of_sides([each.units for each in rows]), np.concatenate([each.strata for each in rows])
    shares = {kind: float(np.mean(rows[0].strata == kind)) for kind in np.unique(kinds)}
    chi2, p = log_rank(lengths, censored, is_synth, strata=kinds)
    medians = [
        median_length(lengths[side], censored[side], strata=kinds[side], shares=shares)
        for side in (~is_synth, is_synth)
    ]
    return {
        "p": log_rank_permutation(lengths, censored, is_synth, units, strata=kinds, seed=seed),
        "log_rank": chi2,
        "p_log_rank_independent": p,
        "median_real": medians[0],
        "median_synth": medians[1],
        "censored": [float(censored[~is_synth].mean()), float(censored[is_synth].mean())],
        "count": [len(real), len(synth)],
        "units": [len(np.unique(units[~is_synth])), len(np.unique(units[is_synth]))],
    }
