"""Recordings on disk as lazily read grey video.

A recording is `(F, H, W)`: F frames of H x W pixels. A frame is read from disk when it is requested, cropped to
`region` and downscaled by the mean of `downscale` x `downscale` pixels, so a recording of any size takes the memory of
one frame.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .patches import pixel_noise
from .sources import BIOIO_SUFFIXES, TIFF_SUFFIXES, VIDEO_SUFFIXES, RecordingError, Source, open_source

# Lossy codecs leave a trace of colour in grey pictures; a wider spread of R, G and B than this is true colour. It is
# relative to 255 in 8-bit pictures, else to the picture's own range, as other types seldom use their full range.
GREY_TOLERANCE = 24 / 255


class LazyFrames:
    """Frames read on demand, indexed like an array: `frames[3]` is `(H, W)`, `frames[2:9]` is `(n, H, W)`.

    Parameters
    ----------
    read : callable
        `read(i)` returns frame `i` as `(H, W)`, before cropping and downscaling.
    num_frames : int
    region : (y0, y1, x0, x1), optional
        Part of the frame to keep, in pixels of the file.
    downscale : int
        Side of the square of pixels whose mean becomes one pixel.
    labels : bool
        Pixels are instance labels: a pixel near the middle of each square is taken instead of the mean.
    """

    def __init__(
        self,
        read: Callable[[int], np.ndarray],
        num_frames: int,
        *,
        region: Sequence[int] | None = None,
        downscale: int = 1,
        labels: bool = False,
    ):
        self._read, self._num_frames, self._downscale, self._labels = read, num_frames, downscale, labels
        first = read(0)
        height, width = first.shape
        y0, y1, x0, x1 = region if region is not None else (0, height, 0, width)
        if not (0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width):
            raise ValueError(f"region must lie inside {height}x{width} pixels, got {[y0, y1, x0, x1]}")
        rows, columns = (y1 - y0) // downscale, (x1 - x0) // downscale
        if not rows or not columns:
            raise ValueError(f"downscale must not exceed the frame's sides {y1 - y0}x{x1 - x0}, got {downscale}")
        self._window = slice(y0, y0 + rows * downscale), slice(x0, x0 + columns * downscale)
        self._full = first.shape
        self.shape = (num_frames, rows, columns)
        self.dtype = first.dtype

    def __len__(self) -> int:
        return self._num_frames

    def __getitem__(self, key: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        if isinstance(key, slice):
            key = range(*key.indices(self._num_frames))
        if not isinstance(key, int | np.integer):
            return np.stack([self[int(i)] for i in key])
        index = int(key) + (self._num_frames if key < 0 else 0)
        if not 0 <= index < self._num_frames:
            raise IndexError(f"frame must lie in 0..{self._num_frames - 1}, got {key}")
        frame = self._read(index)
        if frame.shape != self._full:
            raise ValueError(f"frames must be of one size, got {self._full} and, in frame {index}, {frame.shape}")
        if frame.dtype != self.dtype:
            raise ValueError(f"frames must be of one type, got {self.dtype} and, in frame {index}, {frame.dtype}")
        frame = np.ascontiguousarray(frame[self._window])
        if self._downscale == 1:
            return frame
        if self._labels:
            return frame[self._downscale // 2 :: self._downscale, self._downscale // 2 :: self._downscale]
        return cv2.resize(frame, self.shape[:0:-1], interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class Recording:
    """A recording with the metadata from its file; unknown values are None.

    Attributes
    ----------
    name : str
    frames : LazyFrames
        `(F, H, W)`, uint8, uint16 or float32, as in the file.
    pixel_size_um : float or None
        Side of a pixel of `frames` in micrometres, after downscaling.
    frame_interval_min : float or None
        Time between frames in minutes.
    """

    name: str
    frames: LazyFrames
    pixel_size_um: float | None = None
    frame_interval_min: float | None = None

    @cached_property
    def intensity_range(self) -> tuple[float, float]:
        """Values that become 0 and 255: the limits of uint8 for 8-bit files, else the 0.1th and 99.9th percentile
        of up to 32 evenly spaced frames, or their extremes if the percentiles are equal."""
        if self.frames.dtype == np.uint8:
            return 0.0, 255.0
        least, low, high, most = self._percentiles
        if high == low:
            low, high = least, most
        return low, high if high > low else low + 1.0

    @property
    def saturated_values(self) -> tuple[int, ...]:
        """Values returned by `read` at which the camera may have saturated: 0 and 255; where values are rescaled, only
        the ends of the range beyond which the recording has no values."""
        if self.frames.dtype == np.uint8:
            return 0, 255
        least, low, high, most = self._percentiles
        return (0,) * (low == least) + (255,) * (high == most)

    @cached_property
    def _percentiles(self) -> tuple[float, float, float, float]:
        """Minimum, 0.1th and 99.9th percentile, and maximum of up to 32 evenly spaced frames."""
        shares, indices = (0, 0.1, 99.9, 100), self.sample_indices(32)
        if self.frames.dtype != np.uint16:
            least, low, high, most = np.percentile(self.frames[indices], shares)
            return float(least), float(low), float(high), float(most)
        counts = np.zeros(2**16, np.int64)  # one frame at a time: a sample of large frames takes gigabytes
        for index in indices:
            counts += np.bincount(self.frames[int(index)].ravel(), minlength=2**16)
        cumulative = counts.cumsum()
        places = np.array(shares) / 100 * (cumulative[-1] - 1)
        below, above = (np.searchsorted(cumulative, np.floor(places) + step, side="right") for step in (0, 1))
        above = np.where(places % 1 > 0, above, below)
        least, low, high, most = below + (above - below) * (places % 1)
        return float(least), float(low), float(high), float(most)

    def sample_indices(self, count: int) -> np.ndarray:
        """Up to `count` evenly spaced frame indices, including the first and last."""
        return np.unique(np.linspace(0, len(self.frames) - 1, count).astype(int))

    def read(
        self, key: slice | Sequence[int] | np.ndarray, *, intensity_range: tuple[float, float] | None = None
    ) -> np.ndarray:
        """Frames `key` as uint8 `(n, H, W)`; values outside `intensity_range`, by default the recording's own, are
        clipped."""
        frames = self.frames[key]
        if frames.dtype == np.uint8:
            return frames
        scale = intensity_range or self.intensity_range
        return np.stack([scale_to_bytes(frame, scale) for frame in frames])  # one float picture at a time


def scale_to_bytes(frames: np.ndarray, intensity_range: tuple[float, float]) -> np.ndarray:
    """Frames as uint8: the ends of `intensity_range` become 0 and 255, and values beyond them are clipped."""
    low, high = intensity_range
    scaled = (frames.astype(np.float32) - low) * np.float32(255.0 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def recording_name(path: Path) -> str:
    """Name of a file without its format's suffix (`.avi`, `.ome.tif`), or of a folder of pictures."""
    is_format = path.suffix.lower() in TIFF_SUFFIXES + VIDEO_SUFFIXES + BIOIO_SUFFIXES
    return re.sub(r"\.ome$", "", path.stem if is_format else path.name, flags=re.IGNORECASE)


def read_recording(
    path: str | Path,
    *,
    channel: int | None = None,
    z: int | str | None = None,
    region: Sequence[int] | None = None,
    downscale: int = 1,
) -> Recording:
    """Open a recording without reading its frames.

    Parameters
    ----------
    path : path
        TIFF, OME-TIFF or ImageJ stack; AVI, MP4 or MOV; a folder of numbered pictures; with the extra `bioio`
        ND2, CZI, LIF or OME-Zarr.
    channel : int, optional
        Channel to read; required if the file has several, or true colour.
    z : int, "max" or "mean", optional
        Plane to read, or the projection over planes; required if the file has several planes.
    region : (y0, y1, x0, x1), optional
        Part of each frame, in pixels of the file.
    downscale : int
        Each `downscale` x `downscale` square of pixels becomes its mean.

    Returns
    -------
    Recording

    Raises
    ------
    ValueError
        If the file is missing, empty, truncated or of unknown kind, contains NaN or colour, or has several channels or
        planes and none is chosen. The message is one line.
    """
    path = Path(path)
    source, frames = _open(path, channel=channel, z=z, region=region, downscale=downscale)
    pixel_size = source.metadata.get("pixel_size_um")
    return Recording(
        name=recording_name(path),
        frames=frames,
        pixel_size_um=pixel_size and pixel_size * downscale,
        frame_interval_min=source.metadata.get("frame_interval_min"),
    )


def read_masks(path: str | Path, *, region: Sequence[int] | None = None, downscale: int = 1) -> LazyFrames:
    """Instance masks `(F, H, W)`, 0 = background, read lazily from a stack or a folder of numbered pictures."""
    return _open(Path(path), region=region, downscale=downscale, labels=True)[1]


def _open(
    path: Path,
    *,
    channel: int | None = None,
    z: int | str | None = None,
    downscale: int = 1,
    labels: bool = False,
    **options: Any,
) -> tuple[Source, LazyFrames]:
    """Open a file and its frames. Any fault raises `ValueError` with one line that begins with the file's name."""
    if downscale < 1:
        raise ValueError(f"downscale must be at least 1, got {downscale}")
    if not path.exists():
        raise ValueError(f"{path.name}: recording must exist, got {path}")
    try:
        source = open_source(path, as_shown=not labels)
    except RecordingError as error:
        raise RecordingError(f"{path.name}: {_one_line(error)}") from None
    except Exception as error:  # each library fails in its own way on a damaged file
        raise RecordingError(f"{path.name}: file cannot be read, is it truncated? ({_one_line(error)})") from None
    try:
        if source.num_frames < 1:
            raise ValueError("recording must hold at least one frame, got none")
        read = _frame_reader(source, channel, z, path.name)
        return source, LazyFrames(read, source.num_frames, downscale=downscale, labels=labels, **options)
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith(path.name) else f"{path.name}: {error}") from None


def _frame_reader(source: Source, channel: int | None, z: int | str | None, name: str) -> Callable[[int], np.ndarray]:
    """Return `read(i)` for the chosen channel and plane; each frame is checked as it is read."""
    channels = source.num_channels
    if channel is None and channels > 1 and not source.colour:
        raise ValueError(f"channel must be chosen from 0..{channels - 1}, the file holds {channels}")
    if channel is not None and not 0 <= channel < channels:
        raise ValueError(f"channel must lie in 0..{channels - 1}, got {channel}")
    if z not in (None, "max", "mean") and not (isinstance(z, int) and 0 <= z < source.num_planes):
        raise ValueError(f"z must be 'max', 'mean' or a plane in 0..{source.num_planes - 1}, got {z}")
    if z is None and source.num_planes > 1:
        raise ValueError(f"z must be chosen from 0..{source.num_planes - 1}, 'max' or 'mean'")
    planes = range(source.num_planes) if isinstance(z, str) else [z or 0]

    def read(index: int) -> np.ndarray:
        try:
            stack = [source.plane(index, 0 if source.colour else channel or 0, plane) for plane in planes]
        except Exception as error:
            raise ValueError(
                f"{name}: frame {index} cannot be read, is the file truncated? ({_one_line(error)})"
            ) from None
        if source.colour:
            stack = [_grey(picture, channel, name) for picture in stack]
        picture = stack[0]
        if len(stack) > 1:
            picture = (np.max if z == "max" else np.mean)(stack, axis=0)
            if np.issubdtype(stack[0].dtype, np.integer):  # a mean of 8-bit planes keeps their range
                picture = np.rint(picture).astype(stack[0].dtype)
        if picture.ndim != 2 or not picture.size:
            raise ValueError(f"{name}: a frame must be a picture (height, width), got shape {picture.shape}")
        if picture.dtype not in (np.uint8, np.uint16):
            picture = picture.astype(np.float32)
            if not np.isfinite(picture).all():
                raise ValueError(f"{name}: pixels must be finite, got NaN or infinity in frame {index}")
        return picture

    return read


def _grey(picture: np.ndarray, channel: int | None, name: str) -> np.ndarray:
    """One channel of a colour picture `(H, W, 3 or 4)`: the chosen one, or green if all are about equal."""
    if channel is not None:
        return picture[..., channel]
    colours = picture[..., :3].astype(np.float32)
    tolerance = GREY_TOLERANCE * 255
    if picture.dtype != np.uint8:  # noise separates channels by up to 4 deviations, much for a flat picture
        low, high = (float(value) for value in np.percentile(colours, (0.1, 99.9)))
        tolerance = max(GREY_TOLERANCE * (high - low), 6 * pixel_noise(colours))
    spread = np.percentile(colours.max(-1) - colours.min(-1), 99)
    if spread > tolerance:
        raise ValueError(f"{name}: frames must be grey, got colours {spread:.3g} apart: choose a channel")
    return picture[..., 1]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
