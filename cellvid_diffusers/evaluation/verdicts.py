"""Verdicts on measures: equivalent, different or inconclusive.

A large p never counts as sameness, and a difference that real recordings show among themselves never as one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .statistics import benjamini_hochberg, holm
from .statistics.equivalence import MARGIN

LEVEL = 0.05
RATE_MARGIN = 2.0
"""Factor by which the event rates of the two sides may differ and still count as equal."""


@dataclass(frozen=True)
class Evidence:
    """What is known of the difference between real and synthetic values of one measure.

    Attributes
    ----------
    p : float or None
        Of the permutation test of whole units; None if there are too few units.
    least_p : float
        Smallest p that so many units can give.
    effect, interval : float, (float, float)
        Difference in standard deviations of the real values.
    beyond_floor : float
        Share of the splits in which synthetic values are further from real ones than the real halves from each other.
    p_equivalence : float
        Of two one-sided tests.
    rate_interval : (float, float) or None
        Of the ratio of event rates, for a measure that `is_rate`; None where neither side has an event.
    left_out : sequence of str
        Strata that could not be compared.
    """

    p: float | None
    least_p: float = 0.0
    effect: float = 0.0
    interval: tuple[float, float] = (-np.inf, np.inf)
    beyond_floor: float = 1.0
    p_equivalence: float = 1.0
    is_rate: bool = False
    rate_interval: tuple[float, float] | None = None
    left_out: Sequence[str] = ()

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Evidence":
        """Take what a row of `compare_measure`, `compare_directions` or `compare_lengths` has of it."""
        known = {field.name: row[field.name] for field in fields(cls) if field.name in row}
        return cls(**known | {"is_rate": "rate_interval" in row})

    def shows_sameness(self) -> bool:
        """Whether the difference is shown to be within the margin in all strata."""
        if self.left_out:
            return False
        if self.is_rate:
            low, high = self.rate_interval or (0.0, np.inf)
            return bool(low > 1 / RATE_MARGIN and high < RATE_MARGIN)
        return bool(self.p_equivalence < LEVEL and abs(self.effect) < MARGIN)

    def shows_difference(self, *, p_corrected: float | None, num_tests: int) -> bool:
        """Whether the difference is shown, among so many tests."""
        if p_corrected is None or self.least_p * num_tests >= LEVEL:
            low, high = self.interval
            return bool(max(low, -high) > MARGIN and self.beyond_floor >= 0.95)
        return bool(p_corrected < LEVEL and self.beyond_floor >= 0.8)


def decide(rows: dict[str, dict]) -> None:
    """Add `p_holm`, `q` and `verdict` to the rows of measures, in place.

    `equivalent`: two one-sided tests show that the difference is less than half a standard deviation of real cells, and
    so is the effect over all cells; for events, whose counts are nearly all zero, the interval of the rate ratio
    (`rate_interval`) lies between 1 / `RATE_MARGIN` and `RATE_MARGIN`; never where a stratum is left out.
    `different`: the permutation test of whole units is significant after Holm's correction, and synthetic cells are
    further from real ones than real halves are from each other in most splits; with too few units for a p, or for one
    that could pass the correction, only if the interval of the effect lies beyond the margin and nearly all splits
    agree.  Everything else is `inconclusive`.
    """
    tested = [name for name, row in rows.items() if row["p"] is not None]
    p = np.array([rows[name]["p"] for name in tested])
    for name, adjusted, q in zip(tested, holm(p), benjamini_hochberg(p), strict=True):
        rows[name] |= {"p_holm": float(adjusted), "q": float(q)}
    for row in rows.values():
        evidence = Evidence.of(row)
        if evidence.shows_sameness():
            row["verdict"] = "equivalent"
        elif evidence.shows_difference(p_corrected=row.get("p_holm"), num_tests=len(tested)):
            row["verdict"] = "different"
        else:
            row["verdict"] = "inconclusive"
