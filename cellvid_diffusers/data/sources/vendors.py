"""Microscope vendors' formats, and OME-Zarr, through bioio."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from .source import RecordingError, Source, side_of_square
from .units import MICROMETRES, MINUTES

BIOIO_SUFFIXES = (".nd2", ".czi", ".lif", ".zarr")


def open_bioio(path: Path) -> Source:
    """Open ND2, CZI, LIF or OME-Zarr through bioio and its plugins, to be read plane by plane."""
    try:
        from bioio import BioImage
    except ImportError:
        raise RecordingError(f"{path.suffix} files need bioio: pip install 'cellvid-diffusers[bioio]'") from None
    image = BioImage(path)
    if len(image.scenes) > 1:
        raise RecordingError(f"file must hold one scene, got {len(image.scenes)}: save each as a file of its own")
    found: dict[str, Any] = {}
    units, interval = image.dimension_properties, image.time_interval
    size = side_of_square(image.physical_pixel_sizes.X, image.physical_pixel_sizes.Y)
    if size and (unit := MICROMETRES.get(str(units.X.unit or "µm"))):
        found["pixel_size_um"] = round(float(size) * unit, 6)
    if isinstance(interval, timedelta):
        found["frame_interval_min"] = round(interval.total_seconds() / 60, 6)
    elif interval and (unit := MINUTES.get(str(units.T.unit))):
        found["frame_interval_min"] = round(float(interval) * unit, 6)

    def plane(t: int, c: int, z: int) -> np.ndarray:
        return image.get_image_dask_data("YX", T=t, C=c, Z=z).compute()

    return Source(plane, image.dims.T, image.dims.C, image.dims.Z, metadata=found)
