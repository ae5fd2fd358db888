"""Adjusted p-values, for a report that makes many tests at once.

References
----------
S. Holm, A simple sequentially rejective multiple test procedure (1979), https://www.jstor.org/stable/4615733
Y. Benjamini, Y. Hochberg, Controlling the false discovery rate (1995),
https://doi.org/10.1111/j.2517-6161.1995.tb02031.x
"""

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values, which control the family-wise error rate: the probability of any false positive."""
    p = np.asarray(p, float)
    order, n = np.argsort(p), len(p)
    out = np.empty(n)
    out[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(n, 0, -1)), 1)
    return out


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """q-values: the expected share of false positives among all tests with at most this q."""
    p = np.asarray(p, float)
    order, n = np.argsort(p)[::-1], len(p)
    out = np.empty(n)
    out[order] = np.minimum(np.minimum.accumulate(p[order] * n / np.arange(n, 0, -1)), 1)
    return out
