"""All tables of a set of clips: cells, neurites, tracks, events."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset

from .cells import measure_cells
from .events import count_events
from .external_masks import check_masks
from .neurites import trace_neurites
from .segment import check_video, segment_cells
from .tracks import link_cells, measure_tracks


@dataclass(frozen=True)
class Measurements:
    """Tables of a set of clips, each with the index of the clip in column ``clip``; lengths in px, times in frames.

    Attributes
    ----------
    cells : DataFrame
        A row for each cell and frame (`measure_cells`), with its ``track``.
    neurites : DataFrame
        A row for each neurite in the middle frame of its clip (`trace_neurites`).
    tracks : DataFrame
        A row for each track (`measure_tracks`).
    events : DataFrame
        A row for each clip (`count_events`).
    masks : list of ndarray
        `(F, H, W)` int32 for each clip; labels are tracks.
    """

    cells: pd.DataFrame
    neurites: pd.DataFrame
    tracks: pd.DataFrame
    events: pd.DataFrame
    masks: list[np.ndarray]


def measure_clip(
    video: np.ndarray, *, pixel_size_um: float | None = None, masks: np.ndarray | None = None
) -> Measurements:
    """Measure one clip.

    Parameters
    ----------
    video : ndarray
        `(F, H, W)`, uint8 or float in [0, 1].
    pixel_size_um : float, optional
        Adds columns in micrometres.
    masks : ndarray, optional
        `(F, H, W)` labels from another segmentation, instead of `segment_cells`.

    Returns
    -------
    Measurements
        Without column ``clip``.

    Raises
    ------
    ValueError
        If the video is empty, not finite or out of range, or the masks do not fit it.
    """
    grey = check_video(video)
    labels = segment_cells(video, pixel_size_um=pixel_size_um) if masks is None else check_masks(masks, grey.shape)
    labels, tracks = link_cells(labels)
    cells = measure_cells(labels, grey, pixel_size_um=pixel_size_um)
    middle = len(grey) // 2
    neurites = trace_neurites(grey[middle], labels[middle])
    if pixel_size_um is not None:
        neurites["length_um"] = neurites["length"] * pixel_size_um
    neurites = neurites.assign(frame=middle, track=neurites["label"])
    tracks = measure_tracks(cells, tracks)
    return Measurements(cells.assign(track=cells["label"]), neurites, tracks, count_events(tracks), [labels])


def measure_clips(
    videos: Sequence[np.ndarray],
    *,
    pixel_size_um: float | Sequence[float | None] | None = None,
    masks: Sequence[np.ndarray] | None = None,
    num_workers: int = 2,
) -> Measurements:
    """Measure clips, several in parallel.

    Parameters
    ----------
    videos : sequence of ndarray
        `(F, H, W)` each, uint8 or float in [0, 1].
    pixel_size_um : float or sequence, optional
        One value for all clips, or one for each, None where unknown.
    masks : sequence of ndarray, optional
        Labels of each clip; from `segment_cells` by default.
    num_workers : int
        Number of worker processes; 0 measures in the calling process.

    Returns
    -------
    Measurements

    Raises
    ------
    ValueError
        If there are no clips, or one is empty, not finite or does not fit its masks; the message says which.
    """
    if len(videos) == 0:
        raise ValueError("at least one clip is needed, got none")
    if masks is not None and len(masks) != len(videos):
        raise ValueError(f"masks must be as many as clips, {len(videos)}, got {len(masks)}")
    for number, video in enumerate(videos):
        try:
            check_video(video)
            if masks is not None:
                check_masks(masks[number], np.shape(video))
        except ValueError as error:
            raise ValueError(f"clip {number}: {error}") from None
    sizes = list(pixel_size_um) if isinstance(pixel_size_um, Iterable) else [pixel_size_um] * len(videos)
    if len(sizes) != len(videos):
        raise ValueError(f"pixel_size_um must be one, or as many as clips, {len(videos)}, got {len(sizes)}")
    clips = _Clips(videos, sizes, masks)
    loader = DataLoader(
        clips,
        batch_size=None,
        num_workers=min(num_workers, len(videos)),
        collate_fn=_same,
        worker_init_fn=_use_one_core,
    )
    found = list(loader)
    tables = {}
    for name in ("cells", "neurites", "tracks", "events"):
        parts = [getattr(each, name) for each in found]
        table = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
        table.insert(0, "clip", np.repeat(np.arange(len(parts)), [len(part) for part in parts]))
        tables[name] = table
    return Measurements(**tables, masks=[each.masks[0] for each in found])


class _Clips(Dataset):
    def __init__(
        self, videos: Sequence[np.ndarray], pixel_sizes: list[float | None], masks: Sequence[np.ndarray] | None
    ) -> None:
        self.videos, self.pixel_sizes, self.masks = videos, pixel_sizes, masks

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> Measurements:
        masks = None if self.masks is None else self.masks[index]
        return measure_clip(self.videos[index], pixel_size_um=self.pixel_sizes[index], masks=masks)


def _same(item: Measurements) -> Measurements:
    return item


def _use_one_core(worker: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
