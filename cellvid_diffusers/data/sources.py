"""File formats behind one face: a `Source` gives the plane at a time, channel and depth, whatever wrote the file."""

import logging
import math
import re
import weakref
import xml.etree.ElementTree as ElementTree
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from itertools import dropwhile
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import tifffile

TIFF_SUFFIXES = (".tif", ".tiff", ".btf")
VIDEO_SUFFIXES = (".avi", ".mp4", ".mov", ".mkv")
BIOIO_SUFFIXES = (".nd2", ".czi", ".lif", ".zarr")
PICTURE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
MICROMETRES = {"nm": 1e-3, "nanometer": 1e-3, "µm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0}
MICROMETRES |= {"μm": 1.0, "micrometre": 1.0, "mm": 1e3, "millimeter": 1e3, "cm": 1e4}  # with the Greek letter, too
MINUTES = {
    name: minutes
    for minutes, names in (
        (1 / 60_000, "ms msec millisecond milliseconds"),
        (1 / 60, "s sec secs second seconds"),
        (1.0, "min mins minute minutes"),
        (60.0, "h hr hrs hour hours"),
    )
    for name in names.split()
}


class RecordingError(ValueError):
    """What is wrong with a recording, in one line."""


@dataclass(frozen=True)
class Source:
    """An open recording.

    Attributes
    ----------
    plane : callable
        `plane(t, c, z)` reads one picture, `(H, W)`, or `(H, W, num_channels)`, red first, where `colour`.
    num_frames, num_channels, num_planes : int
    colour : bool
        A picture holds all channels.
    metadata : dict
        `pixel_size_um` and `frame_interval_min` where the file states them.
    """

    plane: Callable[[int, int, int], np.ndarray]
    num_frames: int
    num_channels: int = 1
    num_planes: int = 1
    colour: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)


def open_source(path: Path) -> Source:
    """The recording at `path`, by suffix; a folder without one is numbered pictures."""
    suffix = path.suffix.lower()
    if suffix in BIOIO_SUFFIXES:
        return open_bioio(path)
    if path.is_dir():
        return open_numbered(path)
    if suffix in TIFF_SUFFIXES:
        return open_tiff(path)
    if suffix in VIDEO_SUFFIXES:
        return open_video(path)
    known = ", ".join(TIFF_SUFFIXES + VIDEO_SUFFIXES + BIOIO_SUFFIXES)
    raise RecordingError(f"recording must be a folder or one of {known}, got {suffix or 'a name without suffix'}")


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
        return Source(lambda t, c, z: tiff.series[t].asarray(), len(tiff.series), metadata=_tiff_metadata(tiff))
    alike = [other for other in tiff.series if other.shape[-2:] == series.shape[-2:]]  # not a thumbnail or a label
    if len(alike) > 1:
        raise RecordingError(
            f"file must hold one recording, got {len(alike)} series of pictures (positions?): save each as a file"
        )
    axes, shape = series.axes, series.shape
    if axes[-1] not in "SX" and shape[-1] == 1:  # a grey picture written as (height, width, 1)
        axes, shape = axes[:-1], shape[:-1]
    lead = re.split("[SY]", axes)[0]  # axes that count pictures: a picture is YX, or in colour YXS or SYX
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
    counts = shape[: len(lead)]
    stack = None
    if series.dataoffset is not None:
        stack = tiff.filehandle.memmap_array(tiff.byteorder + series.dtype.char, shape, series.dataoffset)

    def plane(t: int, c: int, z: int) -> np.ndarray:
        index = tuple({"T": t, "C": c, "Z": z}.get(axis, 0) for axis in lead)
        if stack is not None:
            picture = np.asarray(stack[index])
            picture = picture.astype(picture.dtype.newbyteorder("="), copy=False)
        else:
            page = series.pages[int(np.ravel_multi_index(index, counts)) if lead else 0]
            if page is None:
                raise RecordingError(f"frame {t} is missing from the file")
            picture = page.asarray()
        return np.moveaxis(picture, 0, -1) if colour_first else picture

    return Source(
        plane,
        sizes.get("T", 1),
        sizes.get("S" if colour else "C", 1),
        sizes.get("Z", 1),
        colour=colour,
        metadata=_tiff_metadata(tiff),
    )


def _tiff_metadata(tiff: tifffile.TiffFile) -> dict[str, Any]:
    """Pixel size and interval as OME-XML or ImageJ state them; a plain TIFF's resolution is print size, not read."""
    found: dict[str, Any] = {}
    if tiff.ome_metadata:
        pixels = next((e for e in ElementTree.fromstring(tiff.ome_metadata).iter() if e.tag.endswith("}Pixels")), None)
        attributes = pixels.attrib if pixels is not None else {}
        if "PhysicalSizeX" in attributes:
            unit = MICROMETRES.get(attributes.get("PhysicalSizeXUnit", "µm"))
            found["pixel_size_um"] = unit and float(attributes["PhysicalSizeX"]) * unit
        if "TimeIncrement" in attributes:
            unit = MINUTES.get(attributes.get("TimeIncrementUnit", "s"))
            found["frame_interval_min"] = unit and float(attributes["TimeIncrement"]) * unit
    elif tiff.imagej_metadata:
        notes = tiff.imagej_metadata
        unit = MICROMETRES.get(str(notes.get("unit", "")).replace("\\u00B5", "µ"))
        resolution = tiff.pages.first.tags.get("XResolution")
        if unit and resolution is not None and resolution.value[0]:
            found["pixel_size_um"] = unit * resolution.value[1] / resolution.value[0]
        unit = MINUTES.get(str(notes.get("tunit", "sec")).strip().lower())
        if unit and float(notes.get("finterval", 0)) > 0:
            found["frame_interval_min"] = float(notes["finterval"]) * unit
    return {key: round(value, 6) for key, value in found.items() if value and math.isfinite(value)}


def open_video(path: Path) -> Source:
    """AVI, MP4 or MOV through PyAV. A video knows nothing of the microscope: its frame rate is for the screen.

    A frame is decoded from the key frame before it, or from where the last reading ended if that is nearer.
    """
    frames = _VideoFrames(path, _index_video(str(path), path.stat().st_mtime_ns))
    return Source(lambda t, c, z: frames.read(t), frames.index.num_frames, num_channels=3, colour=True)


@dataclass(frozen=True)
class _VideoIndex:
    """Time stamps of a video's frames in order, and numbers of its key frames; both empty if the file lacks stamps."""

    num_frames: int
    stamps: tuple[int, ...]
    keys: tuple[int, ...]


@lru_cache(maxsize=8)
def _index_video(path: str, changed: int) -> _VideoIndex:
    """Go through a file's packets, decoding none; `changed`, when it was written, keeps an older file's index away."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        packets = [(p.pts, p.is_keyframe) for p in container.demux(stream) if p.size and not p.is_discard]
        num_frames = stream.frames or len(packets)
    stamped = sorted({(pts, is_key) for pts, is_key in packets if pts is not None})
    if not stamped or len(stamped) < num_frames:
        return _VideoIndex(num_frames, (), ())
    stamps, is_key = zip(*stamped, strict=True)
    return _VideoIndex(num_frames, stamps, tuple(np.flatnonzero(is_key).tolist()))


class _VideoFrames:
    """Frames of a video by number."""

    def __init__(self, path: Path, index: _VideoIndex) -> None:
        self.path, self.index = path, index
        self._next: float = math.inf  # number of the frame that the decoder gives next
        self._decoder: Iterator[Any] = iter(())

    def read(self, t: int) -> np.ndarray:
        """Frame `t` as `(H, W, 3)`."""
        key = bisect_right(self.index.keys, t) - 1
        if key >= 0 and not self.index.keys[key] <= self._next <= t:
            self._seek(self.index.keys[key])
        elif self._next > t:
            self._decoder, self._next = av.open(str(self.path)).decode(video=0), 0
        for frame in self._decoder:
            self._next += 1
            if self._next == t + 1:
                return frame.to_ndarray(format="rgb24")
        self._next = math.inf
        raise RecordingError(f"frame {t} is missing, is the file truncated?")

    def _seek(self, key: int) -> None:
        """Let the decoder go on at a key frame. Frames that a seek gives before it are passed over."""
        container = av.open(str(self.path))
        stamp = self.index.stamps[key]
        container.seek(stamp, stream=container.streams.video[0])
        self._decoder = dropwhile(lambda frame: frame.pts is None or frame.pts < stamp, container.decode(video=0))
        self._next = key


def open_numbered(path: Path) -> Source:
    """A folder of pictures, a frame each, in the order of the last number in their names (t000.tif, t001.tif, ...)."""
    pictures = [p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and re.search(r"\d", p.stem)]
    pictures.sort(key=lambda p: (int(re.findall(r"\d+", p.stem)[-1]), p.name))
    numbers = [int(re.findall(r"\d+", p.stem)[-1]) for p in pictures]
    if len(set(numbers)) < len(numbers):
        raise RecordingError("numbered pictures must have different numbers, got several series in one folder")
    if numbers and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        missing = next(n for n in range(numbers[0], numbers[-1]) if n not in numbers)
        raise RecordingError(f"numbered pictures must leave no gap, number {missing} is missing")

    def plane(t: int, c: int, z: int) -> np.ndarray:
        return _read_picture(pictures[t])

    shape = plane(0, 0, 0).shape if pictures else ()
    return Source(plane, len(pictures), num_channels=shape[2] if len(shape) == 3 else 1, colour=len(shape) == 3)


def _read_picture(path: Path) -> np.ndarray:
    """A file with one picture, `(H, W)`, or `(H, W, 3 or 4)` with red first."""
    if path.suffix.lower() not in TIFF_SUFFIXES:
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if picture is None:
            raise RecordingError(f"{path.name} is no picture")
        if picture.ndim == 2:
            return picture
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB if picture.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    with tifffile.TiffFile(path) as tiff:
        picture, axes = tiff.series[0].asarray(), tiff.series[0].axes
    others = tuple(place for place, axis in enumerate(axes) if axis not in "YXS")
    if any(picture.shape[place] > 1 for place in others):
        raise RecordingError(f"numbered pictures must hold one plane each, got shape {picture.shape}")
    plane = picture.squeeze(others)
    return np.moveaxis(plane, 0, -1) if "S" in axes and not axes.endswith("S") else plane


def open_bioio(path: Path) -> Source:
    """ND2, CZI, LIF or OME-Zarr through bioio and its plugins, plane by plane; the first scene of the file."""
    try:
        from bioio import BioImage
    except ImportError:
        raise RecordingError(f"{path.suffix} files need bioio: pip install 'cellvid-diffusers[bioio]'") from None
    image = BioImage(path)
    found: dict[str, Any] = {}
    units, size, interval = image.dimension_properties, image.physical_pixel_sizes.X, image.time_interval
    if size and (unit := MICROMETRES.get(str(units.X.unit or "µm"))):
        found["pixel_size_um"] = round(float(size) * unit, 6)
    if isinstance(interval, timedelta):
        found["frame_interval_min"] = round(interval.total_seconds() / 60, 6)
    elif interval and (unit := MINUTES.get(str(units.T.unit))):
        found["frame_interval_min"] = round(float(interval) * unit, 6)

    def plane(t: int, c: int, z: int) -> np.ndarray:
        return image.get_image_dask_data("YX", T=t, C=c, Z=z).compute()

    return Source(plane, image.dims.T, image.dims.C, image.dims.Z, metadata=found)
