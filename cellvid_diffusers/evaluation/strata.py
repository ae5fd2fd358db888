"""Units and strata of the clips that are compared, and the rows of a table that belong to them."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from .statistics.permutation import shared_strata


@dataclass(frozen=True)
class Side:
    """Outermost unit (recording or block) and stratum of each clip of one side, both `(N,)`.

    Sides are compared within the strata (cell types) that both have; rows of others are left out (`within_strata`).
    """

    units: np.ndarray
    strata: np.ndarray


@dataclass(frozen=True)
class Rows:
    """Rows of one side's table with column `clip`, and the unit and stratum `(N,)` of each."""

    table: pd.DataFrame
    units: np.ndarray
    strata: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame, side: Side) -> "Rows":
        """Take all rows of a table."""
        clip = table["clip"].to_numpy()
        return cls(table, side.units[clip], side.strata[clip])

    def keep(self, chosen: np.ndarray) -> "Rows":
        """Keep the rows where `chosen` (N,) is true."""
        return Rows(self.table[chosen], self.units[chosen], self.strata[chosen])


def within_strata(real: Rows, synth: Rows) -> tuple[Rows, Rows, list[str]]:
    """Keep the rows of strata in which both sides have at least two units; also return the names of the shared strata
    that are left out because a side has a single unit in them. If no stratum is left, keep all rows as one stratum."""
    shared = shared_strata((real.units, synth.units), (real.strata, synth.strata))
    if len(shared) == 0:
        one = [replace(rows, strata=np.zeros(len(rows.table))) for rows in (real, synth)]
        return one[0], one[1], []
    left_out = sorted({*map(str, real.strata)} & {*map(str, synth.strata)} - {*map(str, shared)})
    return real.keep(np.isin(real.strata, shared)), synth.keep(np.isin(synth.strata, shared)), left_out
