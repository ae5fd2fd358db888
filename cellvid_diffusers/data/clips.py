"""Torch data sets of training clips, drawn from the rows of a local or a streamed data set."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from .crowding import Crowding
from .dataset import EncodedFrames, decode_flow, decode_frames
from .patches import block_contrast
from .scales import Scales, minmax_normalize
from .transforms import STRUCTURE, ClipTransform

SURVEYED = 256
"""Number of clips from which scales are estimated, times the number of cell types if each has its own."""

Drawn = tuple[np.ndarray, np.ndarray | None, int]
"""Video `(F, H, W)` uint8 of a clip, its flow `(F, H, W, 2)` in px/frame, and the index of its row."""


class ClipDataset(Dataset):
    """Training clips drawn from the rows of a patch data set.

    Item i is drawn with `numpy.random.default_rng((seed, i))` in any worker or process, so a training run resumed at
    item i sees the same clips as an uninterrupted one.

    Parameters
    ----------
    rows : datasets.Dataset
        From `load_patches`.
    num_frames, size : int
        Number of frames and side of a clip in pixels.
    transform : ClipTransform or mapping, optional
        The transform, or its options other than `num_frames` and `size`.
    scales : Scales or mapping of cell type to Scales, optional
        By default estimated from the first clips (`Scales.estimate`).
    scale_by_cell_type : bool
        Normalize the video of each cell type with its own mean and standard deviation, estimated unless `scales` is a
        mapping that gives them, so that low-contrast cells are not lost in noise above which others stand out.
        Requires `cell_type` in `class_columns`.
    measure_density : bool
        Label each clip with its density class relative to clips of its cell type (`Crowding`) instead of its row's
        density. Requires `density` in `class_columns`.
    normalization : "fixed" or "paper"
        Fixed scales, or min-max scaling of each sample (`minmax_normalize`).
    flow : bool
        Return flow channels.
    class_columns : mapping of column to class names, optional
        One label per column, in this order; a name that is not listed, or null, becomes -1.
    seed : int
    balance : str, optional
        Label column whose classes are drawn equally often, regardless of how many rows each has; must not be a
        measured density.
    preload : bool
        Decode all rows once and keep them in memory (1 + 4 bytes per pixel with flow); otherwise decode each time.
    length : int, optional
        Number of items; by default the number of rows. Each item draws its row at random, and is the same clip whenever
        it is asked for: a loop over many epochs needs a length of as many, or indices beyond it, for new crops.
    """

    def __init__(
        self,
        rows: Any,
        *,
        num_frames: int = 10,
        size: int = 64,
        transform: ClipTransform | Mapping[str, Any] | None = None,
        scales: Scales | Mapping[str, Scales] | None = None,
        scale_by_cell_type: bool = False,
        measure_density: bool = False,
        normalization: str = "fixed",
        flow: bool = True,
        class_columns: Mapping[str, Sequence[str]] | None = None,
        seed: int = 0,
        balance: str | None = None,
        preload: bool = True,
        length: int | None = None,
    ):
        if normalization not in ("fixed", "paper"):
            raise ValueError(f"normalization must be 'fixed' or 'paper', got {normalization}")
        if isinstance(transform, ClipTransform):
            self.transform = transform
        else:
            self.transform = ClipTransform(num_frames=num_frames, size=size, **(transform or {}))
        self.rows, self.flow, self.normalization, self.seed = rows, flow, normalization, seed
        self.length = length or len(rows)
        self._check(rows)
        self.class_columns = dict(class_columns or {})
        self._labels = (
            np.stack([_labels(rows, column, names) for column, names in self.class_columns.items()], axis=1)
            if self.class_columns
            else np.empty((len(rows), 0), np.int64)
        )
        if balance is not None and balance not in self.class_columns:
            raise ValueError(f"balance must be one of class_columns {list(self.class_columns)}, got {balance!r}")
        if balance == "density" and measure_density:
            raise ValueError("balance must be another column than density with measure_density: its classes are thirds")
        self.balance = balance
        self.row_groups = self._group_rows()
        self._decoded = [self._decode(i) for i in range(len(rows))] if preload else None
        for asked, option, column in (
            (scale_by_cell_type, "scale_by_cell_type", "cell_type"),
            (measure_density, "measure_density", "density"),
        ):
            if asked and column not in self.class_columns:
                raise ValueError(f"{option} needs class_columns with {column}, got {list(self.class_columns)}")
        types: Sequence[str] = self.class_columns["cell_type"] if scale_by_cell_type else ()
        is_measured = not isinstance(scales, Scales) or scale_by_cell_type or measure_density
        drawn = self._draw_first(SURVEYED * max(1, len(types))) if is_measured else []
        own = scales if isinstance(scales, Scales) else Scales.estimate(clip[:2] for clip in drawn[:SURVEYED])
        if isinstance(scales, Mapping):
            self.scales = _same_flow(own, next(iter(scales.values())))
            self.scales_by_cell_type = dict(scales)
        else:
            self.scales = own
            self.scales_by_cell_type = self._estimate_by_cell_type(types, drawn)
        self.crowding: Crowding | None = None
        if measure_density:
            each = ((self._kind(row), video, 255 * self._scales_of_row(row).video_std) for video, _, row in drawn)
            self.crowding = Crowding(each, len(self.class_columns["density"]))

    def _draw_first(self, count: int) -> list[Drawn]:
        """Draw the first clips, so that scales match what the model will see; flow for the first `SURVEYED` only."""
        drawn: list[Drawn] = []
        for index in range(count):
            clip, row = self._draw(index)
            flow = np.moveaxis(clip[1:], 0, -1) if self.flow and index < SURVEYED else None
            drawn.append((_as_bytes(clip[0]), flow, row))
        return drawn

    def _estimate_by_cell_type(self, names: Sequence[str], drawn: list[Drawn]) -> dict[str, Scales]:
        """Estimate the video scales of each cell type from its clips; the flow scale is that of all clips."""
        clips: list[list] = [[] for _ in names]
        for video, _, row in drawn if names else ():
            if self._kind(row) >= 0:
                clips[self._kind(row)].append((video, None))
        of_type = {name: Scales.estimate(c) if c else self.scales for name, c in zip(names, clips, strict=True)}
        return {name: _same_flow(scales, self.scales) for name, scales in of_type.items()}

    def _kind(self, row: int) -> int:
        """Class index of a row's cell type; -1 = unknown."""
        if "cell_type" not in self.class_columns:
            return -1
        return int(self._labels[row, list(self.class_columns).index("cell_type")])

    def row_labels(self, device: torch.device | str) -> torch.Tensor:
        """Class indices `(N, K)` of the rows, before density is measured; -1 = unknown."""
        return torch.from_numpy(self._labels).to(device)

    def row_kinds(self, device: torch.device | str) -> torch.Tensor:
        """Class index of each row's cell type `(N,)`; -1 = unknown."""
        return torch.tensor([self._kind(row) for row in range(len(self.rows))], device=device)

    def decoded_rows(self) -> list[tuple[np.ndarray, np.ndarray | None, float]]:
        """Frames `(N, H, W)` uint8, flow `(N, H, W, 2)` in px/frame and share of structured blocks of each row.

        Raises
        ------
        ValueError
            If the rows were not preloaded.
        """
        if self._decoded is None:
            raise ValueError("rows must be preloaded, got preload=False")
        return self._decoded

    def _scales_of_row(self, row: int) -> Scales:
        return self.scales_of(self._labels[row])

    def scales_of(self, class_labels: torch.Tensor | np.ndarray) -> Scales:
        """Scales of a clip with these labels `(K,)`."""
        if not self.scales_by_cell_type:
            return self.scales
        number = int(class_labels[list(self.class_columns).index("cell_type")])
        name = self.class_columns["cell_type"][number] if number >= 0 else ""
        return self.scales_by_cell_type.get(name, self.scales)

    def _check(self, rows: Any) -> None:
        """Check that the rows hold what clips need. Only the first is checked, as `prepare` writes all rows alike."""
        if not len(rows):
            raise ValueError("rows must hold at least one patch, got none")
        _check_row(rows[0], self.transform, self.flow)

    def _decode(self, index: int) -> tuple[np.ndarray, np.ndarray | None, float]:
        """Frames, flow and share of structured blocks of a row."""
        row, wanted = self.rows[index], self.transform.num_frames
        if len(row["frames"]) < wanted:
            raise ValueError(f"num_frames must be at most row {index}'s {len(row['frames'])}, got {wanted}")
        frames = decode_frames(row["frames"])
        contrast = np.mean([block_contrast(frame) for frame in frames[:: max(1, len(frames) // 8)]], axis=0)
        return frames, decode_flow(row) if self.flow else None, float((contrast > STRUCTURE).mean())

    def _group_rows(self) -> list[np.ndarray]:
        """Group row indices by their known class in the `balance` column; without one, all rows form one group."""
        if self.balance is None:
            return [np.arange(len(self.rows))]
        labels = self._labels[:, list(self.class_columns).index(self.balance)]
        known = [np.flatnonzero(labels == label) for label in np.unique(labels) if label >= 0]
        return known or [np.arange(len(self.rows))]

    def _draw_row(self, rng: np.random.Generator) -> int:
        """Draw a row, up to `attempts` times, until one is not nearly empty."""
        group = self.row_groups[int(rng.integers(len(self.row_groups)))]
        for _ in range(self.transform.attempts):
            row = int(group[int(rng.integers(len(group)))])
            if self._decoded is None or self._decoded[row][2] >= self.transform.min_foreground:
                break
        return row

    def class_weights(self) -> dict[str, list[float]]:
        """Share of each class of each label column among the rows whose class is known."""
        shares = {}
        for (column, names), labels in zip(self.class_columns.items(), self._labels.T, strict=True):
            counts = np.bincount(labels[labels >= 0], minlength=len(names))
            if column == "density" and self.crowding:
                counts = self.crowding.occurs.astype(np.int64)
            if column == self.balance:
                counts = np.minimum(counts, 1)
            shares[column] = (counts / max(1, counts.sum())).tolist()
        return shares

    def common_value(self, column: str) -> float | dict[str, float] | None:
        """Value of a metadata column that all rows share, or one per cell type that its rows share; else None."""
        if column not in self.rows.features:
            return None
        values = [None if value is None else float(f"{value:.6g}") for value in self.rows[column]]  # stored as float32
        if len(set(values)) == 1:
            return values[0]
        names = self.class_columns.get("cell_type", ())
        of_type = [{v for row, v in enumerate(values) if self._kind(row) == kind} for kind in range(len(names))]
        known = {name: value for name, each in zip(names, of_type, strict=True) for value in each if value is not None}
        return known if names and all(len(each) == 1 for each in of_type) and len(known) == len(names) else None

    def _row(self, index: int) -> tuple[np.ndarray | EncodedFrames, np.ndarray | None]:
        if self._decoded is not None:
            return self._decoded[index][:2]
        row = self.rows[index]
        return EncodedFrames(row["frames"]), decode_flow(row) if self.flow else None

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        return (self[index] for index in range(len(self)))  # without it, iteration would never end

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """`video` float32 `(C, F, H, W)` in model units, and `class_labels` int64 `(K,)`."""
        clip, row = self._draw(index)
        sample = torch.from_numpy(clip)
        labels, scales = self._labels[row].copy(), self._scales_of_row(row)
        if self.crowding:
            density = self.crowding(self._kind(row), _as_bytes(clip[0]), 255 * scales.video_std)
            labels[list(self.class_columns).index("density")] = density
        sample = scales.normalize(sample) if self.normalization == "fixed" else minmax_normalize(sample)
        return {"video": sample, "class_labels": torch.from_numpy(labels)}

    def _draw(self, index: int) -> tuple[np.ndarray, int]:
        """Clip `(C, F, H, W)`, video in [0, 1] and flow in px/frame, and the index of its row."""
        rng = np.random.default_rng((self.seed, index))
        row = self._draw_row(rng)
        return self.transform(*self._row(row), rng), row


def _check_row(row: Mapping[str, Any], wanted: ClipTransform, flow: bool) -> None:
    """Check that a row holds what clips need: flow, enough frames and enough pixels."""
    if flow and row["flow"] is None:
        raise ValueError(
            "rows must hold flow for clips with motion, got none: prepare with flow, or ask for flow=False"
        )
    height, width = decode_frames(row["frames"][:1]).shape[1:]
    if len(row["frames"]) < wanted.num_frames:
        raise ValueError(f"num_frames must be at most the rows' {len(row['frames'])}, got {wanted.num_frames}")
    if min(height, width) < wanted.size:
        raise ValueError(f"size must be at most the patches' {min(height, width)}, got {wanted.size}")


def _same_flow(scales: Scales, other: Scales) -> Scales:
    """The video scale of `scales` with the flow scale of `other`."""
    return replace(scales, flow_scale=other.flow_scale, flow_clip=other.flow_clip)


def _as_bytes(video: np.ndarray) -> np.ndarray:
    """Video in [0, 1] as uint8, as it is stored."""
    return (video * 255).astype(np.uint8)


def _labels(rows: Any, column: str, names: Sequence[str]) -> np.ndarray:
    """Class indices `(N,)` of a column in the order of `names`; -1 = unknown."""
    if column not in rows.features:
        raise ValueError(f"rows must have the label column {column}, got {sorted(rows.features)}")
    feature = rows.features[column]
    return np.array([_label(value, feature, names) for value in rows[column]], np.int64)


def _label(value: int | str | None, feature: Any, names: Sequence[str]) -> int:
    """Index of a class in `names`; -1 = unknown."""
    name = feature.int2str(value) if isinstance(value, int) else value
    return names.index(name) if name in names else -1


class ClipStream(IterableDataset):
    """Training clips of a streamed data set: rows come in its order, shards split among workers, and are not kept.

    From each row, `clips_per_row` clips are drawn, clip k of a worker's row n with
    `numpy.random.default_rng((seed, epoch, worker, n, k))`; only their windows are decoded. Shuffle the stream itself
    (`rows.shuffle(seed, buffer_size)`) where order matters, and split it among processes with
    `datasets.distributed.split_dataset_by_node`.

    Parameters
    ----------
    rows : datasets.IterableDataset
        From `load_patches(..., streaming=True)`.
    scales : Scales
        Scales of the data set, from `statistics.json` in its folder: they cannot be estimated from a stream first.
    transform : ClipTransform
    flow : bool
        Return flow channels.
    class_columns : mapping of column to class names, optional
        As in `ClipDataset`.
    seed : int
    clips_per_row : int
    """

    def __init__(
        self,
        rows: Any,
        *,
        scales: Scales,
        transform: ClipTransform,
        flow: bool = True,
        class_columns: Mapping[str, Sequence[str]] | None = None,
        seed: int = 0,
        clips_per_row: int = 1,
    ):
        self.rows, self.scales, self.transform, self.flow = rows, scales, transform, flow
        self.class_columns, self.seed, self.clips_per_row = dict(class_columns or {}), seed, clips_per_row
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch (initially 0), so that each pass draws other clips and reorders a shuffled stream."""
        self.epoch = epoch
        self.rows.set_epoch(epoch)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """`video` float32 `(C, F, H, W)` in model units, and `class_labels` int64 `(K,)`."""
        worker = get_worker_info()
        for number, row in enumerate(self.rows):
            _check_row(row, self.transform, self.flow)
            frames, flow = EncodedFrames(row["frames"]), decode_flow(row) if self.flow else None
            features = self.rows.features
            labels = [_label(row[c], features[c], names) for c, names in self.class_columns.items()]
            for clip in range(self.clips_per_row):
                rng = np.random.default_rng((self.seed, self.epoch, worker.id if worker else 0, number, clip))
                sample = torch.from_numpy(self.transform(frames, flow, rng))
                yield {
                    "video": self.scales.normalize(sample),
                    "class_labels": torch.tensor(labels, dtype=torch.int64),
                }
