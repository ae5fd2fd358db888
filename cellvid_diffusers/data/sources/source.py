"""An open recording, whatever wrote its file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SQUARE = 0.01
"""Sides of a pixel that differ by a smaller share are taken as the same."""


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


def side_of_square(x: float | None, y: float | None) -> float | None:
    """Micrometres a pixel, from those along either axis; of one that is not known, it is taken to be the other's.

    Raises:
        RecordingError: If pixels are not square: areas, directions and flow would be wrong.
    """
    if x and y and abs(x / y - 1) > SQUARE:
        raise RecordingError(f"pixels must be square, got {x:g} x {y:g} um: resample the recording")
    return x or y
