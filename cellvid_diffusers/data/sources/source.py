"""An open recording, independent of its file format."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SQUARE = 0.01
"""Relative difference up to which the sides of a pixel count as equal."""


class RecordingError(ValueError):
    """An invalid recording; the message is one line."""


@dataclass(frozen=True)
class Source:
    """An open recording.

    Attributes
    ----------
    plane : callable
        `plane(t, c, z)` reads one picture, `(H, W)`, or `(H, W, num_channels)`, red first, where `colour`.
    num_frames, num_channels, num_planes : int
    colour : bool
        Whether a picture holds all channels.
    metadata : dict
        `pixel_size_um` and `frame_interval_min` where the file states them.
    """

    plane: Callable[[int, int, int], np.ndarray]
    num_frames: int
    num_channels: int = 1
    num_planes: int = 1
    colour: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)


def side_of_square(x: float | None, y: float | None) -> float | None:
    """Pixel size in micrometres from its values along both axes; if one is unknown, the other is used.

    Raises
    ------
    RecordingError
        If pixels are not square: areas, directions and flow would be wrong.
    """
    if x and y and abs(x / y - 1) > SQUARE:
        raise RecordingError(f"pixels must be square, got {x:g} x {y:g} um: resample the recording")
    return x or y
