"""Previews that play anywhere: GIF and MP4."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from .atomic import replacing
from .pixels import to_uint8

PREVIEW_SIDE = 256
"""Small clips are enlarged by an integer factor until their longer side has at least this many pixels."""


def enlarge(video: np.ndarray, scale: int | None = None) -> np.ndarray:
    """Repeat each pixel of `(F, H, W[, 3])` `scale` times in both directions, without interpolation.

    `scale=None` takes the smallest factor that makes the longer side at least `PREVIEW_SIDE` pixels.
    """
    if scale is None:
        scale = -(-PREVIEW_SIDE // max(video.shape[1:3]))
    if scale < 1:
        raise ValueError(f"scale must be at least 1, got {scale}")
    return video.repeat(scale, axis=1).repeat(scale, axis=2)


def write_gif(path: str | Path, video: np.ndarray, *, fps: float = 5.0, scale: int | None = None) -> None:
    """Write a looping GIF; grey values are kept exactly, colours are reduced to 256 per frame.

    Parameters
    ----------
    path : path
    video : ndarray
        `(F, H, W)` or `(F, H, W, 3)`, uint8, or floating point in [0, 1].
    fps : float
        Frames per second, in (0, 50]: the format counts in hundredths of a second, and browsers slow down faster
        animations.
    scale : int, optional
        Integer enlargement factor; by default chosen by `enlarge`.
    """
    if not 0 < fps <= 50:
        raise ValueError(f"fps must lie in (0, 50], got {fps}")
    pixels = enlarge(to_uint8(video, colour=True), scale)
    first, *rest = (Image.fromarray(frame) for frame in pixels)
    if pixels.ndim == 4:
        first, *rest = (each.quantize(256, dither=Image.Dither.NONE) for each in (first, *rest))
    with replacing(path) as temporary:
        first.save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=rest,
            duration=round(100 / fps) * 10,
            loop=0,
            optimize=False,
        )


def write_mp4(
    path: str | Path, video: np.ndarray, *, fps: float = 5.0, scale: int | None = None, crf: int = 18
) -> None:
    """Write H.264 in yuv420p, which every player supports.

    Parameters
    ----------
    path : path
    video : ndarray
        `(F, H, W)` or `(F, H, W, 3)`, uint8, or floating point in [0, 1].
    fps : float
        Frames per second, above 0.
    scale : int, optional
        Integer enlargement factor; by default chosen by `enlarge`. The codec requires even sides, so the last row or
        column is repeated where a side is odd.
    crf : int
        Quality loss, 0 (least) to 51.
    """
    if not fps > 0:
        raise ValueError(f"fps must be above 0, got {fps}")
    pixels = enlarge(to_uint8(video, colour=True), scale)
    _, height, width = pixels.shape[:3]
    odd = [(0, 0), (0, height % 2), (0, width % 2), (0, 0)][: pixels.ndim]
    pixels = np.pad(pixels, odd, mode="edge")
    with replacing(path) as temporary, open(temporary, "wb") as file, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.height, stream.width = pixels.shape[1:3]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": str(crf)}
        for frame in pixels:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24" if frame.ndim == 3 else "gray")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
