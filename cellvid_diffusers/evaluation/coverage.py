"""Fidelity and diversity separately: are synthetic clips plausible, and is every kind of real clip among them?

References
----------
T. Kynkaanniemi et al., Improved precision and recall metric for assessing generative models (2019),
https://arxiv.org/abs/1904.06991
M. Naeem et al., Reliable fidelity and diversity metrics for generative models (2020),
https://arxiv.org/abs/2002.09797
"""

import numpy as np
from scipy.spatial.distance import cdist


def coverage(real: np.ndarray, synth: np.ndarray, *, neighbours: int = 5) -> dict[str, float]:
    """Precision, recall, density and coverage from nearest-neighbour balls.

    Parameters
    ----------
    real, synth : (N, D) and (M, D)
        Standardised features.
    neighbours : int
        k: a clip's ball reaches to its k-th nearest neighbour on its own side.

    Returns
    -------
    dict
        ``precision``: share of synthetic clips inside some real ball; ``recall``: share of real clips
        inside some synthetic ball; ``density``: mean number of real balls around a synthetic clip, divided by k
        (1 for equal distributions, may exceed 1); ``coverage``: share of real balls with a synthetic clip inside,
        which outliers cannot inflate.
    """
    if min(len(real), len(synth)) <= neighbours:
        raise ValueError(f"each side needs more than {neighbours} clips, got {len(real)} and {len(synth)}")
    radius_real, radius_synth = _radius(real, neighbours), _radius(synth, neighbours)
    between = cdist(real, synth)
    inside_real = between <= radius_real[:, None]
    return {
        "precision": float(inside_real.any(0).mean()),
        "recall": float((between <= radius_synth[None]).any(1).mean()),
        "density": float(inside_real.sum(0).mean() / neighbours),
        "coverage": float((between.min(1) <= radius_real).mean()),
    }


def _radius(points: np.ndarray, neighbours: int) -> np.ndarray:
    return np.partition(cdist(points, points), neighbours, axis=1)[:, neighbours]  # 0 is the point itself
