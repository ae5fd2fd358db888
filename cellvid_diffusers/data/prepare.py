"""`prepare`: recordings become a patch data set.

Work is cut into units, one window of time of one recording each. A unit's rows depend on nothing but its recording and
the options, and are kept as one file in a work folder beside `out` until all are there; so units may be done in any
order, by several workers, or again after an interruption, and the data set has the same bytes.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datasets import Features
from tqdm import tqdm

from .dataset import (
    ROWS_PER_GROUP,
    SPLITS,
    atomic_folder,
    card_header,
    encode_row,
    patch_features,
    write_shards,
)
from .patches import (
    background_contrast,
    equalize_flicker,
    flicker_reference,
    patch_grid,
    reject_reason,
    window_starts,
)
from .readers import Recording, read_recording
from .sidecar import RecordingEntry, name_entries, read_sidecar

FLOWS = ("pyramid", "paper", "dis", "none")
PIXELS_PER_FLOW_CALL = 4_000_000


@dataclass(frozen=True)
class PrepareOptions:
    """What shapes the rows; see `prepare`."""

    patch_size: int = 128
    num_frames: int = 10
    overlap: float = 0.25
    frame_stride: int = 1
    flow: str = "pyramid"
    downscale: int = 1
    equalize: bool = True
    reject: bool = True

    def __post_init__(self):
        if self.patch_size < 8:
            raise ValueError(f"patch_size must be at least 8, got {self.patch_size}")
        if self.num_frames < 2:
            raise ValueError(f"num_frames must be at least 2, got {self.num_frames}")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must lie in [0, 1), got {self.overlap}")
        if self.frame_stride < 1:
            raise ValueError(f"frame_stride must be at least 1, got {self.frame_stride}")
        if self.flow not in FLOWS:
            raise ValueError(f"flow must be one of {', '.join(FLOWS)}, got {self.flow}")


@dataclass
class PrepareReport:
    """What `prepare` did.

    Attributes
    ----------
    out : Path
    rows : dict of split to number of rows
    candidates : int
        Patches cut, before rejection.
    rejected : Counter of reason to number of patches
    errors : list of str
        One line for each recording that could not be prepared.
    """

    out: Path
    rows: dict[str, int] = field(default_factory=dict)
    candidates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)


def video_flow(frames: np.ndarray, method: str) -> np.ndarray:
    """Flow `(F-1, H, W, 2)` float16 of uint8 frames `(F, H, W)` by `method`, a few frames at a time."""
    from ..flow import dis_flow, horn_schunck

    count = max(1, PIXELS_PER_FLOW_CALL // frames[0].size)
    pieces = []
    for start in range(0, len(frames) - 1, count):
        piece = frames[start : start + count + 1]
        if method == "dis":
            flow = np.asarray(dis_flow(piece))
        else:
            flow = horn_schunck(torch.from_numpy(piece), mode=method).permute(1, 2, 3, 0).numpy()
        pieces.append(flow.astype(np.float16))
    return np.concatenate(pieces)


@dataclass(frozen=True)
class _Plan:
    """A recording ready to be cut: its entry, and what is measured once over all of it."""

    entry: RecordingEntry
    path: Path
    stride: int
    num_frames: int
    starts: tuple[int, ...]
    reference: tuple[float, float] | None
    background: float
    pixel_size_um: float | None
    frame_interval_min: float | None


def _open(entry: RecordingEntry, path: Path, downscale: int) -> Recording:
    return read_recording(path, channel=entry.channel, z=entry.z, region=entry.region, downscale=downscale)


def _plan(entry: RecordingEntry, root: Path, options: PrepareOptions) -> _Plan:
    """Open a recording, check that it can be cut, and measure its level, contrast and background."""
    path = (root / entry.file).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ValueError(f"{entry.file}: file must lie inside the data root")
    recording = _open(entry, path, options.downscale)
    stride = entry.stride or options.frame_stride
    num_frames = entry.num_frames or options.num_frames
    length, height, width = recording.frames.shape
    if min(height, width) < options.patch_size:
        raise ValueError(
            f"{entry.file}: frames must be at least {options.patch_size} px, got {height}x{width}"
        )
    try:
        starts = window_starts(length, num_frames, stride)
    except ValueError as error:
        raise ValueError(f"{entry.file}: {error}") from None
    sample = recording.read(recording.sample_indices(32))
    reference = flicker_reference(sample) if options.equalize else None
    if reference is not None:
        sample = equalize_flicker(sample, reference=reference)
    pixel_size = entry.pixel_size_um and entry.pixel_size_um * options.downscale
    interval = entry.frame_interval_min or recording.frame_interval_min
    return _Plan(
        entry=entry,
        path=path,
        stride=stride,
        num_frames=num_frames,
        starts=tuple(starts),
        reference=reference,
        background=background_contrast(sample),
        pixel_size_um=pixel_size or recording.pixel_size_um,
        frame_interval_min=interval and interval * stride,
    )


def _prepare_window(
    plan: _Plan, t0: int, options: PrepareOptions, features: Features
) -> tuple[pa.Table, dict[str, Any]]:
    """Rows of the window that starts at frame `t0`, and its counts."""
    recording = _open(plan.entry, plan.path, options.downscale)
    # One frame more than stored gives the last stored frame its flow, where the recording goes on.
    indices = [t for t in t0 + plan.stride * np.arange(plan.num_frames + 1) if t < len(recording.frames)]
    frames = recording.read(indices)
    if plan.reference is not None:
        frames = equalize_flicker(frames, reference=plan.reference)
    flow = None
    if options.flow != "none":
        flow = video_flow(frames, options.flow)
        flow = np.concatenate([flow, flow[-1:]])[: plan.num_frames]
    frames = frames[: plan.num_frames]
    rows, hashes, rejected, size = [], [], Counter(), options.patch_size
    grid = patch_grid(*frames.shape[1:], size, options.overlap)
    known = {key: getattr(plan.entry, key) for key in ("culture", "cell_type", "density", "maturity", "day")}
    for y, x in grid:
        patch = frames[:, y : y + size, x : x + size]
        reason = reject_reason(patch, plan.background) if options.reject else None
        if reason:
            rejected[reason] += 1
            continue
        hashes.append(hashlib.sha256(patch.tobytes()).hexdigest())
        row = encode_row(
            features,
            frames=patch,
            flow=None if flow is None else flow[:, y : y + size, x : x + size],
            x=x,
            y=y,
            t0=t0,
            frame_stride=plan.stride,
            recording=plan.entry.name,
            pixel_size_um=plan.pixel_size_um,
            frame_interval_min=plan.frame_interval_min,
            **known,
        )
        rows.append(row)
    table = pa.Table.from_pylist(rows, schema=features.arrow_schema)
    return table, {"candidates": len(grid), "rejected": dict(rejected), "hashes": hashes}


@dataclass(frozen=True)
class _Unit:
    """One window of one recording and the file its rows go to."""

    plan: _Plan
    t0: int
    part: Path


def _run_unit(unit: _Unit, options: PrepareOptions, features: Features) -> None:
    """Write a unit's rows and counts; the file appears only when it is whole."""
    table, counts = _prepare_window(unit.plan, unit.t0, options, features)
    table = table.replace_schema_metadata(
        {**(table.schema.metadata or {}), b"counts": json.dumps(counts).encode()}
    )
    temporary = unit.part.with_suffix(".tmp")
    pq.write_table(table, temporary, row_group_size=ROWS_PER_GROUP)
    temporary.replace(unit.part)


def _accepted_rows(
    units: Sequence[_Unit], report: PrepareReport, seen: set[str], schema: pa.Schema
) -> Iterator[pa.Table]:
    """Tables of the units in order, without patches whose pixels an earlier one had; counts go to the report."""
    for unit in units:
        table = pq.read_table(unit.part)
        counts = json.loads(table.schema.metadata[b"counts"])
        report.candidates += counts["candidates"]
        report.rejected.update(counts["rejected"])
        fresh = [h not in seen for h in counts["hashes"]]
        seen.update(counts["hashes"])
        report.rejected.update({"duplicated": fresh.count(False)} if False in fresh else {})
        yield table.filter(pa.array(fresh, pa.bool_())).replace_schema_metadata(schema.metadata)


def prepare(
    recordings: Sequence[str | Path],
    out: str | Path,
    *,
    patch_size: int = 128,
    num_frames: int = 10,
    overlap: float = 0.25,
    frame_stride: int = 1,
    flow: str = "pyramid",
    downscale: int = 1,
    sidecar: str | Path | None = None,
    root: str | Path | None = None,
    validation: Sequence[str] = (),
    equalize: bool = True,
    reject: bool = True,
    progress: bool = True,
) -> PrepareReport:
    """Cut recordings into patches with their flow and write them as a data set folder.

    Parameters
    ----------
    recordings : list of paths
        Empty: all that the sidecar lists.
    out : path
        Folder to make; it appears when the data set is whole.
    patch_size : int
        Side of the square patches in pixels, after `downscale`.
    num_frames : int
        Frames of a row. Training draws shorter windows from it, so longer rows give more clips.
    overlap : float
        Share of a patch that the next one repeats, in [0, 1).
    frame_stride : int
        Take every `frame_stride`-th frame; flow is per taken frame.
    flow : "pyramid", "paper", "dis" or "none"
    downscale : int
        Each `downscale` x `downscale` square of pixels becomes its mean.
    sidecar : path, optional
        See `read_sidecar`. Recordings it does not list are unknown cells for training.
    root : path, optional
        Folder the sidecar's files are relative to; by default the sidecar's.
    validation : list of str
        Names of recordings for the validation split, beside those the sidecar puts there.
    equalize : bool
        Take out flicker with `equalize_flicker`.
    reject : bool
        Leave out empty, saturated and frozen patches.
    progress : bool
        Show a progress bar.

    Returns
    -------
    PrepareReport
        Recordings that cannot be prepared are named in `errors`; the others are prepared.

    Raises
    ------
    ValueError
        If an option is out of range, `out` holds something, or no recording at all can be prepared.
    """
    options = PrepareOptions(patch_size, num_frames, overlap, frame_stride, flow, downscale, equalize, reject)
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"out must be a new or empty folder, got {out}")
    report = PrepareReport(out)
    plans = []
    for entry, folder in _entries(recordings, sidecar, root, validation):
        try:
            plans.append(_plan(entry, folder, options))
        except ValueError as error:
            report.errors.append(str(error))
    if not plans:
        raise ValueError("no recording could be prepared: " + "; ".join(report.errors))
    features = patch_features(sorted({p.entry.cell_type for p in plans if p.entry.cell_type}))
    work = out.with_name(f".{out.name}.parts-{_fingerprint(plans, options)}")
    work.mkdir(parents=True, exist_ok=True)
    units = [_Unit(p, t, work / f"{i:04d}-{t:07d}.parquet") for i, p in enumerate(plans) for t in p.starts]
    waiting = [unit for unit in units if not unit.part.exists()]
    with tqdm(
        total=len(units), initial=len(units) - len(waiting), unit="window", disable=not progress
    ) as bar:
        for unit in waiting:
            bar.set_description(unit.plan.entry.name)
            _run_unit(unit, options, features)
            bar.update()
    _assemble(units, report, features)
    shutil.rmtree(work)
    return report


def _entries(recordings, sidecar, root, validation) -> list[tuple[RecordingEntry, Path]]:
    """Sidecar entries of the recordings asked for, each with the folder its file is relative to."""
    listed = read_sidecar(sidecar) if sidecar else []
    folder = Path(root) if root else Path(sidecar).parent if sidecar else Path()
    if not recordings:
        found = [(entry, folder) for entry in listed]
    else:
        found = []
        for path in map(Path, recordings):
            own = [e for e in listed if (folder / e.file).resolve() == path.resolve()]
            found += [(e, folder) for e in own] or [(RecordingEntry(path.name), path.parent)]
        named = name_entries([entry for entry, _ in found])
        found = [(entry, place) for entry, (_, place) in zip(named, found, strict=True)]
    if not found:
        raise ValueError("recordings must be given, by path or in a sidecar, got none")
    unknown = sorted(set(validation) - {entry.name for entry, _ in found})
    if unknown:
        raise ValueError(
            f"validation must name recordings among {sorted(e.name for e, _ in found)}, got {unknown[0]}"
        )
    return [(replace(e, split="validation") if e.name in validation else e, place) for e, place in found]


def _fingerprint(plans: Sequence[_Plan], options: PrepareOptions) -> str:
    """Names the work folder, so that only parts of the same files under the same options are taken up again."""
    state = [asdict(options)]
    for plan in plans:
        stat = plan.path.stat()
        state.append(
            {**asdict(plan), "path": str(plan.path), "size": stat.st_size, "modified": stat.st_mtime_ns}
        )
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:12]


def _assemble(units: Sequence[_Unit], report: PrepareReport, features: Features) -> None:
    """Put the parts together as the data set folder."""
    schema, seen = features.arrow_schema, set()
    with atomic_folder(report.out) as folder:
        for split in SPLITS:
            chosen = [unit for unit in units if unit.plan.entry.split == split]
            report.rows[split] = write_shards(
                _accepted_rows(chosen, report, seen, schema), folder, split, schema
            )
        if not sum(report.rows.values()):
            raise ValueError(f"no patch was worth keeping, rejected: {dict(report.rejected)}")
        (folder / "README.md").write_text(card_header(report.rows) + _card(report), encoding="utf-8")


def _card(report: PrepareReport) -> str:
    """Text of the data set's README."""
    lines = ["# Neural cell patches with optical flow", "", "| split | patches |", "|---|---|"]
    lines += [f"| {split} | {rows} |" for split, rows in report.rows.items() if rows]
    lines += [
        "",
        f"{report.candidates} patches cut; left out: {dict(sorted(report.rejected.items())) or 'none'}.",
        "",
    ]
    return "\n".join(lines)
