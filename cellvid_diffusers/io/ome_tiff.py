"""OME-TIFF: the stack with its pixel size and frame interval, for Fiji, napari and Bio-Formats.

Reference: https://docs.openmicroscopy.org/ome-model/6.3.1/ome-tiff/specification.html
"""

from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import tifffile

from .atomic import replacing
from .pixels import to_uint8


class OmeVideo(NamedTuple):
    """A clip `(F, H, W)` with the side of a pixel in micrometres and the minutes between frames, None if unknown."""

    video: np.ndarray
    pixel_size_um: float | None
    frame_interval_min: float | None


def write_ome_tiff(
    path: str | Path,
    video: np.ndarray,
    *,
    pixel_size_um: float | None = None,
    frame_interval_min: float | None = None,
) -> None:
    """Write a clip as an uncompressed 8-bit OME-TIFF with axes TYX.

    Parameters
    ----------
    path : path
        Usually `*.ome.tif`.
    video : ndarray
        `(F, H, W)`, uint8, or floating point in [0, 1].
    pixel_size_um : float, optional
        Side of a pixel in micrometres.
    frame_interval_min : float, optional
        Time between frames in minutes.

    Raises
    ------
    ValueError
        If the video or a size is out of range.
    OSError
        If the file cannot be written; an earlier file of this name is kept.
    """
    video = to_uint8(video)
    metadata: dict[str, object] = {"axes": "TYX", "Name": Path(path).name.removesuffix(".ome.tif")}
    metadata |= scale_metadata(pixel_size_um, frame_interval_min)
    with replacing(path) as temporary:
        tifffile.imwrite(temporary, video, ome=True, photometric="minisblack", metadata=metadata)


def scale_metadata(pixel_size_um: float | None, frame_interval_min: float | None) -> dict[str, object]:
    """OME metadata of pixel size and frame interval, as far as they are known."""
    metadata: dict[str, object] = {}
    for name, value in (("pixel_size_um", pixel_size_um), ("frame_interval_min", frame_interval_min)):
        if value is not None and not (value > 0 and np.isfinite(value)):
            raise ValueError(f"{name} must be positive and finite, got {value}")
    if pixel_size_um is not None:
        for axis in "XY":
            metadata |= {f"PhysicalSize{axis}": pixel_size_um, f"PhysicalSize{axis}Unit": "µm"}
    if frame_interval_min is not None:
        metadata |= {"TimeIncrement": frame_interval_min, "TimeIncrementUnit": "min"}
    return metadata


def read_ome_tiff(path: str | Path) -> OmeVideo:
    """Read a file written by `write_ome_tiff`.

    Use `cellvid_diffusers.data.read_recording` for other OME-TIFF files.

    Parameters
    ----------
    path : path

    Returns
    -------
    OmeVideo
        `(video, pixel_size_um, frame_interval_min)`.

    Raises
    ------
    ValueError
        If the file is not an OME-TIFF with axes TYX, or YX for a clip of one frame.
    """
    try:
        with tifffile.TiffFile(path) as file:
            axes = file.series[0].axes if file.ome_metadata else "no OME metadata"
            if axes not in ("TYX", "YX"):
                raise ValueError(f"an OME-TIFF with axes TYX is wanted, got {path} ({axes})")
            video, xml = file.asarray(), file.ome_metadata or ""
    except tifffile.TiffFileError as error:
        raise ValueError(f"an OME-TIFF with axes TYX is wanted, got {path} ({error})") from error
    (pixels,) = ElementTree.fromstring(xml).findall("{*}Image/{*}Pixels")
    known = {name: float(value) for name, value in pixels.attrib.items() if name in ("PhysicalSizeX", "TimeIncrement")}
    video = video.reshape(-1, *video.shape[-2:])
    return OmeVideo(video, known.get("PhysicalSizeX"), known.get("TimeIncrement"))
