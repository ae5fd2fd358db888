r"""Directions of neurites: are they distributed alike, and do they prefer the axes of the pixel grid?

The harmonic of order k is :math:`m_k = E e^{i k \theta}`: order 1 measures a common direction, 2 a common axis, 4 a
preference for the four cardinal directions (the fault that the paper found in its synthetic neurites).
The cardinal index is :math:`C_4 = E \cos 4\theta`: +1 if all directions lie on the grid, -1 if all lie on
its diagonals, 0 without a preference.  Rotating everything by 45 degrees only changes its sign, which gives an exact
test.

Directions are in radians, 0 to the right and increasing towards the bottom of the frame.

References
----------
G. Watson, Goodness-of-fit tests on a circle II (1962), https://doi.org/10.1093/biomet/49.1-2.57
N. Kuiper, Tests concerning random points on a circle (1960)
M. Stephens, The goodness-of-fit statistic V_N: distribution and significance points (1965)
"""

import numpy as np


def directional_harmonics(directions: np.ndarray, orders: tuple[int, ...] = (1, 2, 4)) -> dict[int, complex]:
    """Mean of `exp(i k direction)` for each order k; its modulus lies in [0, 1]."""
    return {k: complex(np.mean(np.exp(1j * k * np.asarray(directions)))) for k in orders}


def cardinal_index(directions: np.ndarray) -> float:
    """Preference for the four cardinal directions, in [-1, 1]; 0 without any."""
    return float(np.mean(np.cos(4 * np.asarray(directions))))


def rotation_test(
    directions: np.ndarray, units: np.ndarray, *, repeats: int = 5000, seed: int = 0
) -> tuple[float, float]:
    """Test whether these directions would look the same if each video were rotated by 45 degrees.

    Parameters
    ----------
    directions : (N,)
        Radians.
    units : (N,) labels
        Video (or recording) of each; it is rotated as a whole.

    Returns
    -------
    c4, p : float
        Two-sided p: share of random choices of units to rotate that give a cardinal index at least as large.
    """
    index = np.unique(units, return_inverse=True)[1]
    sums = np.bincount(index, np.cos(4 * np.asarray(directions)))
    turns = np.random.default_rng(seed).choice([-1, 1], size=(repeats, len(sums)))
    reached = np.abs(turns @ sums) >= abs(sums.sum()) * (1 - 1e-12)
    return float(sums.sum() / len(index)), (1 + int(reached.sum())) / (1 + repeats)


def watson_u2(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Watson's two-sample U2, with ties.

    Returns
    -------
    u2, p : float
        p from the leading terms of the asymptotic series, assuming independent directions.
    """
    gap, repeats = _step_difference(a, b)
    n = len(a) + len(b)
    u2 = len(a) * len(b) / n**2 * (repeats @ gap**2 - (repeats @ gap) ** 2 / n)
    if u2 < 0.005:
        return float(u2), 1.0  # the series does not converge here, and p is 1 to ten digits
    m = np.arange(1, 101)
    p = 2 * np.sum((-1.0) ** (m - 1) * np.exp(-2 * m**2 * np.pi**2 * u2))
    return float(u2), float(np.clip(p, 0, 1))


def kuiper(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Kuiper's two-sample V.

    Returns
    -------
    v, p : float
        p from the asymptotic series with its term of order 1 / sqrt(n), assuming independent directions.
    """
    gap, _ = _step_difference(a, b)
    v = max(gap.max(), 0) - min(gap.min(), 0)
    root = np.sqrt(len(a) * len(b) / (len(a) + len(b)))
    z = root * v
    if z < 0.4:
        return float(v), 1.0  # the series does not converge here, and p is 1 to ten digits
    m2 = np.arange(1, 51) ** 2
    leading = 2 * np.sum((4 * m2 * z**2 - 1) * np.exp(-2 * m2 * z**2))
    small = 8 * v / 3 * np.sum(m2 * (4 * m2 * z**2 - 3) * np.exp(-2 * m2 * z**2))
    return float(v), float(np.clip(leading - small, 0, 1))


def _step_difference(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Difference of the empirical distribution functions at each distinct direction, and how often that one occurs."""
    a, b = (np.mod(np.asarray(x, float), 2 * np.pi) for x in (a, b))
    where, repeats = np.unique(np.concatenate([a, b]), return_counts=True)
    cdf = [np.searchsorted(np.sort(x), where, side="right") / len(x) for x in (a, b)]
    return cdf[0] - cdf[1], repeats
