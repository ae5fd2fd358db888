"""Scores by the share of real data that a network was trained on: differences with intervals, table, curve."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from markdown import table
from matplotlib.axes import Axes

Values = np.ndarray
"""`(seeds, N)`: measurements on each of N held-out clips or frames."""
REFERENCE = "real, repeated"
"""The arm that the others are compared with: real data only, for as many steps as the others take."""
COLOURS = {
    "real": "C0",
    "real + generated": "C1",
    "generated": "C2",
    "real + simulated": "C3",
    "simulated": "C4",
    REFERENCE: "C5",
    "real, augmented": "C6",
}
"""Colour of each arm, the same in every panel."""


@dataclass
class Curve:
    """Results of every arm at every share of the real data.

    Attributes
    ----------
    title : str
        Name of the score, for axis and table.
    arms : tuple of str
        In display order; `REFERENCE` is one of them.
    groups : ndarray of shape (N,)
        Group of each held-out clip or frame.
    score : callable
        Function of values `(seeds, N)` and the indices of the held-out clips to score.
    values : dict of (arm, share) to ndarray of shape (seeds, N)
        An arm without real data is stored at the largest share.
    without_real : frozenset of str
        Arms that are trained without real data.
    """

    title: str
    arms: tuple[str, ...]
    groups: np.ndarray
    score: Callable[[Values, np.ndarray], float]
    values: dict[tuple[str, float], Values] = field(default_factory=dict)
    without_real: frozenset[str] = frozenset()

    def overall(self, values: Values) -> float:
        return self.score(values, np.arange(len(self.groups)))

    def difference(self, values: Values, reference: Values, resamples: int = 1000) -> tuple[float, float]:
        """95 % interval of a difference in score, from resampled groups and seeds; paired by both."""
        rng = np.random.default_rng(0)
        members = [np.flatnonzero(self.groups == group) for group in np.unique(self.groups)]
        drawn = []
        for _ in range(resamples):
            chosen = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
            seeds = rng.integers(len(values), size=len(values))
            drawn.append(self.score(values[seeds], chosen) - self.score(reference[seeds], chosen))
        low, high = np.percentile(drawn, [2.5, 97.5])
        return float(low), float(high)

    def table(self) -> str:
        """Markdown table with a row for every share and arm."""
        rows = []
        for (arm, share), found in sorted(
            self.values.items(), key=lambda item: (item[0][1], self.arms.index(item[0][0]))
        ):
            low, high = self.difference(found, self.values[REFERENCE, share])
            interval = "" if arm == REFERENCE else f"{low:+.3f} to {high:+.3f}"
            seen = "none" if arm in self.without_real else f"{share:.0%}"
            rows.append([seen, arm, f"{self.overall(found):.3f}", interval])
        return table(["share of real data", "trained with", self.title, f"difference from {REFERENCE}"], rows)

    def draw(self, axis: Axes) -> None:
        """Draw a line for every arm and a dot for each seed."""
        for arm in self.arms:
            shares = sorted(share for name, share in self.values if name == arm)
            means = [self.overall(self.values[arm, share]) for share in shares]
            if arm in self.without_real:
                axis.axhline(means[0], color=COLOURS[arm], linestyle="--", label=f"{arm} alone")
                continue
            axis.plot(shares, means, "-", color=COLOURS[arm], label=arm)
            for share in shares:
                each = [self.overall(one[None]) for one in self.values[arm, share]]
                axis.plot([share] * len(each), each, ".", color=COLOURS[arm])
        axis.set(xscale="log", xlabel="share of the real training data", ylabel=self.title)
        axis.set_xticks(sorted({share for _, share in self.values}))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axis.minorticks_off()
        axis.legend(fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)


def share_of(kinds: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Indices of a random share of each kind in `kinds` `(N,)`, at least one of each."""
    rng = np.random.default_rng(seed)
    chosen = []
    for kind in np.unique(kinds):
        members = rng.permutation(np.flatnonzero(kinds == kind))
        chosen.append(members[: max(1, round(share * len(members)))])
    return np.concatenate(chosen)


def turned(batch: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """`(..., H, W)`, flipped and rotated by multiples of 90 degrees at random; H equals W."""
    batch = batch.flip(-1) if rng.random() < 0.5 else batch
    return torch.rot90(batch, int(rng.integers(4)), (-2, -1))
