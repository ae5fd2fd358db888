"""Machine-readable output of the report: JSON without NaN, and tables with units in their column names."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .clips import ClipSet

LENGTHS = {"perimeter", "x", "y", "localisation_noise", "length", "total_length", "base_y", "base_x", "tip_y", "tip_x"}


def with_units(tables: Sequence[pd.DataFrame], sides: Sequence[ClipSet]) -> pd.DataFrame:
    """Both sides in one table, with units in the column names; micrometres and minutes are added where known."""
    out = []
    for table, clips, name in zip(tables, sides, ("real", "synthetic"), strict=True):
        clip = table["clip"].to_numpy(int)
        scales = [None if each is None else each[clip] for each in (clips.pixel_sizes, clips.intervals)]
        table = in_units(table, *scales)
        table.insert(0, "side", name)
        table.insert(1, "video", [clips.names[i] for i in clip])
        out.append(table)
    return pd.concat(out, ignore_index=True)


def in_units(
    table: pd.DataFrame, pixel_sizes: np.ndarray | float | None, intervals: np.ndarray | float | None
) -> pd.DataFrame:
    """Put units into column names: px and, where scales are known, also columns in µm and minutes, and speeds in both.

    `pixel_sizes` (µm) and `intervals` (min) are one value for all rows or one per row, NaN where unknown.
    """
    table = table[[c for c in table if "_um" not in c]].copy()
    powers = {column: power for column in table if (power := _length_power(column))}
    sizes = pixel_sizes if pixel_sizes is not None and np.isfinite(pixel_sizes).any() else None
    times = intervals if intervals is not None and np.isfinite(intervals).any() else None
    if sizes is not None:
        for column, power in powers.items():
            table[f"{column}_um{'2' if power == 2 else ''}"] = table[column] * sizes**power
        if times is not None and "displacement_1" in table:
            table["speed_um_per_min"] = table["displacement_1"] * sizes / times
    table = table.rename(columns={c: f"{c}_px{'2' if power == 2 else ''}" for c, power in powers.items()})
    if "frame" in table and times is not None:
        table["time_min"] = table["frame"] * times
    return table


def _length_power(column: str) -> int:
    """Power of length in a column's unit: 0 for none, 1 for px, 2 for px²."""
    if column == "area":
        return 2
    return int(column in LENGTHS or column.startswith("displacement"))


def plain(value: Any) -> Any:
    """Convert to plain Python values; NaN and infinity, which JSON cannot hold, become None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
