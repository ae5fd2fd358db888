"""The measures that the report compares, with names and units, and the tables made from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from .comparisons import compare_directions, compare_lengths, compare_measure
from .events import EVENTS, compare_events
from .measurements import Measurements
from .neurites import of_known_direction, of_known_length
from .strata import Side
from .verdicts import decide


@dataclass(frozen=True)
class Measure:
    """A column to compare: table (`cells`, `neurites`, `tracks`, `clips`), kind of cell or None, column, unit."""

    table: str
    kind: str | None
    column: str
    unit: str


MEASURES = {
    "cell area": Measure("cells", "living", "area", "px²"),
    "cell perimeter": Measure("cells", "living", "perimeter", "px"),
    "cell eccentricity": Measure("cells", "living", "eccentricity", ""),
    "dead cell area": Measure("cells", "dead", "area", "px²"),
    "dead cell perimeter": Measure("cells", "dead", "perimeter", "px"),
    "cells in a frame": Measure("clips", None, "cells", ""),
    "dead cells in a frame": Measure("clips", None, "dead_cells", ""),
    "neurites in a clip": Measure("clips", None, "neurites", ""),
    "neurites along the pixel grid": Measure("neurites", None, "cardinal", "−1 to 1"),
    "cell displacement in a frame": Measure("tracks", "living", "displacement_1", "px"),
    "cell displacement in four frames": Measure("tracks", "living", "displacement_4", "px"),
    "dead cell displacement in a frame": Measure("tracks", "dead", "displacement_1", "px"),
    "speed of the texture": Measure("clips", None, "speed", "px/frame"),
    "displacement over the clip": Measure("clips", None, "net_displacement", "px"),
    "change not explained by motion": Measure("clips", None, "warp_error", "grey levels"),
} | {f"{event} per cell and frame": Measure("clips", None, event, "") for event in EVENTS}


def clip_table(tables: Measurements, motion: pd.DataFrame, num_frames: int) -> pd.DataFrame:
    """One row per clip: motion, cells per frame, neurites in the clip, and events per cell and frame."""
    out = motion.set_index("clip").copy()
    for kind, column in (("living", "cells"), ("dead", "dead_cells")):
        count = tables.cells[tables.cells["kind"] == kind].groupby("clip").size()
        out[column] = count.reindex(out.index, fill_value=0) / num_frames
    out["neurites"] = tables.neurites.groupby("clip").size().reindex(out.index, fill_value=0)
    events = tables.events.set_index("clip").reindex(out.index)
    exposure = events["cell_frames"].where(events["cell_frames"] > 0)
    for event in EVENTS:
        out[event] = events[event] / exposure
    return out.reset_index()


def compare_all(
    tables: Sequence[Measurements],
    motion: Sequence[pd.DataFrame],
    sides: tuple[Side, Side],
    splits: Sequence,
    *,
    num_frames: int,
    seed: int = 0,
) -> dict:
    """Compare all measures of both sides and give each a verdict.

    Parameters
    ----------
    tables : (real, synth) Measurements
    motion : (real, synth) DataFrames
        One row per clip, from `motion_measures`.

    Returns
    -------
    dict
        ``measures``: name -> row with ``verdict`` and ``unit``; ``directions`` and ``lengths`` (also among
        the measures); ``events``: see `compare_events`.
    """
    clips = [clip_table(t, m, num_frames) for t, m in zip(tables, motion, strict=True)]
    rows: dict[str, dict] = {}
    for name, measure in MEASURES.items():
        pair = [
            c if measure.table == "clips" else getattr(t, measure.table) for c, t in zip(clips, tables, strict=True)
        ]
        if measure.column == "cardinal":
            pair = [t.assign(cardinal=np.cos(4 * t["direction"].astype(float))) for t in pair]
        if any(measure.column not in t for t in pair):
            continue
        if measure.kind is not None:
            pair = [t[t["kind"] == measure.kind] for t in pair]
        row = compare_measure(pair[0], pair[1], measure.column, sides, splits, seed=seed)
        if row is not None:
            rows[name] = row | {"unit": measure.unit}
    real, synth = (t.neurites for t in tables)
    directions = compare_directions(of_known_direction(real), of_known_direction(synth), sides, seed=seed)
    measured = of_known_length(real), of_known_length(synth)
    lengths = compare_lengths(*measured, sides, seed=seed)
    if lengths is not None:
        rows["neurite length"] = length_row(*measured, lengths, sides, splits, seed=seed) | {"unit": "px"}
    if directions is not None:
        rows["neurite direction"] = directions | {"unit": "rad"}
    rates = compare_events(tables[0].events, tables[1].events, sides, seed=seed)
    for event, rate in rates.items():
        if f"{event} per cell and frame" in rows:
            rows[f"{event} per cell and frame"]["rate_interval"] = rate["interval"]
    decide(rows)
    return {"measures": rows, "directions": directions, "lengths": lengths, "events": rates}


def length_row(
    real: pd.DataFrame, synth: pd.DataFrame, lengths: dict, sides: tuple[Side, Side], splits: Sequence, *, seed: int = 0
) -> dict:
    """Make the row of neurite lengths: `lengths` from `compare_lengths` and the comparison of visible lengths.

    It has no `p_equivalence`, so its verdict is never `equivalent`: neurites that leave the frame are cut off on
    both sides, which makes visible lengths more similar than the neurites are.
    """
    seen = compare_measure(real, synth, "length", sides, splits, seed=seed) or {}
    return {name: value for name, value in seen.items() if name != "p_equivalence"} | lengths


def paper_table2(cells: Sequence[pd.DataFrame], neurites: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The paper's Table 2: p of a two-sample t-test over cells, for living and dead ones.

    Given for comparison with the paper, not as evidence: cells of one video resemble each other, and a large p does
    not show sameness.

    Parameters
    ----------
    cells, neurites : (real, synth) DataFrames
        `cells` with `kind` ("living" or "dead"), `area`, `perimeter`; `neurites` with `length`.

    Returns
    -------
    DataFrame
        Rows area, perimeter and length; columns neuron and dead cell; NaN where there are fewer than two
        cells.
    """

    def p(sides: Sequence[pd.DataFrame], column: str) -> float:
        values = [t[column].dropna().to_numpy(float) for t in sides]
        return float(stats.ttest_ind(*values).pvalue) if min(map(len, values)) > 1 else np.nan

    kinds = {"neuron": "living", "dead cell": "dead"}
    rows = {m: {k: p([t[t["kind"] == v] for t in cells], m) for k, v in kinds.items()} for m in ("area", "perimeter")}
    rows["length"] = {"neuron": p(neurites, "length"), "dead cell": np.nan}
    return pd.DataFrame(rows).T
