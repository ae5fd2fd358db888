r"""Three distances between sets of clips, each in units of how far real clips are from each other.

The distance is the energy distance of standardised feature vectors (`features.py`),

.. math:: D(X, Y) = 2 E|X - Y| - E|X - X'| - E|Y - Y'|,

which is zero exactly when the distributions agree.  The estimate is unbiased (no clip is compared with itself),
so it does not shrink with more clips and can be slightly negative.  By itself, its value is hard to interpret.
The *floor* gives it a unit: real groups are repeatedly split into two halves that share no group, and the floor is
the root mean square of the distance between the halves.  A ratio of 1 means "as far from real as real is from
itself".  Part of the floor is chance, more so with fewer groups, so ratios over different real sets cannot be
compared.

Groups and halves are defined in `halves`.

References
----------
G. Szekely, M. Rizzo, Energy statistics: a class of statistics based on distances (2013),
https://doi.org/10.1016/j.jspi.2013.03.018
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from .controls import CONTROLS
from .features import FAMILIES, Features, as_grey_levels, clip_features
from .halves import check_halves, lies_in_one, split_halves
from .statistics.equivalence import MARGIN

LEAST_SCALE = 0.004
"""Minimum scale of a feature as a share of its median: one grey level of 255. Where all real clips are saturated, the
brightest grey level hardly varies, and in units of so small a spread any difference would look large."""

LEAST_SPLITS = 3
"""Minimum number of distinct splits of the real groups for a verdict: two recordings can be halved in one way only."""

EQUIVALENCE_RATIO = 2.0
"""Fixed in advance: a set counts as equivalent only if the interval of its distance lies below two floors, and below
the distance of the real clips from themselves with every feature off by half a deviation (`MARGIN`).  The floor alone
is not enough: the fewer groups there are, the more of it is chance, and the more sets would pass."""


def energy_distance(xx: np.ndarray, xy: np.ndarray, yy: np.ndarray, wx: np.ndarray, wy: np.ndarray) -> float:
    """Unbiased energy distance from matrices of pairwise distances.

    Parameters
    ----------
    xx, xy, yy : (n, n), (n, m) and (m, m)
        Distances between items; the diagonals of `xx` and `yy` are zero.
    wx, wy : (n,) and (m,)
        Weights, 0 for an item left out.

    Returns
    -------
    float
        NaN if a side is a single item, which has no others on its side to compare with.
    """
    pairs = [w.sum() ** 2 - w @ w for w in (wx, wy)]
    if min(pairs) <= 1e-9 * max(pairs):
        return float("nan")
    within = (wx @ xx @ wx) / pairs[0] + (wy @ yy @ wy) / pairs[1]
    return float(2 * (wx @ xy @ wy) / (wx.sum() * wy.sum()) - within)


class Yardstick:
    """The real side of one family of features: its standardisation, its pairwise distances and its floor.

    Parameters
    ----------
    real : dict of (N,) arrays
        Features of the real clips.
    groups, strata : (N,)
        See `group_clips`.
    max_splits, seed : int
        For `split_halves`.
    splits : list, optional
        From `split_halves`, where several yardsticks share them.

    Raises
    ------
    ValueError
        If the halves of the real clips never differ.
    """

    def __init__(
        self,
        real: Features,
        groups: np.ndarray,
        strata: np.ndarray,
        *,
        max_splits: int = 2500,
        seed: int = 0,
        splits: list[tuple[np.ndarray, np.ndarray]] | None = None,
    ):
        self.names = list(real)
        raw = np.stack(list(real.values()), 1)
        self.center = np.median(raw, 0)
        spread = np.subtract(*np.percentile(raw, (75, 25), axis=0)) / 1.349
        self.scale = np.maximum.reduce([spread, 0.5 * raw.std(0), LEAST_SCALE * np.abs(self.center)]) + 1e-3
        self.real, self.groups, self.strata, self.seed = self.standardise(real), groups, strata, seed
        self.within = cdist(self.real, self.real)
        self.splits = splits or split_halves(groups, strata, max_splits=max_splits, seed=seed)
        self.floor_values = np.array(
            [energy_distance(self.within, self.within, self.within, a, b) for a, b in self.splits]
        )
        self.floor = float(np.sqrt(np.mean(self.floor_values**2)))
        if self.floor == 0:
            raise ValueError("real clips must differ from each other, got halves that are the same: there is no floor")
        self.margin = min(EQUIVALENCE_RATIO * self.floor, self.distance_of_shift(MARGIN))
        self.threshold = max(0.0, float(np.quantile(self.floor_values, 0.95, method="higher")))
        self.distinct = len({frozenset((tuple(a), tuple(b))) for a, b in self.splits})

    def standardise(self, features: Features) -> np.ndarray:
        """Return the features of N clips as `(N, features)`, centred on the real median and divided by the spread."""
        return (np.stack([features[name] for name in self.names], 1) - self.center) / self.scale

    def measure(self, synth: Features, groups: np.ndarray, *, repeats: int = 500, level: float = 0.95) -> dict:
        """Measure the distance of `synth` in units of the floor, with a bootstrap over the groups of both sides.

        The bootstrap is centred on the estimate: a group drawn twice is compared with itself, which raises all
        replicates alike.
        """
        y = self.standardise(synth)
        matrices = self.within, cdist(self.real, y), cdist(y, y)
        value = energy_distance(*matrices, np.ones(len(self.real)), np.ones(len(y)))
        rng = np.random.default_rng(self.seed)
        one = np.full(len(groups), "all")
        draws = [_resample(*side, repeats, rng) for side in ((self.groups, self.strata), (groups, one))]
        drawn = np.array([energy_distance(*matrices, wx, wy) for wx, wy in zip(*draws, strict=True)])
        drawn = drawn[np.isfinite(drawn)]  # without replicates that drew a single clip only
        ends = [(1 - level) / 2, (1 + level) / 2]
        tails = np.quantile(drawn - drawn.mean(), ends) if len(drawn) else np.full(2, np.nan)
        return {
            "value": value,
            "floor": self.floor,
            "ratio": value / self.floor,
            "interval": ((value + tails) / self.floor).tolist(),
            "margin": self.margin / self.floor,
            "verdict": self.verdict(*(value + tails)) if self.distinct >= LEAST_SPLITS else "inconclusive",
            "splits": self.distinct,
            "floor_range": [float(self.floor_values.min()), float(self.floor_values.max())],
            "telltale": self.telltale(y),
        }

    def measure_control(self, spoilt: Features) -> dict:
        """Judge the distance of degraded halves from the other halves as recorded, over all splits."""
        y = self.standardise(spoilt)
        matrices = cdist(y, y), cdist(y, self.real), self.within
        values = np.array([energy_distance(*matrices, a, b) for a, b in self.splits])
        low, high = np.quantile(values, [0.025, 0.975])
        return {
            "ratio": float(values.mean()) / self.floor,
            "interval": [float(low) / self.floor, float(high) / self.floor],
            "verdict": self.verdict(low, high),
        }

    def verdict(self, low: float, high: float) -> str:
        """Judge the interval of a distance: beyond 95 % of real-vs-real splits, within the margin, or neither."""
        if low > self.threshold:
            return "different"
        return "equivalent" if high < self.margin else "inconclusive"

    def distance_of_shift(self, shift: float) -> float:
        """Distance of the real clips from themselves with every feature moved up or down at random by `shift`
        deviations."""
        rng = np.random.default_rng(self.seed)
        off = [self.real + shift * rng.choice([-1.0, 1.0], self.real.shape[1]) for _ in range(8)]
        others = ~np.eye(len(self.real), dtype=bool)  # a clip is nearer to its own shifted self than to others
        across = np.mean([cdist(self.real, each)[others].mean() for each in off])
        return float(2 * (across - self.within[others].mean()))

    def telltale(self, y: np.ndarray, *, top: int = 5) -> list[dict]:
        """The features that differ most: Wasserstein-1 distance and shift of the median, in real deviations."""
        gap = [wasserstein_distance(a, b) for a, b in zip(self.real.T, y.T, strict=True)]
        shift = np.median(y, 0) - np.median(self.real, 0)
        return [
            {"feature": self.names[i], "distance": float(gap[i]), "shift": float(shift[i])}
            for i in np.argsort(gap)[::-1][:top]
        ]


def _resample(groups: np.ndarray, strata: np.ndarray, repeats: int, rng: np.random.Generator) -> np.ndarray:
    """`(repeats, N)` weights: how often each clip's group was drawn within its stratum."""
    weights = np.ones((repeats, len(groups)))
    for stratum in np.unique(strata):
        here = np.flatnonzero(strata == stratum)
        names, index = np.unique(groups[here], return_inverse=True)
        even = np.full(len(names), 1 / len(names))
        counts = rng.multinomial(len(names), even, size=repeats).astype(float)[:, index]
        weights[:, here] = counts * len(here) / counts.sum(1, keepdims=True)
    return weights


def build_yardsticks(
    real: np.ndarray, groups: np.ndarray, strata: np.ndarray, *, seed: int = 0
) -> dict[str, Yardstick]:
    """Build a yardstick for each family of features of `(N, F, H, W)` clips: uint8, or grey levels as float32."""
    features = clip_features(real if real.dtype == np.uint8 else real / 255)
    splits = split_halves(groups, strata, seed=seed)
    return {family: Yardstick(f, groups, strata, seed=seed, splits=splits) for family, f in features.items()}


def run_controls(
    real: np.ndarray,
    yardsticks: dict[str, Yardstick],
    *,
    seed: int = 0,
    progress: Callable[[str], None] = lambda step: None,
) -> dict[str, dict]:
    """Degrade the real clips (float32 grey levels) and check which distances detect it: name -> family -> row."""
    table = {}
    for name, (spoil, meant) in CONTROLS.items():
        progress(f"control: {name}")
        spoilt = spoil(real, np.random.default_rng(seed))
        table[name] = {
            family: yardsticks[family].measure_control(describe(spoilt)) | {"meant": family in meant}
            for family, describe in FAMILIES.items()
        }
    return table


def mark_trust(distances: dict[str, dict], controls: dict[str, dict]) -> None:
    """Add ``trusted`` to each distance: controls were run, and it detected all those that it should. A distance that
    missed a control cannot call clips `equivalent`."""
    for family, distance in distances.items():
        meant = [row[family] for row in controls.values() if row[family]["meant"]]
        distance["trusted"] = bool(meant) and all(m["verdict"] == "different" for m in meant)
        if meant and not distance["trusted"] and distance["verdict"] == "equivalent":
            distance["verdict"] = "inconclusive"


def compare_clips(
    real: np.ndarray,
    synth: np.ndarray,
    *,
    real_groups: Sequence | None = None,
    real_strata: Sequence | None = None,
    synth_groups: Sequence | None = None,
    controls: bool = True,
    repeats: int = 500,
    seed: int = 0,
    progress: Callable[[str], None] = lambda step: None,
) -> dict:
    """Three distances of a synthetic set from a real one, in units of the real-vs-real floor.

    Parameters
    ----------
    real, synth : (N, F, H, W) and (M, F, H, W)
        uint8, or floats in [0, 1]; the same F, H and W.  `real` should be held out of training.
    real_groups : (N,) labels, optional
        Independently sampled units: recordings or blocks (`group_clips`).  None: each clip is its own group,
        which assumes that clips are independent and makes the floor too low if they are not.
    real_strata : (N,) labels, optional
        Cell types; splits are made within them.
    synth_groups : (M,) labels, optional
        None: each clip is its own group, which is right for clips generated with different seeds.
    controls : bool
        Also degrade the real clips and check whether each distance detects it.
    repeats : int
        Bootstrap replicates.
    progress : callable
        Called with the name of each step.

    Returns
    -------
    dict
        ``distances``: family -> ``value``, ``floor``, ``ratio``, ``interval`` (95 %, of the ratio),
        ``margin`` (what the interval must stay below to be `equivalent`), ``verdict`` (`equivalent`, `different` or
        `inconclusive`; always the last where the real groups can be halved in fewer than `LEAST_SPLITS` ways),
        ``splits``, the number of these ways, ``floor_range``, ``telltale``, and ``trusted`` (the family detected
        every control that it should); ``controls``: name -> family -> ``ratio``, ``interval``, ``verdict``,
        ``meant`` (the family should detect it); ``groups``: number of real and synthetic groups, and of splits.
    """
    real, synth = as_grey_levels(real), as_grey_levels(synth)
    if real.shape[1:] != synth.shape[1:]:
        raise ValueError(f"both sides must have the same frames and size, got {real.shape[1:]} and {synth.shape[1:]}")
    if min(len(real), len(synth)) < 2:
        raise ValueError(f"each side needs at least two clips, got {len(real)} and {len(synth)}")
    groups = np.asarray(range(len(real)) if real_groups is None else real_groups).astype(str)
    strata = np.full(len(real), "all") if real_strata is None else np.asarray(real_strata).astype(str)
    units = np.asarray(range(len(synth)) if synth_groups is None else synth_groups).astype(str)

    for name, labels, count in (
        ("real_groups", groups, len(real)),
        ("real_strata", strata, len(real)),
        ("synth_groups", units, len(synth)),
    ):
        if labels.shape != (count,):
            raise ValueError(f"{name} must have a label for each of the {count} clips, got shape {labels.shape}")

    kept = lies_in_one(groups)
    real, groups, strata = real[kept], groups[kept], strata[kept]
    progress("features of the real clips")
    yardsticks = build_yardsticks(real, groups, strata, seed=seed)
    check_halves(yardsticks["motion"].splits, groups)
    progress("features of the synthetic clips")
    features = clip_features(synth / 255)
    distances = {k: y.measure(features[k], units, repeats=repeats) for k, y in yardsticks.items()}
    table = run_controls(real, yardsticks, seed=seed, progress=progress) if controls else {}
    mark_trust(distances, table)
    splits = next(iter(yardsticks.values())).distinct
    return {
        "distances": distances,
        "controls": table,
        "groups": {"real": len(set(groups)), "synth": len(set(units)), "splits": splits},
    }
