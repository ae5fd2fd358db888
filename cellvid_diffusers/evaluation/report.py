"""One self-contained page that a biologist can read, and the same figures in machine-readable files.

`report.html` needs no network and follows the reader's light or dark preference; `report.json` holds the
verdicts and `details.json` everything behind them; `cells.csv`, `neurites.csv` and `tracks.csv` hold every cell,
neurite and track, with units in their column names.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from . import page_sections
from .clips import ClipSet
from .export import plain, with_units
from .measurements import Measurements
from .memorisation import Match

TEMPLATE = Path(__file__).with_name("report_template.html")


def write_report(
    out: Path,
    details: dict[str, Any],
    sides: tuple[ClipSet, ClipSet],
    memory: list[np.ndarray] | None,
    *,
    omit_real_frames: bool = False,
) -> dict[str, Any]:
    """Write all files of the report into `out` and return the content of `report.json`."""
    out.mkdir(parents=True, exist_ok=True)
    tables, pairs = details["tables"], details["pairs"]
    details = {name: found for name, found in details.items() if name not in ("tables", "pairs")}
    report = plain(
        {
            "distances": {
                k: {key: d[key] for key in ("value", "floor", "ratio", "interval")}
                for k, d in details["distances"].items()
            },
            "verdicts": {k: d["verdict"] for k, d in details["distances"].items()}
            | {k: row["verdict"] for k, row in details["measures"].items()},
            "memorisation": {k: details["memorisation"][k] for k in ("copy_share", "copy_share_real")},
            "events": details["events"],
            "mix": details["mix"],
            "controls": details["controls"]
            | {
                "copied training set": {
                    "memorisation": {"copy_share": details["memorisation"]["control"], "meant": True}
                }
            },
        }
    )
    for name, content in (("report.json", report), ("details.json", details)):
        (out / name).write_text(json.dumps(plain(content), indent=1, allow_nan=False), encoding="utf-8")
    for name in ("cells", "neurites", "tracks"):
        with_units([getattr(t, name) for t in tables], sides).to_csv(out / f"{name}.csv", index=False)
    _, num_frames, height, width = sides[0].frames.shape
    page = TEMPLATE.read_text(encoding="utf-8")
    body = "\n".join(_sections(details, tables, sides, memory, pairs, omit_real_frames))
    values = {"num_frames": num_frames, "aspect": f"{width} / {height}", "body": body}
    for key, value in values.items():
        page = page.replace("{{" + key + "}}", str(value))
    (out / "report.html").write_text(page, encoding="utf-8")
    return report


def _sections(
    details: dict[str, Any],
    tables: list[Measurements],
    sides: tuple[ClipSet, ClipSet],
    memory: list[np.ndarray] | None,
    pairs: list[tuple[int, Match]],
    omit_real_frames: bool,
) -> list[str]:
    return [
        page_sections.head(details),
        page_sections.players(sides, omit_real_frames),
        page_sections.distances(details),
        page_sections.verdicts(details),
        page_sections.table2(details),
        page_sections.shapes(tables),
        page_sections.neurites(details, tables),
        page_sections.events(details),
        page_sections.memorisation(details, sides, memory, pairs, omit_real_frames),
        page_sections.giveaways(details),
        page_sections.flow(details),
        page_sections.distrust(details),
        page_sections.methods(details),
    ]
