"""TIFF, OME-TIFF and ImageJ hyperstacks, read plane by plane."""

import logging
import math
import re
import weakref
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from .source import RecordingError, Source, side_of_square
from .units import MICROMETRES, MINUTES

TIFF_SUFFIXES = (".tif", ".tiff", ".btf")


def open_tiff(path: Path, *, as_shown: bool = True) -> Source:
    """Open a TIFF, OME-TIFF or ImageJ stack; contiguous pixels are memory-mapped, others decoded page by page.

    `as_shown` inverts the grey levels of files whose zero is white.

    If the pictures are stacked along only one axis, it is taken as time unless it is the channel axis: many programs
    write time that way.
    """
    with _faults_of_tifffile() as faults:
        tiff = tifffile.TiffFile(path)
        try:
            source = _tiff_source(tiff, as_shown)
            if faults:  # tifffile logs a missing page and continues with the rest
                raise RecordingError(f"file cannot be read, is it truncated? ({faults[0]})")
        except BaseException:
            tiff.close()
            raise
    weakref.finalize(source.plane, tiff.close)  # the file stays open as long as it can be read from
    return source


class _Collector(logging.Handler):
    """Collects error messages in a list, each as one line."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(" ".join(record.getMessage().split()))


@contextmanager
def _faults_of_tifffile() -> Iterator[list[str]]:
    """Yield a list of the errors that tifffile logs in the block, instead of printing them."""
    faults: list[str] = []
    handler = _Collector(faults)
    logger = tifffile.logger()
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield faults
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def _written_frame_by_frame(tiff: tifffile.TiffFile) -> bool:
    """Whether tifffile appended the grey frames one by one (`append=True`), which makes each a series of its own."""
    first = tiff.series[0]
    alike = all(each.axes == "YX" and (each.shape, each.dtype) == (first.shape, first.dtype) for each in tiff.series)
    return len(tiff.series) > 1 and bool(tiff.is_shaped) and alike


def _tiff_source(tiff: tifffile.TiffFile, as_shown: bool) -> Source:
    """Source of the first series of an open file, or of all series if each is one frame."""
    if not tiff.series:
        return Source(lambda t, c, z: np.empty((0, 0)), 0)
    series = tiff.series[0]
    inverted = as_shown and zero_is_white(series)
    if _written_frame_by_frame(tiff):
        as_seen = invert if inverted else np.asarray
        return Source(lambda t, c, z: as_seen(tiff.series[t].asarray()), len(tiff.series), metadata=tiff_metadata(tiff))
    alike = [other for other in tiff.series if other.shape[-2:] == series.shape[-2:]]  # not a thumbnail or a label
    if len(alike) > 1:
        raise RecordingError(
            f"file must hold one recording, got {len(alike)} series of pictures (positions?): save each as a file"
        )
    odd = [other for other in tiff.series[1:] if other.dtype == series.dtype]
    if sum(len(other.pages) for other in odd) > 1:  # one may be a thumbnail
        raise RecordingError(f"pages must be of one size, got {series.shape[-2:]} and {odd[0].shape[-2:]}")
    layout = _Layout.of(series)
    stack = None
    if series.dataoffset is not None:
        stack = tiff.filehandle.memmap_array(tiff.byteorder + series.dtype.char, layout.shape, series.dataoffset)

    def plane(t: int, c: int, z: int) -> np.ndarray:
        index = layout.index(t, c, z)
        if stack is not None:
            picture = np.asarray(stack[index])
            picture = picture.astype(picture.dtype.newbyteorder("="), copy=False)
        else:
            page = series.pages[int(np.ravel_multi_index(index, layout.counts)) if index else 0]
            if page is None:
                raise RecordingError(f"frame {t} is missing from the file")
            picture = page.asarray()
        picture = np.moveaxis(picture, 0, -1) if layout.colour_first else picture
        return invert(picture) if inverted else picture

    return Source(
        plane,
        layout.sizes.get("T", 1),
        layout.sizes.get("S" if layout.colour else "C", 1),
        layout.sizes.get("Z", 1),
        colour=layout.colour,
        metadata=tiff_metadata(tiff),
    )


def zero_is_white(series: tifffile.TiffPageSeries) -> bool:
    """Whether viewers show low values bright, by the file's photometric interpretation or grey palette.

    Colour palettes are for display only; the stored values are the camera's.
    """
    page = series.keyframe
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        red, green, blue = page.colormap.astype(int)
        return bool((red == green).all() and (green == blue).all() and red[0] > red[-1])
    return bool(page.photometric == tifffile.PHOTOMETRIC.MINISWHITE)


def invert(picture: np.ndarray) -> np.ndarray:
    """Invert the grey levels of a file whose zero is white, so that they are as viewers show them."""
    if picture.dtype.kind == "b":
        return ~picture
    return np.iinfo(picture.dtype).max - picture if picture.dtype.kind == "u" else -picture


@dataclass(frozen=True)
class _Layout:
    """Meaning of the axes of a series.

    Attributes
    ----------
    shape : tuple of int
        Shape of the series.
    lead : str
        Letters of the axes before those of a picture: T, C, Z, or another of length 1.
    sizes : dict
        Length of each axis by its letter.
    colour, colour_first : bool
        Whether a picture is in colour (YXS or SYX), and whether it is SYX.
    """

    shape: tuple[int, ...]
    lead: str
    sizes: dict[str, int]
    colour: bool
    colour_first: bool

    @classmethod
    def of(cls, series: tifffile.TiffPageSeries) -> "_Layout":
        """Interpret the axes' letters; a single axis of pictures longer than 1 is time, whatever its letter but C."""
        axes, shape = series.axes, series.shape
        if axes[-1] not in "SX" and shape[-1] == 1:  # a grey picture written as (height, width, 1)
            axes, shape = axes[:-1], shape[:-1]
        lead = re.split("[SY]", axes)[0]
        colour, colour_first = "S" in axes, axes[len(lead)] == "S"
        sizes = dict(zip(axes, shape, strict=True))
        longer = [place for place in range(len(lead)) if shape[place] > 1]  # by position: axes may share the letter Q
        wide = [lead[place] for place in longer]
        if len(wide) == 1 and wide != ["C"]:
            only = longer[0]
            lead = "".join("T" if place == only else axis.replace("T", "_") for place, axis in enumerate(lead))
            sizes |= {"Z": 1, "T": shape[only]}
        elif set(wide) - set("TZ" if colour else "TCZ"):
            raise RecordingError(f"axes must be among T, C, Z, Y, X, got {series.axes}")
        return cls(shape, lead, sizes, colour, colour_first)

    @property
    def counts(self) -> tuple[int, ...]:
        """Lengths of the leading axes."""
        return self.shape[: len(self.lead)]

    def index(self, t: int, c: int, z: int) -> tuple[int, ...]:
        """Index of a picture along the leading axes."""
        return tuple({"T": t, "C": c, "Z": z}.get(axis, 0) for axis in self.lead)


def _interval_of_planes(pixels: ElementTree.Element) -> float | None:
    """Median interval between frames in minutes, from the times of each plane in OME-XML."""
    times = {
        int(plane.attrib["TheT"]): float(plane.attrib["DeltaT"]) * MINUTES.get(plane.attrib.get("DeltaTUnit", "s"), 0)
        for plane in pixels
        if plane.tag.endswith("}Plane") and {"TheT", "DeltaT"} <= plane.attrib.keys()
    }
    steps = np.diff([times[t] for t in sorted(times)])
    return float(np.median(steps)) if len(steps) else None


def tiff_metadata(tiff: tifffile.TiffFile) -> dict[str, Any]:
    """Pixel size and interval from OME-XML or ImageJ metadata; a plain TIFF's resolution is for print, so ignored."""
    found: dict[str, Any] = {}
    if tiff.ome_metadata:
        pixels = next((e for e in ElementTree.fromstring(tiff.ome_metadata).iter() if e.tag.endswith("}Pixels")), None)
        attributes = pixels.attrib if pixels is not None else {}
        sides = []
        for axis in "XY":
            unit = MICROMETRES.get(attributes.get(f"PhysicalSize{axis}Unit", "µm"))
            sides.append(unit and float(attributes.get(f"PhysicalSize{axis}", 0)) * unit)
        found["pixel_size_um"] = side_of_square(*sides)
        if float(attributes.get("TimeIncrement", 0)) > 0:  # some programs write 0 and the times of the planes
            unit = MINUTES.get(attributes.get("TimeIncrementUnit", "s"))
            found["frame_interval_min"] = unit and float(attributes["TimeIncrement"]) * unit
        elif pixels is not None:
            found["frame_interval_min"] = _interval_of_planes(pixels)
    elif tiff.imagej_metadata:
        notes = tiff.imagej_metadata
        unit = MICROMETRES.get(str(notes.get("unit", "")).replace("\\u00B5", "µ").lower())
        resolutions = [tiff.pages.first.tags.get(f"{axis}Resolution") for axis in "XY"]
        sides = [unit * r.value[1] / r.value[0] if unit and r is not None and r.value[0] else None for r in resolutions]
        found["pixel_size_um"] = side_of_square(*sides)
        unit = MINUTES.get(str(notes.get("tunit", "sec")).strip().lower())
        if unit and float(notes.get("finterval", 0)) > 0:
            found["frame_interval_min"] = float(notes["finterval"]) * unit
    return {key: round(value, 6) for key, value in found.items() if value and math.isfinite(value)}
