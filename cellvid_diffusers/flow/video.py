"""Input of the flow estimators: checking videos and converting them to floats on the 8-bit scale."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

_RANGE_TOLERANCE = 1e-3


def as_tensor(array: torch.Tensor | np.ndarray | Sequence[Any]) -> torch.Tensor:
    """Convert to a tensor; arrays with negative strides or another byte order, which torch rejects, are copied."""
    if isinstance(array, np.ndarray):
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return torch.as_tensor(array)


def check_video(video: torch.Tensor) -> None:
    """Raise `ValueError` unless `video` is `(..., F, H, W)`, at least two frames, uint8 or finite floats in [0, 1]."""
    if video.ndim < 3 or video.shape[-3] < 2:
        raise ValueError(f"video must be (..., F, H, W) with at least two frames, got shape {tuple(video.shape)}")
    if video.dtype != torch.uint8 and not video.is_floating_point():
        raise ValueError(f"video must be uint8 or floating, got {video.dtype}")
    if video.dtype == torch.uint8 or not video.numel():
        return
    least, most = (float(value) for value in video.aminmax())
    if not (math.isfinite(least) and math.isfinite(most)):
        raise ValueError("video must be finite, got NaN or infinity")
    if least < -_RANGE_TOLERANCE or most > 1 + _RANGE_TOLERANCE:
        raise ValueError(f"floating video must lie in [0, 1], got [{least:.4g}, {most:.4g}]")


def as_eight_bit(frames: torch.Tensor) -> torch.Tensor:
    """Convert frames that pass `check_video` to floats on the 8-bit scale; float64 stays float64."""
    if frames.dtype == torch.uint8:
        return frames.float()
    return frames.to(torch.float64 if frames.dtype == torch.float64 else torch.float32) * 255
