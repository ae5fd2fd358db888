"""The single conversion of video in memory to 8-bit pixels in files."""

import numpy as np


def to_uint8(video: np.ndarray, *, colour: bool = False) -> np.ndarray:
    """Convert video to 8-bit pixels.

    Parameters
    ----------
    video : ndarray
        `(F, H, W)`, uint8, or floating point in [0, 1]; with `colour` also `(F, H, W, 3)`.

    Returns
    -------
    ndarray
        uint8 of the same shape; uint8 input is returned unchanged.

    Raises
    ------
    ValueError
        If the video is empty, or its shape, dtype or range is not one of these.
    """
    video = np.asarray(video)
    is_colour = colour and video.ndim == 4 and video.shape[-1] == 3
    if not (video.ndim == 3 or is_colour) or 0 in video.shape:
        allowed = "(F, H, W) or (F, H, W, 3)" if colour else "(F, H, W)"
        raise ValueError(f"video must have shape {allowed} and not be empty, got {video.shape}")
    if video.dtype == np.uint8:
        return video
    if not np.issubdtype(video.dtype, np.floating):
        raise ValueError(f"video must be uint8 or floating point in [0, 1], got {video.dtype}")
    low, high = float(video.min()), float(video.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"floating-point video must lie in [0, 1], got {low:g} to {high:g}")
    return np.rint(video * 255).astype(np.uint8)
