"""Permutation of whole videos (or recordings): the test that does not mind that cells of one video are alike.

References
----------
A. Janssen, Studentized permutation tests for non-i.i.d. hypotheses and the generalized Behrens-Fisher
problem (1997), https://doi.org/10.1016/S0167-7152(97)00043-6
"""

from collections.abc import Callable

import numpy as np

MIN_UNITS = 5
"""Fewer units on a side, and the smallest p that a permutation can give says nothing: effect sizes only."""


def permute_labels(
    statistic: Callable[[np.ndarray], float], is_synth: np.ndarray, *, repeats: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Value of a statistic and the share of relabellings of the units that give at least as much.

    Parameters
    ----------
    statistic : callable
        Takes `(U,)` bool, which units are called synthetic; large means different.
    is_synth : (U,) bool

    Returns
    -------
    value, p : float
        The observed labelling counts as one of the relabellings, so that p is never 0 and the test is exact.
    """
    rng = np.random.default_rng(seed)
    value = statistic(is_synth)
    reached = sum(statistic(rng.permutation(is_synth)) >= value * (1 - 1e-12) for _ in range(repeats))
    return float(value), (1 + reached) / (1 + repeats)


def permutation_test(
    real: np.ndarray,
    synth: np.ndarray,
    real_units: np.ndarray,
    synth_units: np.ndarray,
    *,
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

    Returns
    -------
    float or None
        None with fewer than `MIN_UNITS` units on a side.
    """
    sides = [unit_means(real, real_units), unit_means(synth, synth_units)]
    if min(map(len, sides)) < MIN_UNITS:
        return None
    means = np.concatenate(sides)
    is_synth = np.arange(len(means)) >= len(sides[0])
    rng = np.random.default_rng(seed)
    labels = np.concatenate([is_synth[None], rng.permuted(np.tile(is_synth, (repeats, 1)), axis=1)])
    t = np.abs(_welch(means, labels))
    return float(np.mean(t >= t[0] * (1 - 1e-12)))


def _welch(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Welch's t of `(U,)` values for each row of `(R, U)` labels."""
    moments = []
    for chosen in (labels, ~labels):
        n = chosen.sum(1)
        mean = chosen @ values / n
        moments.append((mean, (chosen @ values**2 / n - mean**2) / (n - 1)))
    (a, va), (b, vb) = moments
    return (a - b) / np.sqrt(np.maximum(va + vb, np.finfo(float).tiny))


def unit_means(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Mean of the values in each unit, in sorted order of the units."""
    index = np.unique(units, return_inverse=True)[1]
    return np.bincount(index, values) / np.bincount(index)
