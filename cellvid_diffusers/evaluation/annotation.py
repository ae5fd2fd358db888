"""The cells of somebody's own recording: masks, outlines and tables."""

from pathlib import Path

import numpy as np

from .data import read_recording
from .evaluation.cells import measure_cells
from .evaluation.export import in_units
from .evaluation.segment import segment_cells
from .evaluation.tracks import link_cells, measure_tracks
from .io import write_ctc, write_imagej_rois


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
    # The layout has no gaps in a track: a cell that is missed for a frame comes back as a new one.
    masks, tracks = link_cells(segment_cells(video, pixel_size_um=pixel), max_gap=0)
    cells = measure_cells(masks, video.astype(np.float32)).rename(columns={"label": "track"})
    tracks = measure_tracks(cells.assign(label=cells["track"]), tracks)
    out.mkdir(parents=True, exist_ok=True)
    write_ctc(out / "masks", masks)
    write_imagej_rois(out / "rois.zip", masks)
    for name, table in (("cells", cells), ("tracks", tracks)):
        known = np.full((2, len(table)), np.nan)
        known[0] = np.nan if pixel is None else pixel
        known[1] = np.nan if interval is None else interval
        in_units(table, *known).to_csv(out / f"{name}.csv", index=False)
    return len(tracks)
