"""Video files, read frame by frame in any order."""

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import dropwhile
from pathlib import Path
from typing import Any

import av
import numpy as np

from .source import RecordingError, Source

VIDEO_SUFFIXES = (".avi", ".mp4", ".mov", ".mkv")


def open_video(path: Path) -> Source:
    """Open AVI, MP4, MOV or MKV through PyAV. There is no microscope metadata: the frame rate is that of playback.

    A frame is decoded from the key frame before it, or from where the last read ended if that is nearer. Grey pictures
    of more than 8 bits are read as uint16, all others as colour.
    """
    index = _index_video(str(path), path.stat().st_mtime_ns)
    frames, colour = _VideoFrames(path, index), index.format == "rgb24"
    return Source(lambda t, c, z: frames.read(t), index.num_frames, num_channels=3 if colour else 1, colour=colour)


@dataclass(frozen=True)
class _VideoIndex:
    """Time stamps of a video's frames in order, and indices of its key frames; both empty without time stamps. `format`
    is that of the pixels to read."""

    num_frames: int
    format: str
    stamps: tuple[int, ...]
    keys: tuple[int, ...]


@lru_cache(maxsize=8)
def _index_video(path: str, changed: int) -> _VideoIndex:
    """Index a file's packets without decoding; the modification time `changed` is only part of the cache key."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        packets = [(p.pts, p.is_keyframe) for p in container.demux(stream) if p.size and not p.is_discard]
        kind = stream.codec_context.pix_fmt or ""
        num_frames = len(packets) or stream.frames  # the header also counts frames that were trimmed
    pixels = "gray16le" if kind.startswith("gray") and kind != "gray" else "rgb24"
    stamped = sorted({(pts, is_key) for pts, is_key in packets if pts is not None})
    if not stamped or len(stamped) < num_frames:
        return _VideoIndex(num_frames, pixels, (), ())
    stamps, is_key = zip(*stamped, strict=True)
    return _VideoIndex(num_frames, pixels, stamps, tuple(np.flatnonzero(is_key).tolist()))


class _VideoFrames:
    """Frames of a video by index."""

    def __init__(self, path: Path, index: _VideoIndex) -> None:
        self.path, self.index = path, index
        self._next: float = math.inf  # index of the frame that the decoder returns next
        self._decoder: Iterator[Any] = iter(())

    def read(self, t: int) -> np.ndarray:
        """Frame `t` as `(H, W, 3)` uint8, or `(H, W)` uint16."""
        key = bisect_right(self.index.keys, t) - 1
        if key >= 0 and not self.index.keys[key] <= self._next <= t:
            self._seek(self.index.keys[key])
        elif self._next > t:
            self._decoder, self._next = av.open(str(self.path)).decode(video=0), 0
        for frame in self._decoder:
            self._next += 1
            if self._next == t + 1:
                return frame.to_ndarray(format=self.index.format)
        self._next = math.inf
        raise RecordingError(f"frame {t} is missing, is the file truncated?")

    def _seek(self, key: int) -> None:
        """Make the decoder continue at a key frame, skipping frames that the seek returns before it."""
        container = av.open(str(self.path))
        stamp = self.index.stamps[key]
        container.seek(stamp, stream=container.streams.video[0])
        self._decoder = dropwhile(lambda frame: frame.pts is None or frame.pts < stamp, container.decode(video=0))
        self._next = key
