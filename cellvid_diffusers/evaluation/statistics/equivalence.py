"""Two one-sided tests: equivalence has to be shown, it does not follow from p > 0.05.

References
----------
D. Schuirmann, A comparison of the two one-sided tests procedure and the power approach (1987),
https://doi.org/10.1007/BF01068419
"""

import numpy as np
from scipy import stats

from .permutation import Strata

MARGIN = 0.5
"""Fixed in advance, in standard deviations of real cells: Cohen's medium effect, just visible to the eye."""


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
        Small if the sides are equivalent; 1 if one has fewer than two values.
    """
    return tost_within([(real, synth, 1.0)], margin=margin)


def tost_within(strata: Strata, *, margin: float) -> float:
    """`tost` of the difference within strata, averaged by their shares; `strata` from `stratify`."""
    if margin <= 0:
        raise ValueError(f"margin must be positive, got {margin}")
    if min(min(len(real), len(synth)) for real, synth, _ in strata) < 2:
        return 1.0
    difference = float(sum(share * (np.mean(synth) - np.mean(real)) for real, synth, share in strata))
    sides = [(share**2 * np.var(side, ddof=1) / len(side), len(side) - 1) for *both, share in strata for side in both]
    variance = sum(each for each, _ in sides)
    if variance == 0:
        return float(abs(difference) >= margin)
    error, df = np.sqrt(variance), variance**2 / sum(each**2 / n for each, n in sides)
    return float(max(stats.t.sf((difference + margin) / error, df), stats.t.cdf((difference - margin) / error, df)))
