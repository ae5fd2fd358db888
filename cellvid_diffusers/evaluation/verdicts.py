"""Measures of cells, neurites, tracks and motion: real against synthetic, one verdict each.

Verdicts come from tests whose units are whole videos or recordings; the paper's own tests are given for comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .statistics import (
    benjamini_hochberg,
    cardinal_index,
    directional_harmonics,
    effect_size,
    holm,
    kuiper,
    log_rank,
    permute_labels,
    rotation_test,
    stratify,
    w1_over_floor,
    watson_u2,
)
from .statistics.equivalence import MARGIN, tost_within
from .statistics.permutation import MIN_UNITS, count_units, least_p, permutation_within, shared_strata
from .statistics.survival import log_rank_permutation, median_length

LEVEL = 0.05
RATE_MARGIN = 2.0
"""Factor by which the event rates of the two sides may differ and still count as equal."""


@dataclass(frozen=True)
class Side:
    """Outermost unit (recording or block) and stratum of each clip of one side, both `(N,)`.

    Sides are compared within the strata (cell types) that both have; rows of others are left out (`within_strata`).
    """

    units: np.ndarray
    strata: np.ndarray


@dataclass(frozen=True)
class Rows:
    """Rows of one side's table with column `clip`, and the unit and stratum `(N,)` of each."""

    table: pd.DataFrame
    units: np.ndarray
    strata: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame, side: Side) -> "Rows":
        """Take all rows of a table."""
        clip = table["clip"].to_numpy()
        return cls(table, side.units[clip], side.strata[clip])

    def keep(self, chosen: np.ndarray) -> "Rows":
        """Keep the rows where `chosen` (N,) is true."""
        return Rows(self.table[chosen], self.units[chosen], self.strata[chosen])


def within_strata(real: Rows, synth: Rows) -> tuple[Rows, Rows, list[str]]:
    """Keep the rows of strata in which both sides have at least two units; also return the names of the shared strata
    that are left out because a side has a single unit in them. If no stratum is left, keep all rows as one stratum."""
    shared = shared_strata((real.units, synth.units), (real.strata, synth.strata))
    if len(shared) == 0:
        one = [replace(rows, strata=np.zeros(len(rows.table))) for rows in (real, synth)]
        return one[0], one[1], []
    left_out = sorted({*map(str, real.strata)} & {*map(str, synth.strata)} - {*map(str, shared)})
    return real.keep(np.isin(real.strata, shared)), synth.keep(np.isin(synth.strata, shared)), left_out


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


def decide(rows: dict[str, dict]) -> None:
    """Add `p_holm`, `q` and `verdict` to the rows of measures, in place.

    `equivalent`: two one-sided tests show that the difference is less than half a standard deviation of real cells, and
    so is the effect over all cells; for events, whose counts are nearly all zero, the interval of the rate ratio
    (`rate_interval`) lies between 1 / `RATE_MARGIN` and `RATE_MARGIN`; never where a stratum is left out.
    `different`: the permutation test of whole units is significant after Holm's correction, and synthetic cells are
    further from real ones than real halves are from each other in most splits; with too few units for a p, or for one
    that could pass the correction, only if the interval of the effect lies beyond the margin and nearly all splits
    agree.  Everything else is `inconclusive`.
    """
    tested = [name for name, row in rows.items() if row["p"] is not None]
    p = np.array([rows[name]["p"] for name in tested])
    for name, adjusted, q in zip(tested, holm(p), benjamini_hochberg(p), strict=True):
        rows[name] |= {"p_holm": float(adjusted), "q": float(q)}
    for row in rows.values():
        low, high = row.get("interval", (-np.inf, np.inf))
        agree = row.get("beyond_floor", 1.0)
        if row["p"] is None or row.get("least_p", 0) * len(tested) >= LEVEL:
            differs = max(low, -high) > MARGIN and agree >= 0.95
        else:
            differs = row["p_holm"] < LEVEL and agree >= 0.8
        if _is_equivalent(row):
            row["verdict"] = "equivalent"
        elif differs:
            row["verdict"] = "different"
        else:
            row["verdict"] = "inconclusive"


def _is_equivalent(row: dict) -> bool:
    if row.get("left_out"):
        return False
    if "rate_interval" in row:
        low, high = row["rate_interval"] or (0.0, np.inf)
        return bool(low > 1 / RATE_MARGIN and high < RATE_MARGIN)
    return bool(row.get("p_equivalence", 1) < LEVEL and abs(row["effect"]) < MARGIN)


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
