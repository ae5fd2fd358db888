"""`prepare`: turn recordings into a patch data set.

Work is divided into units, one window of time of one recording each. A unit's rows depend only on its recording and the
options, and are kept as one file in a work folder next to `out` until all units are done. Units may therefore run in
any order, on several workers, or again after an interruption, and the data set has the same bytes.
"""

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features
from tqdm import tqdm

from .card import PrepareReport, write_card
from .dataset import ROWS_PER_GROUP, SPLITS, atomic_folder, check_new, patch_features, write_shards
from .engines import Run, start_workers
from .sidecar import RecordingEntry, distinct_names, name_entries, read_sidecar
from .windows import Plan, PrepareOptions, cut_window, plan_recording

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "patch_size": 128,
        "num_frames": 120,
        "overlap": 0.25,
        "flow": "paper",
        "equalize": False,
        "reject": False,
    }
}
"""Named sets of options. "paper": the paper's patches of 128 x 128 x 120 at 25 % overlap, and its Horn-Schunck flow."""


@dataclass(frozen=True)
class Unit:
    """One window of one recording and the file for its rows."""

    plan: Plan
    t0: int
    part: Path


def prepare(
    recordings: Sequence[str | Path],
    out: str | Path,
    *,
    patch_size: int = 128,
    num_frames: int = 10,
    overlap: float = 0.25,
    frame_stride: int | str = 1,
    target_speed: float = 1.0,
    flow: str = "pyramid",
    stillness: float | None = None,
    downscale: int = 1,
    channel: int | None = None,
    z: int | str | None = None,
    sidecar: str | Path | None = None,
    root: str | Path | None = None,
    validation: Sequence[str] = (),
    equalize: bool = True,
    flatten: bool = False,
    register: bool = False,
    reject: bool = True,
    workers: int = 1,
    engine: str = "local",
    scheduler: str | None = None,
    progress: bool = True,
) -> PrepareReport:
    """Cut recordings into patches with their flow and write them as a data set folder.

    If interrupted or killed and called again with the same arguments, it resumes where it stopped; the data set has
    the same bytes either way.

    Parameters
    ----------
    recordings : list of paths
        If empty, all that the sidecar lists. If files share a name, their folders' names are put in front
        (`day1_video`, `day2_video`).
    out : path
        Folder to create; it appears when the data set is complete.
    patch_size : int
        Side of the square patches in pixels, after `downscale`.
    num_frames : int
        Frames per row. Training draws shorter windows from a row, so longer rows give more clips.
    overlap : float
        Share of a patch that overlaps with the next, in [0, 1).
    frame_stride : int or "auto"
        Take every `frame_stride`-th frame; flow is per taken frame. "auto" measures each recording and takes the
        smallest stride that reaches `target_speed`.
    target_speed : float
        Median speed of structured areas that "auto" aims for, in px per taken frame.
    flow : "pyramid", "paper", "dis" or "none"
    stillness : float, optional
        For "pyramid", see `horn_schunck`: how strongly blank background is held still, on 8-bit values; 2 by default.
        With it, the speed of a confluent layer that shifts as a whole by many pixels per frame is a few per cent low.
    downscale : int
        Each `downscale` x `downscale` square of pixels becomes its mean.
    channel, z : optional
        For files with several, where the sidecar specifies none; as in `read_recording`.
    sidecar : path, optional
        See `read_sidecar`. Recordings that it does not list go to the training split, with unknown cells.
    root : path, optional
        Folder that the sidecar's files are relative to, and must lie in; by default the sidecar's.
    validation : list of str
        Names of recordings for the validation split, in addition to those the sidecar puts there.
    equalize : bool
        Remove flicker with `equalize_flicker`.
    flatten : bool
        Remove uneven light with `flatten_light`.
    register : bool
        Remove drift with `follow_drift`; x and y are then relative to the area that all frames show.
    reject : bool
        Leave out empty, saturated, frozen and duplicated patches, and windows with a blank frame.
    workers, engine, scheduler
        See `start_workers`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    PrepareReport
        Recordings that cannot be prepared are listed in `errors`; the others are prepared.

    Raises
    ------
    ValueError
        If an option is out of range, `out` is not empty, or no recording can be prepared.
    """
    options = PrepareOptions(
        patch_size=patch_size,
        num_frames=num_frames,
        overlap=overlap,
        frame_stride=frame_stride,
        target_speed=target_speed,
        flow=flow,
        stillness=stillness,
        downscale=downscale,
        equalize=equalize,
        flatten=flatten,
        register=register,
        reject=reject,
    )
    out = Path(out)
    check_new(out)
    report = PrepareReport(out, options=options)
    entries = [
        (replace(e, channel=channel if e.channel is None else e.channel, z=z if e.z is None else e.z), place)
        for e, place in _entries(recordings, sidecar, root, validation, report)
    ]
    with start_workers(workers=workers, engine=engine, scheduler=scheduler) as run:
        plans = _plan_all(entries, options, report, run)
        cell_types = sorted({plan.entry.cell_type for plan in plans if plan.entry.cell_type})
        features = patch_features(cell_types, masks=any(plan.masks for plan in plans))
        work = out.absolute().with_name(f".{out.name}.parts-{_fingerprint(plans, options)}")
        work.mkdir(parents=True, exist_ok=True)
        units = [Unit(p, t, work / f"{i:04d}-{t:07d}.parquet") for i, p in enumerate(plans) for t in p.starts]
        waiting = [unit for unit in units if not unit.part.exists()]
        done = len(units) - len(waiting)
        with tqdm(unit="patch", disable=not progress) as bar:
            for _, patches in run(partial(_write_part, options=options, features=features), waiting):
                done += 1
                bar.set_description(f"window {done} of {len(units)}")
                bar.update(patches)
    try:
        _assemble(units, report, features)
    except ValueError:  # nothing worth keeping: another call would give the same
        shutil.rmtree(work)
        raise
    shutil.rmtree(work)
    for abandoned in work.parent.glob(f".{glob.escape(out.name)}.parts-*"):  # by interrupted calls with other options
        shutil.rmtree(abandoned)
    return report


def _entries(
    recordings: Sequence[str | Path],
    sidecar: str | Path | None,
    root: str | Path | None,
    validation: Sequence[str],
    report: PrepareReport,
) -> list[tuple[RecordingEntry, Path]]:
    """Sidecar entries of the requested recordings, each with the folder its file is relative to.

    Recordings that the sidecar does not list are noted in the report: its file name may be mistyped.
    """
    listed = read_sidecar(sidecar) if sidecar else []
    folder = Path(root) if root else Path(sidecar).parent if sidecar else Path()
    if not recordings:
        found = [(entry, folder) for entry in listed]
    else:
        paths = [Path(path).resolve() for path in recordings]
        place = Path(os.path.commonpath([path.parent for path in paths]))
        files = [path.relative_to(place) for path in paths]
        found = []
        for path, file, name in zip(paths, files, distinct_names(files), strict=True):
            own = [(entry, folder) for entry in listed if (folder / entry.file).resolve() == path]
            found += own or [(RecordingEntry(file.as_posix(), name), place)]
            if listed and not own:
                report.notes.append(f"{name}: not in the sidecar, so nothing is known of its cells")
        name_entries([entry for entry, _ in found])  # names from the sidecar and from files must not clash, either
    if not found:
        raise ValueError("recordings must be given, by path or in a sidecar, got none")
    unknown = sorted(set(validation) - {entry.name for entry, _ in found})
    if unknown:
        raise ValueError(f"validation must name recordings among {sorted(e.name for e, _ in found)}, got {unknown[0]}")
    found = [(replace(e, split="validation") if e.name in validation else e, place) for e, place in found]
    report.notes += _shared_cultures([entry for entry, _ in found])
    return found


def _shared_cultures(entries: Sequence[RecordingEntry]) -> list[str]:
    """Notes on cultures that are in several splits: their held-out recordings show cells trained on."""
    splits: dict[str, set[str]] = {}
    for entry in entries:
        if entry.culture:
            splits.setdefault(entry.culture, set()).add(entry.split)
    return [
        f"culture {culture} is in {' and '.join(sorted(where))}: what is held out is of cells trained on"
        for culture, where in splits.items()
        if len(where) > 1
    ]


def _plan_all(
    entries: list[tuple[RecordingEntry, Path]],
    options: PrepareOptions,
    report: PrepareReport,
    run: Run,
) -> list[Plan]:
    """Plans of the recordings that can be cut; the errors of the others go to the report."""
    planned = dict(run(partial(_plan_or_fault, options=options), entries))
    found = [planned[index] for index in range(len(entries))]
    report.errors += [fault for fault in found if isinstance(fault, str)]
    plans = [plan for plan in found if isinstance(plan, Plan)]
    report.notes += [note for plan in plans for note in plan.notes]
    if not plans:
        raise ValueError("no recording could be prepared: " + "; ".join(report.errors))
    return plans


def _plan_or_fault(item: tuple[RecordingEntry, Path], options: PrepareOptions) -> Plan | str:
    try:
        return plan_recording(*item, options)
    except ValueError as error:
        return str(error)


def _write_part(unit: Unit, options: PrepareOptions, features: Features) -> int:
    """Write a unit's rows and counts, and return the number of patches cut. The file appears only when complete.

    If a frame cannot be read, the window is left out, and the counts contain the error.
    """
    try:
        table, counts = cut_window(unit.plan, unit.t0, options, features)
    except ValueError as error:
        table = features.arrow_schema.empty_table()
        counts = {"candidates": 0, "rejected": {}, "hashes": [], "error": str(error)}
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"counts": json.dumps(counts).encode()})
    temporary = unit.part.with_suffix(".tmp")
    pq.write_table(table, temporary, row_group_size=ROWS_PER_GROUP)
    temporary.replace(unit.part)
    return counts["candidates"]


def _fingerprint(plans: Sequence[Plan], options: PrepareOptions) -> str:
    """Hash that names the work folder, so that only parts of the same files with the same options are reused."""
    state: list = [asdict(options)]
    for plan in plans:
        sources = [plan.path] if plan.masks is None else [plan.path, plan.masks]
        files = [file for path in sources for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
        stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        state.append((asdict(plan.entry), plan.stride, stats))
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:12]


def _assemble(units: Sequence[Unit], report: PrepareReport, features: Features) -> None:
    """Assemble the parts into the data set folder."""
    schema = features.arrow_schema
    seen: set[str] = set()
    with atomic_folder(report.out) as folder:
        for split in SPLITS:
            chosen = [unit for unit in units if unit.plan.entry.split == split]
            report.rows[split] = write_shards(_accepted(chosen, report, seen, schema), folder, split, schema)
        if not sum(report.rows.values()):
            reasons = "; ".join(report.errors) or f"rejected: {dict(sorted(report.rejected.items()))}"
            raise ValueError(f"no patch was worth keeping ({reasons})")
        write_card(folder, report)


def _accepted(units: Sequence[Unit], report: PrepareReport, seen: set[str], schema: pa.Schema) -> Iterator[pa.Table]:
    """Tables of the units in order, without patches identical to an earlier one; counts go to the report."""
    for unit in units:
        table = pq.read_table(unit.part)
        counts = json.loads(table.schema.metadata[b"counts"])
        report.candidates += counts["candidates"]
        report.rejected.update(counts["rejected"])
        if "error" in counts:
            report.errors.append(counts["error"])
        keep = np.ones(len(table), bool)
        if report.options.reject:
            for row, digest in enumerate(counts["hashes"]):
                keep[row] = digest not in seen
                seen.add(digest)
            if not keep.all():
                report.rejected["duplicated"] += int((~keep).sum())
        table = table.filter(pa.array(keep)).replace_schema_metadata(schema.metadata)
        report.patches[unit.plan.entry.name, unit.plan.entry.split] += len(table)
        if len(table):
            yield table
