"""The data set's schema, writing its files, and loading them.

A row is one patch over one window of time. `frames` are 8-bit grey PNGs, `flow` is `(F, H, W, 2)` float16 in pixels per
stored frame (u to the right, v down; frame k's flow leads to frame k + 1), stored as raw bytes with its `flow_shape`.
Files are parquet, `data/SPLIT-00000-of-00001.parquet`, next to a README card, so `datasets.load_dataset` reads the
folder, and the Hub displays it, without this package.
"""

import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Features, Image, List, Value, load_dataset

from ..io.atomic import replacing
from ..io.folders import check_not_missing
from ..simulation.parameters import DENSITIES, MATURITIES

SPLITS = ("train", "validation", "test")
SHARD_BYTES = 256 * 2**20
ROWS_PER_GROUP = 32


def patch_features(cell_types: Sequence[str], *, masks: bool = False) -> Features:
    """Columns of a patch data set with these `cell_types`; `masks` adds instance masks as 16-bit PNGs."""
    features = {
        "frames": List(Image()),
        "flow": Value("binary"),
        "flow_shape": List(Value("int32")),
        "x": Value("int32"),
        "y": Value("int32"),
        "t0": Value("int32"),
        "frame_stride": Value("int32"),
        "recording": Value("string"),
        "culture": Value("string"),
        "cell_type": ClassLabel(names=list(cell_types)) if cell_types else Value("string"),
        "density": ClassLabel(names=list(DENSITIES)),
        "maturity": ClassLabel(names=list(MATURITIES)),
        "day": Value("float32"),
        "pixel_size_um": Value("float32"),
        "frame_interval_min": Value("float32"),
    }
    if masks:
        features["masks"] = List(Image())
    return Features(features)


def encode_row(
    features: Features,
    *,
    frames: np.ndarray,
    flow: np.ndarray | None = None,
    masks: np.ndarray | None = None,
    **scalars: Any,
) -> dict[str, Any]:
    """Encode a row for storage.

    Parameters
    ----------
    features : Features
        From `patch_features`.
    frames : ndarray of shape (F, H, W), uint8
    flow : ndarray of shape (F, H, W, 2), optional
        Pixels per frame; stored as float16.
    masks : ndarray of shape (F, H, W), optional
        Instance labels below 65536, 0 = background.
    **scalars
        The other columns; a missing one is null. Class names are given as strings.
    """
    row: dict[str, Any] = dict.fromkeys(features)
    row["frames"] = [_png(frame) for frame in frames]
    if flow is not None:
        row["flow"], row["flow_shape"] = flow.astype(np.float16).tobytes(), list(flow.shape)
    if masks is not None:
        if masks.min(initial=0) < 0 or masks.max(initial=0) > 65535:
            raise ValueError(f"masks must hold numbers from 0 to 65535, got {masks.min()} to {masks.max()}")
        row["masks"] = [_png(mask.astype(np.uint16)) for mask in masks]
    for name, value in scalars.items():
        feature = features[name]
        row[name] = feature.str2int(value) if isinstance(feature, ClassLabel) and value is not None else value
    return row


def _png(picture: np.ndarray) -> dict[str, Any]:
    return {
        "bytes": cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1].tobytes(),
        "path": None,
    }


def decode_frames(images: Sequence[Mapping[str, Any] | PIL.Image.Image]) -> np.ndarray:
    """Decode frames `(F, H, W)` of a row: uint8, or uint16 for masks.

    Rows of `load_patches` hold encoded images, those of `datasets.load_dataset` pictures.
    """
    return np.stack([_decode(image) for image in images])


def _decode(image: Mapping[str, Any] | PIL.Image.Image) -> np.ndarray:
    if isinstance(image, Mapping):
        return cv2.imdecode(np.frombuffer(image["bytes"], np.uint8), cv2.IMREAD_UNCHANGED)
    picture = np.asarray(image)
    return picture.astype(np.uint16) if picture.dtype == np.int32 else picture


class EncodedFrames:
    """Frames `(F, H, W)` of a row read with `Image(decode=False)`; a slice decodes only its own frames."""

    def __init__(self, images: Sequence[Mapping[str, Any]]):
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, window: slice) -> np.ndarray:
        return decode_frames(self._images[window])


def decode_flow(row: Mapping[str, Any], start: int = 0, stop: int | None = None) -> np.ndarray | None:
    """Decode the flow `(F, H, W, 2)` float16 of frames `start` to `stop - 1` of a row; None if the row has none."""
    if row["flow"] is None:
        return None
    return np.frombuffer(row["flow"], np.float16).reshape(row["flow_shape"])[start:stop]


def check_new(out: Path) -> None:
    """Check that `out` is new or an empty folder, and not the working directory, which could not be replaced."""
    if out.absolute() == Path.cwd():
        raise ValueError(f"out must be another folder than the one that this runs in, got {out}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"out must be a new or empty folder, got {out}")


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """Yield a folder next to `out` that is renamed to `out` if the block succeeds and deleted if it fails."""
    check_new(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        temporary.mkdir()
        yield temporary


def write_shards(tables: Iterable[pa.Table], folder: Path, split: str, schema: pa.Schema) -> int:
    """Write tables of rows as `data/SPLIT-....parquet` of about 256 MiB each, and return the number of rows."""
    (folder / "data").mkdir(exist_ok=True)
    written: list[Path] = []
    writer, size, rows = None, 0, 0
    for table in tables:
        if writer is None or size + table.nbytes > SHARD_BYTES:
            if writer is not None:
                writer.close()
            written.append(folder / "data" / f"{split}-{len(written):05d}.parquet")
            writer, size = pq.ParquetWriter(written[-1], schema), 0
        writer.write_table(table, row_group_size=ROWS_PER_GROUP)
        size, rows = size + table.nbytes, rows + len(table)
    if writer is not None:
        writer.close()
    for index, path in enumerate(written):
        path.rename(path.with_name(f"{split}-{index:05d}-of-{len(written):05d}.parquet"))
    return rows


def write_patches(
    splits: Mapping[str, Iterable[dict[str, Any]]], out: str | Path, features: Features, card: str = ""
) -> Path:
    """Write encoded rows as a data set folder, either completely or not at all.

    Parameters
    ----------
    splits : mapping of split name to rows from `encode_row`
    out : path
        Folder to create; must be new or empty.
    features : Features
    card : str
        Text of the README below its header.
    """
    unknown = sorted(set(splits) - set(SPLITS))
    if unknown:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {unknown[0]}")
    out = Path(out)
    with atomic_folder(out) as folder:
        write_rows(splits, folder, features, card)
    return out


def write_rows(splits: Mapping[str, Iterable[dict[str, Any]]], folder: Path, features: Features, card: str) -> None:
    """Write the shards and README of `write_patches` into an existing folder."""
    counts = {
        split: write_shards(_tables(rows, features.arrow_schema), folder, split, features.arrow_schema)
        for split, rows in splits.items()
    }
    (folder / "README.md").write_text(card_header(counts) + card, encoding="utf-8")


def _tables(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.Table]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == ROWS_PER_GROUP:
            yield pa.Table.from_pylist(batch, schema=schema)
            batch = []
    if batch:
        yield pa.Table.from_pylist(batch, schema=schema)


def card_header(counts: Mapping[str, int]) -> str:
    """YAML header of the README, from which `load_dataset` and the Hub learn the files of each split that has rows."""
    files = "\n".join(f"  - split: {s}\n    path: data/{s}-*.parquet" for s in SPLITS if counts.get(s))
    return (
        "---\npretty_name: Neural cell patches with optical flow\n"
        "task_categories:\n- unconditional-image-generation\n"
        "tags:\n- microscopy\n- phase-contrast\n- video\n- optical-flow\n"
        f"configs:\n- config_name: default\n  data_files:\n{files}\n---\n\n"
    )


def load_patches(
    name_or_folder: str | Path, split: str = "train", *, streaming: bool = False, **kwargs: Any
) -> Dataset:
    """Load a split of a patch data set from a folder or the Hub, leaving pictures encoded.

    Read rows with `decode_frames(row["frames"])` and `decode_flow(row)`, or through `ClipDataset`.

    Parameters
    ----------
    name_or_folder : str or path
        Folder written by `prepare`, or the name of a data set on the Hub.
    split : str
    streaming : bool
        Read rows as they are needed instead of copying the data set first.
    **kwargs
        Passed to `datasets.load_dataset`, e.g. revision, cache_dir, token.

    Raises
    ------
    ValueError
        If the data set lacks columns that `prepare` writes, or the folder is not there or lacks the split.
    """
    folder = Path(name_or_folder)
    if folder.exists():
        files = sorted(glob.escape(str(path)) for path in folder.glob(f"data/{split}-*.parquet"))
        if not files:
            raise ValueError(f"data set must be a folder with data/{split}-*.parquet, got {folder}")
        # Given a folder's name, `datasets` would return what it has cached for any folder of that name.
        rows = load_dataset("parquet", data_files={split: files}, split=split, streaming=streaming, **kwargs)
    else:
        check_not_missing(name_or_folder)
        rows = load_dataset(str(name_or_folder), split=split, streaming=streaming, **kwargs)
    missing = {"frames", "flow", "recording"} - set(rows.column_names or ())
    if missing:
        raise ValueError(f"data set must have the columns of cellvid prepare, {name_or_folder} lacks {sorted(missing)}")
    for column in {"frames", "masks"} & set(rows.column_names):
        rows = rows.cast_column(column, List(Image(decode=False)))
    return rows
