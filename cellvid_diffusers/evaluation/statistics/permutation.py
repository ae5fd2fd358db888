"""Permutation of whole videos (or recordings): a test that stays valid when cells of one video are alike.

Where both sides have several strata (cell types), units are permuted only within their stratum, and differences within
strata are averaged by the strata's shares: more but smaller units of one type on one side do not count as a difference.

References
----------
A. Janssen, Studentized permutation tests for non-i.i.d. hypotheses and the generalized Behrens-Fisher
problem (1997), https://doi.org/10.1016/S0167-7152(97)00043-6
"""

from collections.abc import Callable, Sequence
from math import comb, prod

import numpy as np

MIN_UNITS = 5
"""Least number of units per side for a p. With fewer, the smallest p that a permutation can give says nothing, and only
effect sizes are given."""

Strata = list[tuple[np.ndarray, np.ndarray, float]]
"""For each stratum, the means of the units on the real and the synthetic side, and its share; shares sum to 1."""


def permute_labels(
    statistic: Callable[[np.ndarray], float],
    is_synth: np.ndarray,
    *,
    strata: np.ndarray | None = None,
    repeats: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Value of a statistic, and the share of relabellings of the units for which it is at least as large.

    Parameters
    ----------
    statistic : callable
        Takes `(U,)` bool, true for units labelled synthetic; larger values mean more different.
    is_synth : (U,) bool
    strata : (U,) labels, optional
        Units are relabelled within them.

    Returns
    -------
    value, p : float
        The observed labelling counts as one of the relabellings, so that p is never 0 and the test is exact.
    """
    rng = np.random.default_rng(seed)
    strata = np.zeros(len(is_synth)) if strata is None else strata
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    value, reached = statistic(is_synth), 0
    for _ in range(repeats):
        called = is_synth.copy()
        for here in members:
            called[here] = rng.permutation(is_synth[here])
        reached += statistic(called) >= value * (1 - 1e-12)
    return float(value), (1 + reached) / (1 + repeats)


def permutation_test(
    real: np.ndarray,
    synth: np.ndarray,
    real_units: np.ndarray,
    synth_units: np.ndarray,
    *,
    strata: tuple[np.ndarray, np.ndarray] | None = None,
    repeats: int = 2000,
    seed: int = 0,
) -> float | None:
    """Two-sided p of a difference between the means of the units, by Welch's t under permutation.

    Parameters
    ----------
    real, synth : (N,) and (M,)
        One value per cell.
    real_units, synth_units : (N,) and (M,) labels
        The outermost cluster: recording, else video.
    strata : (N,) and (M,) labels, optional
        Stratum of the unit of each cell; the same strata on both sides.

    Returns
    -------
    float or None
        None with fewer than `MIN_UNITS` units on a side.
    """
    return permutation_within(stratify((real, synth), (real_units, synth_units), strata), repeats=repeats, seed=seed)


def permutation_within(strata: Strata, *, repeats: int = 2000, seed: int = 0) -> float | None:
    """`permutation_test` of units already divided into strata; `strata` from `stratify`."""
    if min(count_units(strata)) < MIN_UNITS:
        return None
    rng = np.random.default_rng(seed)
    difference = variance = np.zeros(1 + repeats)
    for of_real, of_synth, share in strata:
        means = np.concatenate([of_real, of_synth])
        is_synth = np.arange(len(means)) >= len(of_real)
        labels = np.concatenate([is_synth[None], rng.permuted(np.tile(is_synth, (repeats, 1)), axis=1)])
        of_stratum = _difference(means, labels)
        difference = difference + share * of_stratum[0]
        variance = variance + share**2 * of_stratum[1]
    least = max(float(np.abs(np.concatenate(side)).max()) for *side, _ in strata) * np.finfo(float).eps
    difference = np.where(np.abs(difference) > least, difference, 0.0)  # all means equal: drop rounding errors
    t = np.abs(difference) / np.sqrt(np.maximum(variance, max(least**2, np.finfo(float).tiny)))
    return float(np.mean(t >= t[0] * (1 - 1e-12)))


def count_units(strata: Strata) -> list[int]:
    """Units of the real and of the synthetic side."""
    return [sum(len(real) for real, _, _ in strata), sum(len(synth) for _, synth, _ in strata)]


def least_p(strata: Strata) -> float:
    """The smallest p that `permutation_test` can give: that of the most extreme of all relabellings, and of its mirror
    image if both sides have the same number of units in each stratum."""
    extreme = 2 if all(len(real) == len(synth) for real, synth, _ in strata) else 1
    return min(1.0, extreme / prod(comb(len(real) + len(synth), len(real)) for real, synth, _ in strata))


def _difference(values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Difference of the means of `(U,)` values and its variance for each row of `(R, U)` labels."""
    moments = []
    for chosen in (labels, ~labels):
        n = chosen.sum(1)
        mean = chosen @ values / n
        moments.append((mean, (chosen @ values**2 / n - mean**2) / np.maximum(n - 1, 1)))
    (a, va), (b, vb) = moments
    return a - b, va + vb


def stratify(
    values: Sequence[np.ndarray], units: Sequence[np.ndarray], strata: Sequence[np.ndarray] | None = None
) -> Strata:
    """Means of the units of both sides within each stratum, with its share of the real values.

    Parameters
    ----------
    values, units, strata : (real, synth) arrays of shape (N,) and (M,)
        One value per cell, the outermost cluster (recording, else video) that it belongs to, and the stratum of that
        cluster. Strata are the same on both sides (see `shared_strata`); None: all units form a single one.
    """
    if strata is None:
        real, synth = (unit_means(v, u) for v, u in zip(values, units, strict=True))
        return [(real, synth, 1.0)]
    parts = []
    for name in np.unique(strata[0]):
        here = [of_side == name for of_side in strata]
        real, synth = (unit_means(v[h], u[h]) for v, u, h in zip(values, units, here, strict=True))
        parts.append((real, synth, float(here[0].mean())))
    return parts


def shared_strata(units: Sequence[np.ndarray], strata: Sequence[np.ndarray]) -> np.ndarray:
    """Names of the strata that can be compared: both sides have at least two units in them.

    Parameters
    ----------
    units, strata : (real, synth) arrays of shape (N,) and (M,)
        As for `stratify`.
    """
    found = [
        {name for name in np.unique(kind) if len(np.unique(unit[kind == name])) > 1}
        for unit, kind in zip(units, strata, strict=True)
    ]
    return np.array(sorted(found[0] & found[1]), dtype=np.asarray(strata[0]).dtype)


def unit_means(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Mean of the values in each unit, in sorted order of the units."""
    index = np.unique(units, return_inverse=True)[1]
    return np.bincount(index, values) / np.bincount(index)
