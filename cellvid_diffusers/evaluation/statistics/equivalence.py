"""Two one-sided tests: sameness has to be shown, it does not follow from p > 0.05.

References
----------
D. Schuirmann, A comparison of the two one-sided tests procedure and the power approach (1987),
https://doi.org/10.1007/BF01068419
"""

import numpy as np
from scipy import stats

MARGIN = 0.5
"""Fixed beforehand, in standard deviations of real cells: Cohen's medium effect, what an eye just notices."""


def tost(real: np.ndarray, synth: np.ndarray, *, margin: float) -> float:
    """p of the hypothesis that the means differ by the margin or more (Welch, unequal variances).

    Parameters
    ----------
    real, synth : (N,) and (M,)
        Independent values: one mean per video or recording.
    margin : float
        In the unit of the values; the means are equivalent if their difference lies within +-margin.

    Returns
    -------
    float
        Small: equivalent.  1 if a side has fewer than two values.
    """
    if margin <= 0:
        raise ValueError(f"margin must be positive, got {margin}")
    if min(len(real), len(synth)) < 2:
        return 1.0
    va, vb = np.var(real, ddof=1) / len(real), np.var(synth, ddof=1) / len(synth)
    difference, error = np.mean(synth) - np.mean(real), np.sqrt(va + vb)
    if error == 0:
        return float(abs(difference) >= margin)
    df = (va + vb) ** 2 / (va**2 / (len(real) - 1) + vb**2 / (len(synth) - 1))
    return float(max(stats.t.sf((difference + margin) / error, df), stats.t.cdf((difference - margin) / error, df)))
