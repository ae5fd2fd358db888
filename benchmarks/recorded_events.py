"""Merges, splits, appearances and disappearances in recordings, from their masks and from detected cells."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import tifffile

from cellvid_diffusers.evaluation.events import EVENTS, count_events
from cellvid_diffusers.evaluation.segment import segment_cells
from cellvid_diffusers.evaluation.tracks import link_cells

RECORDINGS = {"t98g": ("t98g/t98g_usiigaci", 2), "u373": ("u373/u373_train01_aspect_restored", 3)}
"""File and downscaling factor: the size at which `cellvid-tiny` was trained on them."""
SIZE, FRAMES = 64, 10


def cut(video: np.ndarray, masks: np.ndarray, reduction: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Non-overlapping clips `(FRAMES, SIZE, SIZE)` of a downscaled recording `(F, H, W)` and of its masks."""
    size = video.shape[2] // reduction, video.shape[1] // reduction
    video = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in video])
    shrunk = [cv2.resize(each.astype(np.float32), size, interpolation=cv2.INTER_NEAREST) for each in masks]
    masks = np.stack(shrunk).astype(np.int32)
    for t in range(0, len(video) - FRAMES + 1, FRAMES):
        for y in range(0, size[1] - SIZE + 1, SIZE):
            for x in range(0, size[0] - SIZE + 1, SIZE):
                place = slice(t, t + FRAMES), slice(y, y + SIZE), slice(x, x + SIZE)
                yield video[place], masks[place]


def rates(clips: list[np.ndarray]) -> dict[str, float]:
    """Events per 100 cells and frame in clips of labels `(F, H, W)`."""
    counts = pd.concat([count_events(link_cells(labels)[1]) for labels in clips]).sum()
    return {name: 100 * counts[name] / max(counts["cell_frames"], 1) for name in EVENTS}


def recorded_events(folder: Path) -> pd.DataFrame:
    """A row for the masks and one for the detected cells of each recording."""
    rows = []
    for source, (stem, reduction) in RECORDINGS.items():
        stacks = (tifffile.imread(folder / f"{stem}{end}.tif") for end in ("", "_masks"))
        videos, masks = zip(*cut(*stacks, reduction), strict=True)
        for by, labels in (("masks", masks), ("cells found", [segment_cells(video) for video in videos])):
            rows.append({"source": source, "clips": len(videos), "by": by} | rates(list(labels)))
    return pd.DataFrame(rows)
