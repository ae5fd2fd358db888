"""Masks and tracks in the layout of the Cell Tracking Challenge.

A folder contains one 16-bit TIFF of labels per frame, `mask000.tif`, `mask001.tif`, ... (0 is background), and
`res_track.txt` with a line `L B E P` for each track: label, first frame, last frame, label of the parent or 0.
Reference: Maška et al., The Cell Tracking Challenge: 10 years of objective benchmarking, Nature Methods 20 (2023),
https://celltrackingchallenge.net/datasets
"""

from pathlib import Path

import numpy as np
import tifffile

from .atomic import replacing


def write_ctc(folder: str | Path, masks: np.ndarray, tracks: np.ndarray | None = None) -> None:
    """Write masks and tracks as a result folder.

    Parameters
    ----------
    folder : path
        New, empty, or an earlier result, which is replaced.
    masks : ndarray
        `(F, H, W)` integer labels from 0 to 65535; a track has the same label in all its frames.
    tracks : ndarray or table, optional
        `(N, 4)`: label, first frame, last frame, parent (0 is none). By default every label is a track without a
        parent.

    Raises
    ------
    ValueError
        If the masks are not integer labels, masks and tracks disagree, or the folder contains other files.
    OSError
        If the folder cannot be written; an earlier result is kept.
    """
    masks, folder = np.asarray(masks), Path(folder)
    if masks.ndim != 3 or not np.issubdtype(masks.dtype, np.integer):
        raise ValueError(f"masks must be integer labels (F, H, W), got {masks.dtype} {masks.shape}")
    if masks.size and not (masks.min() >= 0 and masks.max() <= 65535):
        raise ValueError(f"labels must lie in 0..65535, got {masks.min()}..{masks.max()}")
    table = find_tracks(masks) if tracks is None else np.asarray(tracks).reshape(-1, 4).astype(int)
    _check_tracks(masks, table)
    digits = max(3, len(str(len(masks) - 1)))
    check_replaceable(folder)
    with replacing(folder) as temporary:
        temporary.mkdir()
        for frame, labels in enumerate(masks.astype(np.uint16)):
            tifffile.imwrite(temporary / f"mask{frame:0{digits}d}.tif", labels, photometric="minisblack")
        np.savetxt(temporary / "res_track.txt", table, fmt="%d")


def read_ctc(folder: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a result folder (`mask*.tif`, `res_track.txt`) or ground-truth tracks (`man_track*.tif`, `man_track.txt`).

    Returns
    -------
    masks : ndarray
        `(F, H, W)` int32 labels.
    tracks : ndarray
        `(N, 4)` int: label, first frame, last frame, parent.

    Raises
    ------
    ValueError
        If the folder contains no masks or no track file, or a frame between others is missing.
    """
    folder = Path(folder)
    stem, table = ("man_track", "man_track.txt") if (folder / "man_track.txt").exists() else ("mask", "res_track.txt")
    files = sorted(folder.glob(f"{stem}*.tif"), key=lambda file: int(file.stem.removeprefix(stem)))
    if not files or not (folder / table).exists():
        raise ValueError(f"a folder with {stem}*.tif and {table} is wanted, got {folder}")
    numbers = [int(file.stem.removeprefix(stem)) for file in files]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        missing = next(n for n in range(numbers[0], numbers[-1]) if n not in numbers)
        raise ValueError(f"masks must leave no frame out, frame {missing} is missing in {folder}")
    masks = np.stack([tifffile.imread(file) for file in files]).astype(np.int32)
    return masks, np.array((folder / table).read_text().split(), dtype=int).reshape(-1, 4)


def find_tracks(masks: np.ndarray) -> np.ndarray:
    """First and last frame of every label of `(F, H, W)` masks, as `(N, 4)` tracks without parents."""
    present = [np.unique(frame[frame > 0]) for frame in masks]
    labels = np.unique(np.concatenate(present)) if present else np.zeros(0, int)
    frames = [[frame for frame, here in enumerate(present) if label in here] for label in labels]
    rows = [(label, seen[0], seen[-1], 0) for label, seen in zip(labels, frames, strict=True)]
    return np.array(rows, int).reshape(-1, 4)


def check_replaceable(folder: Path) -> None:
    """Raise `ValueError` if a folder of results holds other files, but those of the system's file browser."""
    for name in sorted(each.name for each in folder.iterdir()) if folder.exists() else ():
        ours = name == "res_track.txt" or (name.startswith("mask") and name.endswith(".tif"))
        if not (ours or name.startswith(".") or name in ("Thumbs.db", "desktop.ini")):
            raise ValueError(f"folder must be new or an earlier result, got {folder} with {name} in it")


def _check_tracks(masks: np.ndarray, tracks: np.ndarray) -> None:
    """Check that a track is visible in exactly its own frames, and that a parent ends before its child begins."""
    spans = {label: (begin, end) for label, begin, end, _ in tracks.tolist()}
    if len(spans) < len(tracks):
        raise ValueError(f"each track must have one row, got {len(tracks)} rows for {len(spans)} labels")
    for frame, labels in enumerate(masks):
        seen = set(np.unique(labels[labels > 0]).tolist())
        due = {label for label, (begin, end) in spans.items() if begin <= frame <= end}
        if seen != due:
            label = min(seen ^ due)
            told = f"lasts from {spans[label][0]} to {spans[label][1]}" if label in spans else "is unknown"
            state = "seen" if label in seen else "not seen"
            raise ValueError(f"masks and tracks must agree, got track {label}, which {told}, {state} in frame {frame}")
    for label, begin, _, parent in tracks.tolist():
        if parent and not (parent in spans and spans[parent][1] < begin):
            raise ValueError(f"a parent must end before its child begins, got parent {parent} of track {label}")
