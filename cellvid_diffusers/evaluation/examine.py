"""From two sets of clips to a report: all analyses of this package, applied to the same two sides."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from .caveats import caveats
from .classifier import classifier_test
from .clips import ClipSet, dataset_splits, load_clips, load_training_clips
from .compare import compare_all, paper_table2
from .controls import CONTROLS
from .coverage import coverage
from .distance import build_yardsticks, mark_trust, run_controls
from .features import clip_features
from .halves import Grouping, check_halves, group_clips
from .learned import learned_distances
from .measurements import Measurements, measure_clips
from .memorisation import search_copies
from .mix import thin_to_mix
from .motion import flow_agreement, motion_measures
from .report import write_report
from .strata import Side

MIN_CLIPS = 4
MEASURE_SPLITS = 200
"""Splits of the real clips, drawn at random, that each measure of cells and tracks is compared over."""
Segment = Callable[[np.ndarray], np.ndarray]


def evaluate(
    real: str | Path,
    synth: str | Path,
    out: str | Path,
    *,
    train: str | Path | None = None,
    split: str | None = None,
    crop: bool = False,
    omit_real_frames: bool = False,
    learned: bool = False,
    match_mix: bool = True,
    segment: Segment | None = None,
    max_clips: int = 100,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Evaluate how real synthetic clips are, and how certain the result is.

    Parameters
    ----------
    real, synth : path or str
        A data set (folder or name on the Hub) or a folder of TIFF stacks; `real` should be held out of
        training.
    out : path
        Folder for `report.html`, `report.json`, `details.json`, `cells.csv`, `neurites.csv` and
        `tracks.csv`.
    train : path or str, optional
        The model's training set, to search for copies. None: the `train` split of `real`, if it has other splits
        too and `split` is not `train`, else the real clips themselves.
    split : str, optional
        Split of the real data set. None: test, else validation, else train.
    crop : bool
        Crop the larger side to the frames and size of the smaller, instead of raising an error.
    omit_real_frames : bool
        Leave recorded frames, which may not be free to share, out of the page; outlines and figures stay.
    learned : bool
        Also compute FVD, KVD, FID and KID, whose networks must be cached or downloadable.
    match_mix : bool
        Leave out synthetic clips until the cell types have the shares of the real side, see `thin_to_mix`.
    segment : callable, optional
        Segments a clip of either side, instead of `segment_cells`: `(F, H, W)` uint8 to integer labels of the same
        shape, 0 for background.
    max_clips : int
        Largest number of clips per side; a random subset of this size if there are more.
    seed : int
    progress : bool
        Show a progress bar.

    Returns
    -------
    dict
        Content of `report.json`. ``distances``: appearance, spectrum and motion, each with ``value``,
        ``floor``, ``ratio`` and ``interval``; ``verdicts``: measure -> `equivalent`, `different` or
        `inconclusive`; ``memorisation``: ``copy_share`` and ``copy_share_real``; ``events``; ``controls``;
        ``mix``: clips of each cell type on each side.
    """
    if Path(out).is_file():
        raise ValueError(f"out must be a folder, got the file {out}")
    loaded = [load_clips(s, split=p, max_clips=max_clips, seed=seed) for s, p in ((real, split), (synth, None))]
    real_clips, synth_clips = match_sizes(*loaded, crop=crop)
    count = len(real_clips)
    real_clips, grouping = real_clips.apart()
    if len(real_clips) < MIN_CLIPS:
        raise ValueError(
            f"at least {MIN_CLIPS} real clips must lie in one block of their recording, got {len(real_clips)} of "
            f"{count}: cut it with more --overlap, or give more recordings"
        )
    synth_clips, mix = thin_to_mix(real_clips, synth_clips, keep=not match_mix)
    if len(synth_clips) < MIN_CLIPS:
        raise ValueError(
            f"at least {MIN_CLIPS} synthetic clips must be left in the real side's mix of cell types, "
            f"got {len(synth_clips)}; --keep-mix leaves none out"
        )
    sides = real_clips, synth_clips
    if train is None and split != "train":
        splits = dataset_splits(real)
        train = real if "train" in splits and len(splits) > 1 else None
    memory, available = (None, 0) if train is None else load_training_clips(train, seed=seed)
    with _stepper(8 + len(CONTROLS) + learned, progress) as step:
        details = examine(
            *sides,
            memory,
            grouping=grouping,
            mix=mix,
            available=available,
            learned=learned,
            segment=segment,
            seed=seed,
            step=step,
        )
        step("report")
        return write_report(Path(out), details, sides, memory, omit_real_frames=omit_real_frames)


@contextmanager
def _stepper(total: int, visible: bool) -> Iterator[Callable[[str], None]]:
    """Show a progress bar; `step(name)` finishes the previous step and shows the name of the next."""
    with tqdm(total=total, disable=not visible, bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}]") as bar:
        begun = False

        def step(name: str) -> None:
            nonlocal begun
            bar.update(int(begun))
            bar.set_description(f"{name:34.34}")
            begun = True

        yield step
        bar.update(1)


def match_sizes(real: ClipSet, synth: ClipSet, *, crop: bool = False) -> tuple[ClipSet, ClipSet]:
    """Bring both sides to the same size. Raise `ValueError` if they differ without `crop`, or have too few clips."""
    if min(len(real), len(synth)) < MIN_CLIPS:
        raise ValueError(f"each side needs at least {MIN_CLIPS} clips, got {len(real)} real and {len(synth)} synthetic")
    a, b = real.frames.shape[1:], synth.frames.shape[1:]
    if a != b:
        if not crop:
            raise ValueError(f"both sides must have the same frames and size, got {a} and {b}; --crop cuts the larger")
        smaller = tuple(map(min, a, b))
        real, synth = real.crop(*smaller), synth.crop(*smaller)
    return real, synth


def examine(
    real: ClipSet,
    synth: ClipSet,
    memory: list[np.ndarray] | None,
    *,
    grouping: Grouping,
    mix: dict[str, Any],
    available: int = 0,
    learned: bool = False,
    segment: Segment | None = None,
    seed: int = 0,
    step: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """Compute all figures of the report.

    Parameters
    ----------
    real, synth : ClipSet
        Clips of the same size, from `match_sizes`.
    memory : list of (F, H, W) uint8, or None
        Training clips.
    grouping : (groups, strata, how)
        Groups of the real clips, from `ClipSet.apart`.
    mix : dict
        From `thin_to_mix`.
    available : int
        Number of training clips that `memory` was drawn from.
    segment : callable, optional
        As for `evaluate`.
    step : callable
        Called with the name of each step.
    """
    quoted = {}
    if learned:  # first, since a network that cannot be loaded ends the evaluation
        step("learned distances")
        quoted = {"learned": learned_distances(real.frames, synth.frames)}
    groups, strata, how = grouping
    units = group_clips(synth.units, positions=synth.positions, times=synth.times, size=synth.frames.shape[1:])[0]
    # Real blocks are few, synthetic clips many: unless compared within cell types, the sides' units differ in mix.
    kinds = (strata, synth.cell_types) if mix["matched"] else tuple(np.full(len(s), "all") for s in (real, synth))
    sides = Side(groups, kinds[0]), Side(units, kinds[1])
    step("features of real clips")
    yardsticks = build_yardsticks(real.frames, groups, strata, seed=seed)
    check_halves(yardsticks["motion"].splits, groups)
    step("features of synthetic clips")
    fakes = clip_features(synth.frames)
    distances = {k: y.measure(fakes[k], units) for k, y in yardsticks.items()}
    controls = run_controls(real.grey, yardsticks, seed=seed, progress=step)
    mark_trust(distances, controls)
    standard = {k: (y.real, y.standardise(fakes[k])) for k, y in yardsticks.items()}
    step("search for copies")
    known = None if memory is None else [clip.astype(np.float32) for clip in memory]
    copies, pairs = search_copies(real.grey, synth.grey, known, groups, seed=seed)
    tables = []
    for clips, other, name in ((real, synth, "real"), (synth, real, "synthetic")):
        step(f"cells of {name} clips")
        masks = None if segment is None else list(map(segment, clips.frames))
        measured = measure_clips(list(clips.frames), pixel_size_um=sizes_of(clips, other), masks=masks)
        tables.append(_without_loose_pieces(measured))
    step("motion and statistics")
    motion = [pd.DataFrame([{"clip": i} | motion_measures(c) for i, c in enumerate(s.grey)]) for s in (real, synth)]
    splits = yardsticks["motion"].splits
    few = [splits[k] for k in np.random.default_rng(seed).permutation(len(splits))[:MEASURE_SPLITS]]
    details = {
        "distances": distances,
        "controls": controls,
        "coverage": {k: coverage(*pair) for k, pair in standard.items() if min(map(len, pair)) > 5},
        "classifier": {
            k: classifier_test(*pair, yardsticks[k].names, real_groups=groups, synth_groups=units, seed=seed)
            for k, pair in standard.items()
        },
        "memorisation": copies | {"searched": 0 if memory is None else len(memory), "available": available},
        "pairs": pairs,
        "tables": tables,
        "flow_agreement": _agreement_of_flow(synth),
        **compare_all(tables, motion, sides, few, num_frames=real.frames.shape[1], seed=seed),
        "paper_table2": paper_table2([t.cells for t in tables], [t.neurites for t in tables]).to_dict("index"),
        "sides": {name: _describe(s, u) for name, s, u in zip(("real", "synth"), (real, synth), sides, strict=True)},
        "how": how,
        "mix": mix,
        **quoted,
    }
    details["caveats"] = caveats(details)
    return details


def sizes_of(clips: ClipSet, other: ClipSet) -> list[float | None]:
    """Micrometres per pixel of each clip; where unknown, those of the other side, if it has a single pixel size."""
    own = np.full(len(clips), np.nan) if clips.pixel_sizes is None else clips.pixel_sizes
    return [float(size) if np.isfinite(size) else other.pixel_size_um for size in own]


def _without_loose_pieces(tables: Measurements) -> Measurements:
    """Leave out lines that begin neither at a cell nor at the border: their direction is a guess."""
    return replace(tables, neurites=tables.neurites[tables.neurites["origin"] != "none"])


def _agreement_of_flow(synth: ClipSet) -> dict[str, float] | None:
    known = [(clip, flow) for clip, flow in zip(synth.grey, synth.flow, strict=True) if flow is not None]
    return flow_agreement(*zip(*known, strict=True)) if known else None


def _describe(clips: ClipSet, side: Side) -> dict[str, Any]:
    return {
        "source": clips.source,
        "clips": len(clips),
        "recordings": len(set(clips.recordings)),
        "units": len(set(side.units)),
        "shape": list(clips.frames.shape[1:]),
        "pixel_size_um": clips.pixel_size_um,
        "frame_interval_min": clips.frame_interval_min,
        "pixel_sizes_um": _known(clips.pixel_sizes),
        "frame_intervals_min": _known(clips.intervals),
        "rescaled": clips.rescaled,
    }


def _known(values: np.ndarray | None) -> list[float]:
    """The distinct known values, sorted."""
    return [] if values is None else np.unique(np.round(values[np.isfinite(values)], 5)).tolist()
