"""The cells of somebody's own recording: masks, outlines and tables."""

from pathlib import Path

import numpy as np
import pandas as pd

from ..data import read_recording
from ..io import write_ctc, write_imagej_rois
from .cells import measure_cells
from .export import in_units
from .segment import segment_cells
from .tracks import link_cells, measure_tracks


def write_cells(
    video: np.ndarray, masks_folder: Path, rois_file: Path, *, pixel_size_um: float | None = None
) -> tuple[np.ndarray, pd.DataFrame]:
    """
    Segment and track the cells of a video, and write masks and outlines.

    Args:
        video (`np.ndarray` of shape `(F, H, W)`, uint8): Grey levels.
        masks_folder (`Path`): For labels in the layout of the Cell Tracking Challenge.
        rois_file (`Path`): For outlines, a zip archive of ImageJ.
        pixel_size_um (`float`, *optional*): As for `segment_cells`.

    Returns:
        Masks `(F, H, W)` and a table of the tracks, from `link_cells`.
    """
    # The layout has no gaps in a track: a cell that is missed for a frame comes back as a new one.
    masks, tracks = link_cells(segment_cells(video, pixel_size_um=pixel_size_um), max_gap=0)
    write_ctc(masks_folder, masks)
    write_imagej_rois(rois_file, masks)
    return masks, tracks


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
    Segment and track the cells of a recording.

    Args:
        path (`Path`): Recording, as `cellvid_diffusers.data.read_recording` opens it; all of it is held in memory.
        out (`Path`): Folder for `masks/` (labels in the layout of the Cell Tracking Challenge), `rois.zip` (outlines
            for ImageJ), `cells.csv` (a row for each cell in each frame) and `tracks.csv`, with units in the names of
            the columns.
        channel, z, downscale: As for `read_recording`.
        pixel_size_um (`float`, *optional*), frame_interval_min (`float`, *optional*): Of the file's own pixels and
            frames, where it does not state them, or wrongly.

    Returns:
        `int`: Number of tracks.

    Raises:
        ValueError: If the recording cannot be read, or a size or an interval is not positive.
    """
    for name, value in (("pixel_size_um", pixel_size_um), ("frame_interval_min", frame_interval_min)):
        if value is not None and not 0 < value < np.inf:
            raise ValueError(f"{name} must be positive, got {value}")
    recording = read_recording(path, channel=channel, z=z, downscale=downscale)
    pixel = recording.pixel_size_um if pixel_size_um is None else pixel_size_um * downscale
    interval = recording.frame_interval_min if frame_interval_min is None else frame_interval_min
    video = recording.read(slice(None))
    out.mkdir(parents=True, exist_ok=True)
    masks, tracks = write_cells(video, out / "masks", out / "rois.zip", pixel_size_um=pixel)
    cells = measure_cells(masks, video.astype(np.float32))
    tracks = measure_tracks(cells, tracks)
    for name, table in (("cells", cells.rename(columns={"label": "track"})), ("tracks", tracks)):
        in_units(table, pixel, interval).to_csv(out / f"{name}.csv", index=False)
    return len(tracks)
