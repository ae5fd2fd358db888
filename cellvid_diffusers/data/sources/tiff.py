"""TIFF, OME-TIFF and ImageJ's hyperstacks, plane by plane."""

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


def open_tiff(path: Path) -> Source:
    """TIFF, OME-TIFF or ImageJ stack; contiguous pixels are mapped, others decoded page by page.

    Where a file has no time axis and one axis that counts pictures, that axis is time: many programs write it so.
    """
    with _faults_of_tifffile() as faults:
        tiff = tifffile.TiffFile(path)
        try:
            source = _tiff_source(tiff)
            if faults:  # tifffile logs a missing page and goes on with what there is
                raise RecordingError(f"file cannot be read, is it truncated? ({faults[0]})")
        except BaseException:
            tiff.close()
            raise
    weakref.finalize(source.plane, tiff.close)  # the file stays open as long as somebody may read from it
    return source


class _Collector(logging.Handler):
    """Puts error messages, each on one line, into a list."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(" ".join(record.getMessage().split()))


@contextmanager
def _faults_of_tifffile() -> Iterator[list[str]]:
    """What tifffile logs as errors in the block, instead of printing it."""
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
    """Whether tifffile wrote each grey frame by itself into one file (`append=True`), which makes a series of each."""
    first = tiff.series[0]
    alike = all(each.axes == "YX" and (each.shape, each.dtype) == (first.shape, first.dtype) for each in tiff.series)
    return len(tiff.series) > 1 and bool(tiff.is_shaped) and alike


def _tiff_source(tiff: tifffile.TiffFile) -> Source:
    """The first series of an open file."""
    if not tiff.series:
        return Source(lambda t, c, z: np.empty((0, 0)), 0)
    series = tiff.series[0]
    if _written_frame_by_frame(tiff):
        as_seen = invert if zero_is_white(series) else np.asarray
        return Source(lambda t, c, z: as_seen(tiff.series[t].asarray()), len(tiff.series), metadata=tiff_metadata(tiff))
    alike = [other for other in tiff.series if other.shape[-2:] == series.shape[-2:]]  # not a thumbnail or a label
    if len(alike) > 1:
        raise RecordingError(
            f"file must hold one recording, got {len(alike)} series of pictures (positions?): save each as a file"
        )
    layout = _Layout.of(series)
    inverted = zero_is_white(series)
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
    """Whether viewers show a low value bright: by the file's photometric interpretation, or by its palette of greys.

    Palettes of colours are for the screen; what is stored under them are the camera's values.
    """
    page = series.keyframe
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        red, green, blue = page.colormap.astype(int)
        return bool((red == green).all() and (green == blue).all() and red[0] > red[-1])
    return bool(page.photometric == tifffile.PHOTOMETRIC.MINISWHITE)


def invert(picture: np.ndarray) -> np.ndarray:
    """Grey levels of a file whose zero is white, as viewers show them."""
    return np.iinfo(picture.dtype).max - picture if picture.dtype.kind == "u" else -picture


@dataclass(frozen=True)
class _Layout:
    """What the axes of a series stand for.

    Attributes
    ----------
    shape : tuple of int
        Of the series.
    lead : str
        A letter for each axis that counts pictures: T, C, Z, or another of length 1.
    sizes : dict
        Length by letter.
    colour, colour_first : bool
        A picture is YXS, or SYX.
    """

    shape: tuple[int, ...]
    lead: str
    sizes: dict[str, int]
    colour: bool
    colour_first: bool

    @classmethod
    def of(cls, series: tifffile.TiffPageSeries) -> "_Layout":
        """Read the axes' letters; the only long one that counts pictures is time, whatever it is called."""
        axes, shape = series.axes, series.shape
        if axes[-1] not in "SX" and shape[-1] == 1:  # a grey picture written as (height, width, 1)
            axes, shape = axes[:-1], shape[:-1]
        lead = re.split("[SY]", axes)[0]
        colour, colour_first = "S" in axes, axes[len(lead)] == "S"
        sizes = dict(zip(axes, shape, strict=True))
        longer = [place for place in range(len(lead)) if shape[place] > 1]  # by place: plain files call several Q
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
        """Lengths of the axes that count pictures."""
        return self.shape[: len(self.lead)]

    def index(self, t: int, c: int, z: int) -> tuple[int, ...]:
        """Place of a picture along them."""
        return tuple({"T": t, "C": c, "Z": z}.get(axis, 0) for axis in self.lead)


def _interval_of_planes(pixels: ElementTree.Element) -> float | None:
    """Minutes between frames, the median, from the times that OME-XML states of each plane."""
    times = {
        int(plane.attrib["TheT"]): float(plane.attrib["DeltaT"]) * MINUTES.get(plane.attrib.get("DeltaTUnit", "s"), 0)
        for plane in pixels
        if plane.tag.endswith("}Plane") and {"TheT", "DeltaT"} <= plane.attrib.keys()
    }
    steps = np.diff([times[t] for t in sorted(times)])
    return float(np.median(steps)) if len(steps) else None


def tiff_metadata(tiff: tifffile.TiffFile) -> dict[str, Any]:
    """Pixel size and interval as OME-XML or ImageJ state them; a plain TIFF's resolution is print size, not read."""
    found: dict[str, Any] = {}
    if tiff.ome_metadata:
        pixels = next((e for e in ElementTree.fromstring(tiff.ome_metadata).iter() if e.tag.endswith("}Pixels")), None)
        attributes = pixels.attrib if pixels is not None else {}
        sides = []
        for axis in "XY":
            unit = MICROMETRES.get(attributes.get(f"PhysicalSize{axis}Unit", "µm"))
            sides.append(unit and float(attributes.get(f"PhysicalSize{axis}", 0)) * unit)
        found["pixel_size_um"] = side_of_square(*sides)
        if "TimeIncrement" in attributes:
            unit = MINUTES.get(attributes.get("TimeIncrementUnit", "s"))
            found["frame_interval_min"] = unit and float(attributes["TimeIncrement"]) * unit
        elif pixels is not None:
            found["frame_interval_min"] = _interval_of_planes(pixels)
    elif tiff.imagej_metadata:
        notes = tiff.imagej_metadata
        unit = MICROMETRES.get(str(notes.get("unit", "")).replace("\\u00B5", "µ"))
        resolutions = [tiff.pages.first.tags.get(f"{axis}Resolution") for axis in "XY"]
        sides = [unit * r.value[1] / r.value[0] if unit and r is not None and r.value[0] else None for r in resolutions]
        found["pixel_size_um"] = side_of_square(*sides)
        unit = MINUTES.get(str(notes.get("tunit", "sec")).strip().lower())
        if unit and float(notes.get("finterval", 0)) > 0:
            found["frame_interval_min"] = float(notes["finterval"]) * unit
    return {key: round(value, 6) for key, value in found.items() if value and math.isfinite(value)}
