"""Annotate the cells of a video, generated or recorded: masks, outlines and tables."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from skimage.segmentation import find_boundaries

from ..data import read_recording
from ..io import stretch_contrast, write_ctc, write_imagej_rois, write_mp4
from ..io.ctc import check_replaceable
from ..io.preview import enlarge
from .cells import measure_cells
from .export import in_units
from .neurites import trace_neurites
from .segment import segment_cells
from .tracks import link_cells, measure_tracks

COLOURS = (255 * colormaps["Set1"](range(8))[:, :3]).round().astype(np.uint8)  # the ninth colour is grey


def draw_outlines(video: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """
    Draw the outlines of cells over their video; tracks cycle through eight colours.

    Args:
        video (`np.ndarray` of shape `(F, H, W)`, uint8): Grey levels; shown with stretched contrast.
        masks (`np.ndarray` of shape `(F, H, W)`, int): Labels of tracks.

    Returns:
        `np.ndarray` of shape `(F, H, W, 3)`, uint8: Small frames are enlarged, see `enlarge`.
    """
    picture = enlarge(stretch_contrast(video))[..., None].repeat(3, axis=-1)
    for drawn, labels in zip(picture, enlarge(masks), strict=True):
        edge = find_boundaries(labels, mode="inner")
        drawn[edge] = COLOURS[labels[edge] % len(COLOURS)]
    return picture


def write_cells(
    video: np.ndarray,
    path: Callable[[str], Path],
    *,
    pixel_size_um: float | None = None,
    frame_interval_min: float | None = None,
) -> int:
    """
    Segment and track the cells of a video, trace their neurites, and write the results.

    Args:
        video (`np.ndarray` of shape `(F, H, W)`, uint8): Grey levels.
        path (`Callable`): Where to write `"masks"` (a folder of labels in the layout of the Cell Tracking Challenge,
            tracks without parents, since fragments that split off cannot be told from daughter cells), `"rois.zip"`
            (outlines for ImageJ), `"outlines.mp4"` (see `draw_outlines`), `"cells.csv"` (a row for each cell in each
            frame), `"neurites.csv"` (a row for each neurite in each frame) and `"tracks.csv"` (see `link_cells`).
            Column names include units; angles are in radians.
        pixel_size_um (`float`, *optional*), frame_interval_min (`float`, *optional*): Add columns in µm and minutes;
            the pixel size is also passed to `segment_cells`.

    Returns:
        `int`: Number of tracks.

    Raises:
        ValueError: If there are more than 65,535 tracks, when all but the masks are written.
    """
    # The layout allows no gaps in a track: a cell that is missed for a frame starts a new one.
    masks, tracks = link_cells(segment_cells(video, pixel_size_um=pixel_size_um), max_gap=0)
    cells = measure_cells(masks, video)
    neurites = pd.concat(map(trace_neurites, video, masks), keys=range(len(video)), names=["frame", None])
    tables = {"cells": cells, "neurites": neurites.reset_index("frame"), "tracks": measure_tracks(cells, tracks)}
    for name, table in tables.items():
        table = in_units(table.rename(columns={"label": "track"}), pixel_size_um, frame_interval_min)
        table.to_csv(path(f"{name}.csv"), index=False)
    write_mp4(path("outlines.mp4"), draw_outlines(video, masks))
    write_imagej_rois(path("rois.zip"), masks)
    write_ctc(path("masks"), masks)  # last, since it refuses more tracks than 16 bits can number
    return len(tracks)


def annotate_recording(
    path: Path,
    out: Path,
    *,
    channel: int | None = None,
    z: int | str | None = None,
    downscale: int = 1,
    pixel_size_um: float | None = None,
    frame_interval_min: float | None = None,
) -> int:
    """
    Segment and track the cells of a recording, and trace their neurites.

    Args:
        path (`Path`): Recording that `cellvid_diffusers.data.read_recording` can open; it is held in memory as a whole.
        out (`Path`): Folder for the output of `write_cells`.
        channel, z, downscale: As for `read_recording`.
        pixel_size_um (`float`, *optional*), frame_interval_min (`float`, *optional*): Pixel size (before `downscale`)
            and frame interval of the file, if it does not state them or states them wrongly.

    Returns:
        `int`: Number of tracks.

    Raises:
        ValueError: If the recording cannot be read, a size or an interval is not positive, or `out / "masks"` holds
            other files.
    """
    for name, value in (("pixel_size_um", pixel_size_um), ("frame_interval_min", frame_interval_min)):
        if value is not None and not 0 < value < np.inf:
            raise ValueError(f"{name} must be positive, got {value}")
    check_replaceable(out / "masks")  # now, not after the work
    recording = read_recording(path, channel=channel, z=z, downscale=downscale)
    pixel = recording.pixel_size_um if pixel_size_um is None else pixel_size_um * downscale
    interval = recording.frame_interval_min if frame_interval_min is None else frame_interval_min
    out.mkdir(parents=True, exist_ok=True)
    return write_cells(recording.read(slice(None)), out.joinpath, pixel_size_um=pixel, frame_interval_min=interval)
