"""The two sides of a comparison: clips from a data set, or from a folder of TIFF stacks, with their metadata."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import get_dataset_split_names

from ..data import decode_flow, decode_frames, load_patches, read_recording
from ..data.readers import recording_name, scale_to_bytes
from ..io.folders import check_not_missing
from .halves import Grouping, group_clips, lies_in_one

UNKNOWN = "unknown"


@dataclass
class ClipSet:
    """Clips of one size.

    Attributes
    ----------
    frames : (N, F, H, W) uint8
    names : list of N str
    recordings : (N,) str
        Recording that each clip was cut from; each file of a folder is its own recording.
    cell_types : (N,) str
    cultures : (N,) str or None
        Empty where unknown.
    positions : (N, 2) or None
        Upper left corner (y, x) in the recording, px.
    times : (N,) or None
        First frame in the recording.
    flow : list of (F, H, W, 2) or None
        Flow that came with each clip, px/frame; by default none came with any.
    pixel_sizes, intervals : (N,) float or None
        Micrometres per pixel and minutes per frame of each clip, NaN where unknown.
    source : str
        Where the clips came from, for the report.
    rescaled : bool
        Whether grey levels were neither 8-bit nor in [0, 1], and were scaled to their own range.
    """

    frames: np.ndarray
    names: list[str]
    recordings: np.ndarray
    cell_types: np.ndarray
    cultures: np.ndarray | None = None
    positions: np.ndarray | None = None
    times: np.ndarray | None = None
    flow: list[np.ndarray | None] = field(default_factory=list)
    pixel_sizes: np.ndarray | None = None
    intervals: np.ndarray | None = None
    source: str = ""
    rescaled: bool = False

    def __post_init__(self) -> None:
        self.flow = self.flow or [None] * len(self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def grey(self) -> np.ndarray:
        """Frames as float32 grey levels, 0 to 255."""
        return self.frames.astype(np.float32)

    @property
    def pixel_size_um(self) -> float | None:
        """Micrometres per pixel; None where unknown, or where the clips differ."""
        return _common(self.pixel_sizes)

    @property
    def frame_interval_min(self) -> float | None:
        """Minutes per frame; None where unknown, or where the clips differ."""
        return _common(self.intervals)

    @property
    def units(self) -> np.ndarray:
        """Independently sampled unit of each clip, (N,) str: the culture, where it is known and its cell type has
        several, else the recording."""
        units = self.recordings.astype(object)
        if self.cultures is not None:
            for kind in np.unique(self.cell_types):
                here = self.cell_types == kind
                known = np.where(self.cultures == "", self.recordings, self.cultures)[here]
                if len(set(known)) > 1:
                    units[here] = [f"{culture} ({kind})" for culture in known]
        return units.astype(str)

    def groups(self) -> Grouping:
        """Independent groups of the clips, strata `(N,)` to split within, and a sentence for the report.

        See `group_clips`.
        """
        size = self.frames.shape[1:]
        return group_clips(self.units, kinds=self.cell_types, positions=self.positions, times=self.times, size=size)

    def apart(self) -> tuple["ClipSet", Grouping]:
        """Return the clips that lie in a single group, and their `groups`."""
        groups, strata, how = self.groups()
        kept = np.flatnonzero(lies_in_one(groups))
        return self.take(kept), (groups[kept], strata[kept], how)

    def take(self, index: np.ndarray | Sequence[int]) -> "ClipSet":
        """Select clips by index."""
        index = np.asarray(index)
        return replace(
            self,
            frames=self.frames[index],
            names=[self.names[i] for i in index],
            recordings=self.recordings[index],
            cell_types=self.cell_types[index],
            cultures=None if self.cultures is None else self.cultures[index],
            positions=None if self.positions is None else self.positions[index],
            times=None if self.times is None else self.times[index],
            pixel_sizes=None if self.pixel_sizes is None else self.pixel_sizes[index],
            intervals=None if self.intervals is None else self.intervals[index],
            flow=[self.flow[i] for i in index],
        )

    def crop(self, num_frames: int, height: int, width: int) -> "ClipSet":
        """Keep the first frames and the centre of each clip."""
        _, f, h, w = self.frames.shape
        if num_frames > f or height > h or width > w:
            raise ValueError(f"crop must not exceed the clips, got {(num_frames, height, width)} of {(f, h, w)}")
        y, x = (h - height) // 2, (w - width) // 2
        window = np.s_[:num_frames, y : y + height, x : x + width]
        return replace(
            self,
            frames=self.frames[(slice(None), *window)],
            flow=[None if flow is None else flow[window] for flow in self.flow],
        )


def load_clips(side: str | Path, *, split: str | None = None, max_clips: int = 200, seed: int = 0) -> ClipSet:
    """Load clips from a data set (folder or name on the Hub) or a folder of TIFF stacks.

    Files named `*_masks.tif`, which Cellpose writes next to its images, are ignored.

    Parameters
    ----------
    side : path or str
    split : str, optional
        Split of a data set. None: the first of test, validation and train that it has.
    max_clips : int
        If there are more, a random subset of this size is loaded.
    """
    folder = Path(side)
    if folder.exists() and not any(folder.glob("data/*.parquet")):
        if split is not None:
            raise ValueError(f"split must be None for a folder of files, which has none, got {split} of {folder}")
        return _from_files(folder, max_clips, seed)
    _check_exists(side)
    return _from_dataset(side, split, max_clips, seed)


def load_training_clips(side: str | Path, *, max_clips: int = 2000, seed: int = 0) -> tuple[list[np.ndarray], int]:
    """Load the clips that a model was trained on, at their full stored length, to search for copies.

    Parameters
    ----------
    side : path or str
        As for `load_clips`; of a data set, the `train` split is used if it has one.
    max_clips : int
        If there are more, a random subset of this size is loaded.

    Returns
    -------
    clips : list of (F, H, W) uint8
    count : int
        Number of clips available.
    """
    splits = dataset_splits(side)
    if not splits:
        clips = load_clips(side, max_clips=max_clips, seed=seed)
        return list(clips.frames), len(_stacks(Path(side)))
    rows = load_patches(side, split="train" if "train" in splits else _split_of(splits, None))
    stored = [decode_frames(row["frames"]) for row in rows.select(_chosen(len(rows), max_clips, seed))]
    sizes = sorted({clip.shape[1:] for clip in stored})
    if len(sizes) > 1:
        raise ValueError(f"all clips of a data set must have one size, got {sizes[:2]} in {side}")
    return stored, len(rows)


def dataset_splits(side: str | Path) -> list[str]:
    """Names of the splits of a data set (folder or name on the Hub); empty for a folder of files."""
    _check_exists(side)
    if not Path(side).exists():
        return sorted(get_dataset_split_names(str(side)))
    return sorted({path.name.split("-")[0] for path in Path(side).glob("data/*.parquet")})


def _check_exists(side: str | Path) -> None:
    """Raise `ValueError`, before the Hub is queried, if `side` is neither a folder nor a possible name there."""
    if not Path(side).exists() and not re.fullmatch(r"\w[\w.-]*/[\w.-]+", str(side)):
        raise ValueError(f"each side must be a folder, or a data set's name on the Hub (owner/name), got {side}")
    check_not_missing(side)


def _chosen(count: int, max_clips: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).permutation(count)[:max_clips])


def _stacks(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"each side must be a data set or a folder of TIFF stacks, got the file {folder}")
    files = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in (".tif", ".tiff") and p.name[0] != "."]
    return [path for path in files if not path.stem.endswith("_masks")]


def _from_files(folder: Path, max_clips: int, seed: int) -> ClipSet:
    paths = _stacks(folder)
    if not paths:
        raise ValueError(f"folder must hold data/*.parquet or TIFF stacks, got none in {folder}")
    frames, about = [], []
    for index in _chosen(len(paths), max_clips, seed):
        recording = read_recording(paths[index])  # one at a time: each holds its file open
        frames.append(recording.frames[:])
        about.append((recording.name, recording.pixel_size_um, recording.frame_interval_min))
    names, pixel_sizes, intervals = (list(each) for each in zip(*about, strict=True))
    shapes = dict(zip((clip.shape for clip in frames), names, strict=True))
    if len(shapes) > 1:
        (a, first), (b, second) = list(shapes.items())[:2]
        raise ValueError(f"all clips of a folder must have one size, got {a} ({first}) and {b} ({second}) in {folder}")
    kinds = sorted({str(clip.dtype) for clip in frames})
    if len(kinds) > 1:
        raise ValueError(f"all clips of a folder must have one type of pixels, got {' and '.join(kinds)} in {folder}")
    pixels, rescaled = _to_bytes(np.stack(frames))
    return ClipSet(
        frames=pixels,
        rescaled=rescaled,
        names=names,
        recordings=np.array(names),
        cell_types=_cell_types_beside(folder, names),
        flow=[_flow_beside(folder, name) for name in names],
        pixel_sizes=np.array(pixel_sizes, float),
        intervals=np.array(intervals, float),
        source=str(folder),
    )


def _to_bytes(frames: np.ndarray) -> tuple[np.ndarray, bool]:
    """Convert frames to uint8 on a common scale: 8-bit values and floats in [0, 1] keep their range, others are scaled
    to their own (0.1th to 99.9th percentile). The second value says whether that was done."""
    if frames.dtype == np.uint8:
        return frames, False
    low, high = float(frames.min()), float(frames.max())
    rescaled = frames.dtype.kind != "f" or low < 0 or high > 1
    low, high = np.percentile(frames, (0.1, 99.9)) if rescaled else (0.0, 1.0)
    return scale_to_bytes(frames, (float(low), max(float(high), float(low) + 1e-6))), rescaled


def _flow_beside(folder: Path, name: str) -> np.ndarray | None:
    """Load the flow that `cellvid generate` writes next to `video_00000.ome.tif`, if there is one."""
    path = folder / f"{name.replace('video', 'flow')}.npy"
    return np.load(path, allow_pickle=False) if name.startswith("video") and path.exists() else None


def _cell_types_beside(folder: Path, names: list[str]) -> np.ndarray:
    """Read the cell types that `cellvid generate` writes into `metadata.csv`; `UNKNOWN` where it has none."""
    path = folder / "metadata.csv"
    table = pd.read_csv(path, dtype=str) if path.exists() else pd.DataFrame()
    if not {"file_name", "cell_type"} <= set(table):
        return np.full(len(names), UNKNOWN)
    table = table.dropna(subset=["file_name"])
    listed = [recording_name(Path(name)) for name in table["file_name"]]
    known = dict(zip(listed, table["cell_type"].fillna(UNKNOWN), strict=True))
    return np.array([known.get(name, UNKNOWN) for name in names])


def _split_of(splits: list[str], split: str | None) -> str:
    """Return the requested split, or else the first of test, validation and train that exists."""
    if split is None:
        return next((s for s in ("test", "validation", "train") if s in splits), "train")
    if splits and split not in splits:
        raise ValueError(f"split must be one of {', '.join(splits)}, got {split}")
    return split


def _from_dataset(side: str | Path, split: str | None, max_clips: int, seed: int) -> ClipSet:
    split = _split_of(dataset_splits(side), split)
    rows = load_patches(side, split=split)
    rows = rows.select(_chosen(len(rows), max_clips, seed))
    loaded = list(rows)
    frames = [decode_frames(row["frames"]) for row in loaded]
    shortest = min(map(len, frames))  # rows may be as long as their recordings: cut all to the shortest
    frames = [f[:shortest] for f in frames]
    shapes = {f.shape for f in frames}
    if len(shapes) > 1:
        raise ValueError(f"all clips of a data set must have one size, got {sorted(shapes)[:2]} in {side}")
    kinds = rows.features["cell_type"]
    named = [UNKNOWN if r["cell_type"] is None else r["cell_type"] for r in loaded]
    return ClipSet(
        frames=np.stack(frames),
        names=[f"{r['recording']} x{r['x']} y{r['y']} t{r['t0']}" for r in loaded],
        recordings=np.array([r["recording"] for r in loaded]),
        cell_types=np.array([kinds.int2str(k) if isinstance(k, int) else k for k in named]),
        cultures=np.array([r.get("culture") or "" for r in loaded]),
        positions=np.array([(r["y"], r["x"]) for r in loaded]),
        times=np.array([r["t0"] for r in loaded]),
        flow=[decode_flow(r, 0, shortest) for r in loaded],
        pixel_sizes=np.array([r["pixel_size_um"] for r in loaded], float),
        intervals=np.array([r["frame_interval_min"] for r in loaded], float),
        source=f"{side} ({split})",
    )


def _common(values: np.ndarray | None) -> float | None:
    """Return the value that all clips share; None if they differ, or if one is unknown."""
    found = np.unique(np.round(values, 5)) if values is not None else np.array([])
    return float(found[0]) if len(found) == 1 and np.isfinite(found[0]) else None
