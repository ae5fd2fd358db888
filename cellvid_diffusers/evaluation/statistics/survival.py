"""Survival analysis of lengths: those cut off by the edge of the frame are censored, not short.

A neurite that leaves the frame is *at least* as long as its visible part.  Averaging visible lengths makes neurites in
small patches short, which the paper observed and could not distinguish from a fault of the model.

References
----------
E. Kaplan, P. Meier, Nonparametric estimation from incomplete observations (1958),
https://doi.org/10.1080/01621459.1958.10501452
N. Mantel, Evaluation of survival data and two new rank order statistics (1966)
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from .permutation import MIN_UNITS, permute_labels


def kaplan_meier(lengths: np.ndarray, censored: np.ndarray) -> dict[str, np.ndarray]:
    """Kaplan-Meier estimate of the share of neurites longer than a length.

    Parameters
    ----------
    lengths : (N,)
        Visible lengths, in any unit.
    censored : (N,) bool
        True where the neurite leaves the frame.

    Returns
    -------
    dict
        ``length`` (K,), the distinct complete lengths; ``survival`` (K,), the share that is longer;
        ``error`` (K,), Greenwood's standard error (assuming independent neurites); ``at_risk`` (K,).
    """
    lengths, seen = np.asarray(lengths, float), ~np.asarray(censored, bool)
    times = np.unique(lengths[seen])
    at_risk = len(lengths) - np.searchsorted(np.sort(lengths), times)
    ends = np.searchsorted(np.sort(lengths[seen]), times, side="right")
    ends = np.diff(ends, prepend=0)
    survival = np.cumprod(1 - ends / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = survival * np.sqrt(np.cumsum(ends / (at_risk * (at_risk - ends))))
    return {"length": times, "survival": survival, "error": np.nan_to_num(error), "at_risk": at_risk}


def median_length(
    lengths: np.ndarray,
    censored: np.ndarray,
    *,
    strata: np.ndarray | None = None,
    shares: Mapping[Any, float] | None = None,
) -> float:
    """Length that half of the neurites exceed, by Kaplan-Meier; infinity if the curve never falls to a half.

    With `strata`, `(N,)` labels, the curve is the mean of their curves, weighted by `shares`, which sum to 1.
    """
    lengths, censored = np.asarray(lengths, float), np.asarray(censored, bool)
    strata = np.zeros(len(lengths)) if strata is None else strata
    times = np.unique(lengths[~censored])
    survival = np.zeros(len(times))
    for stratum, share in ({0.0: 1.0} if shares is None else shares).items():
        here = strata == stratum
        curve = kaplan_meier(lengths[here], censored[here])
        before = np.searchsorted(curve["length"], times, side="right")
        survival = survival + share * np.append(1.0, curve["survival"])[before]
    reached = np.flatnonzero(survival <= 0.5 + 1e-9)  # tolerates rounding of a product that equals 1/2
    return float(times[reached[0]]) if len(reached) else float("inf")


def log_rank(
    lengths: np.ndarray, censored: np.ndarray, is_synth: np.ndarray, *, strata: np.ndarray | None = None
) -> tuple[float, float]:
    """Log-rank test of two samples of censored lengths; with `strata`, `(N,)` labels, compared within them.

    Returns
    -------
    chi2, p : float
        p assumes independent neurites; that of `log_rank_permutation` does not.
    """
    lengths, seen, is_synth = np.asarray(lengths, float), ~np.asarray(censored, bool), np.asarray(is_synth, bool)
    strata = np.zeros(len(lengths)) if strata is None else strata
    parts = [strata == stratum for stratum in np.unique(strata)]
    excess, variance = np.sum([_excess(lengths[here], seen[here], is_synth[here]) for here in parts], axis=0)
    chi2 = float(excess**2 / variance) if variance > 0 else 0.0
    return chi2, float(stats.chi2.sf(chi2, 1))


def _excess(lengths: np.ndarray, seen: np.ndarray, is_synth: np.ndarray) -> tuple[float, float]:
    """Number of ends of synthetic neurites minus that expected if both sides are alike, and its variance."""
    times = np.unique(lengths[seen])
    at_risk, ends = (
        np.stack([_at_least(lengths[mask], times) for mask in (is_synth, ~is_synth)]),
        np.stack([_exactly(lengths[seen & mask], times) for mask in (is_synth, ~is_synth)]),
    )
    n, d = at_risk.sum(0), ends.sum(0)
    expected = at_risk[0] * d / n
    variance = at_risk[0] * at_risk[1] * d * (n - d) / (n**2 * np.maximum(n - 1, 1))
    return float((ends[0] - expected).sum()), float(variance.sum())


def log_rank_permutation(
    lengths: np.ndarray,
    censored: np.ndarray,
    is_synth: np.ndarray,
    units: np.ndarray,
    *,
    strata: np.ndarray | None = None,
    repeats: int = 500,
    seed: int = 0,
) -> float | None:
    """p of the log-rank statistic under permutation of whole units, both within `strata` (one label for each neurite);
    None with too few units."""
    _, first, index = np.unique(units, return_index=True, return_inverse=True)
    labels = is_synth[first]
    if min(labels.sum(), (~labels).sum()) < MIN_UNITS:
        return None
    return permute_labels(
        lambda called: log_rank(lengths, censored, called[index], strata=strata)[0],
        labels,
        strata=None if strata is None else strata[first],
        repeats=repeats,
        seed=seed,
    )[1]


def _at_least(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    return len(values) - np.searchsorted(np.sort(values), times, side="left")


def _exactly(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    ordered = np.sort(values)
    return np.searchsorted(ordered, times, side="right") - np.searchsorted(ordered, times, side="left")
