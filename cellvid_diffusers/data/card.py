"""The data card: a description of a prepared data set in words, figures and pictures, written along with it."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ..flow import flow_to_rgb
from ..io import contact_sheet, write_gif
from .dataset import SPLITS, card_header, decode_flow, decode_frames
from .scales import Scales
from .windows import PrepareOptions

SHOWN = 6
MEASURED = 64


@dataclass
class PrepareReport:
    """What `prepare` did.

    Attributes
    ----------
    out : Path
    options : PrepareOptions
    rows : dict of split to number of rows
    patches : Counter of (recording, split) to number of rows
    candidates : int
        Number of patches cut, before rejection.
    rejected : Counter of reason to number of patches
    errors : list of str
        One line for each recording, or window of a recording, that could not be prepared.
    notes : list of str
        Disagreements between sidecar and file, recordings that the sidecar does not list, and cultures that are in
        several splits.
    """

    out: Path
    options: PrepareOptions = field(default_factory=PrepareOptions)
    rows: dict[str, int] = field(default_factory=dict)
    patches: Counter[tuple[str, str]] = field(default_factory=Counter)
    candidates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def write_card(folder: Path, report: PrepareReport) -> None:
    """Write README.md, statistics.json, preview.png, preview.gif and histograms.png into a data set's folder."""
    clips = list(_sample(folder, MEASURED))
    scales = Scales.estimate(clips)
    statistics = {"rows": report.rows, "scales": asdict(scales) if clips[0][1] is not None else _video_only(scales)}
    (folder / "statistics.json").write_text(json.dumps(statistics, indent=2) + "\n", encoding="utf-8")
    shown = clips[:: max(1, len(clips) // SHOWN)][:SHOWN]
    length = min(len(video) for video, _ in shown)
    flows = [flow[:length].astype(np.float32) for _, flow in shown if flow is not None] or None
    contact_sheet([video[:length] for video, _ in shown], flows, path=folder / "preview.png")
    write_gif(folder / "preview.gif", _animation(shown[0]))
    _histograms(clips, folder / "histograms.png")
    text = "\n".join(_lines(report, statistics["scales"]))
    (folder / "README.md").write_text(card_header(report.rows) + text, encoding="utf-8")


def _video_only(scales: Scales) -> dict[str, float]:
    return {"video_mean": scales.video_mean, "video_std": scales.video_std}


def _sample(folder: Path, count: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """About `count` evenly spaced rows of the first split that has any, as (frames, flow)."""
    files = next(found for split in SPLITS if (found := sorted((folder / "data").glob(f"{split}-*.parquet"))))
    total = sum(pq.read_metadata(file).num_rows for file in files)
    step, number = max(1, total // count), 0
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(8, columns=["frames", "flow", "flow_shape"]):
            for row in range(len(batch)):
                if number % step == 0:
                    item = batch.slice(row, 1).to_pylist()[0]
                    yield decode_frames(item["frames"]), decode_flow(item)
                number += 1


def _animation(clip: tuple[np.ndarray, np.ndarray | None]) -> np.ndarray:
    """The clip, with its colour-coded motion to the right."""
    video, flow = clip
    if flow is None:
        return video
    colours = flow_to_rgb(flow.astype(np.float32))
    grey = np.repeat(video[..., None], 3, axis=-1)
    return np.concatenate((grey, colours), axis=2)


def _histograms(clips: list[tuple[np.ndarray, np.ndarray | None]], path: Path) -> None:
    """Plot histograms of intensity and speed over a sample of the rows."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.hist(np.concatenate([video.ravel()[::7] for video, _ in clips]), bins=64, range=(0, 256), color="0.4")
    left.set(xlabel="intensity (grey level)", ylabel="pixels", yscale="log")
    speeds = [
        np.linalg.norm(flow.reshape(-1, 2)[::7].astype(np.float32), axis=-1) for _, flow in clips if flow is not None
    ]
    if speeds:
        right.hist(np.concatenate(speeds), bins=64, color="0.4")
    right.set(xlabel="speed (px/frame)", ylabel="pixels", yscale="log" if speeds else "linear")
    figure.savefig(path, dpi=100, metadata={"Software": None})


def _lines(report: PrepareReport, scales: Mapping[str, float]) -> list[str]:
    """Lines of the card's text."""
    lines = ["# Neural cell patches with optical flow", "", "![Patches and their motion](preview.png)", ""]
    lines += ["Made by `cellvid prepare` of cellvid-diffusers. A row is a patch over a window of time:", ""]
    lines += [
        "- `frames`: 8-bit grey PNGs;",
        "- `flow`: float16 bytes of shape `flow_shape` (frames, height, width, 2): u to the right, v down, in pixels",
        "  per stored frame; frame k's flow leads to frame k + 1;",
        "- `x`, `y`, `t0`, `frame_stride`: where the patch lies in its `recording`, after reduction (in the sidecar's",
        "  `region` of it, if there is one);",
        "- `culture`, `cell_type`, `density`, `maturity`, `day`, `pixel_size_um`, `frame_interval_min` (per stored",
        "  frame): null where unknown.",
        "",
        "Splits are by recording, or by regions of one that do not overlap, never by patch.",
        "",
        "| recording | split | patches |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {split} | {count} |" for (name, split), count in report.patches.items()]
    lines += ["", f"{report.candidates} patches were cut. Left out:", "", "| reason | patches |", "|---|---|"]
    lines += [f"| {reason} | {count} |" for reason, count in sorted(report.rejected.items())] or ["| none | 0 |"]
    lines += ["", "| option | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in asdict(report.options).items()]
    lines += ["", "| scale | value |", "|---|---|"]
    lines += [f"| {name} | {value:.4g} |" for name, value in scales.items()]
    lines += ["", "![Intensity and speed](histograms.png)", "", "![A patch and its motion](preview.gif)", ""]
    for title, messages in (("Sidecar and files", report.notes), ("Not prepared", report.errors)):
        if messages:
            lines += [f"## {title}", "", *(f"- {message}" for message in messages), ""]
    return lines
