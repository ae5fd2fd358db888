"""Display contrast, as set by microscope software; files for measurement keep their grey values."""

import numpy as np

from .pixels import to_uint8


def stretch_contrast(video: np.ndarray, *, saturated: float = 0.0035, at_most: float = 4.0) -> np.ndarray:
    """Stretch a clip's grey values to the whole range, equally in all frames, as "Enhance Contrast" does in Fiji.

    Parameters
    ----------
    video : ndarray
        `(F, H, W)`, uint8, or floating point in [0, 1].
    saturated : float
        Share of the pixels that may become black or white, in [0, 1).
    at_most : float
        Largest factor, at least 1, which limits the amplification of noise in empty clips.

    Returns
    -------
    ndarray
        uint8 of the same shape. A clip that fills the range is returned nearly unchanged.

    Raises
    ------
    ValueError
        If the video, the share or the factor is out of range.
    """
    if not 0 <= saturated < 1 or not at_most >= 1:
        raise ValueError(f"saturated must lie in [0, 1) and at_most be at least 1, got {saturated} and {at_most}")
    pixels = to_uint8(video)
    low, high = np.quantile(pixels, [saturated / 2, 1 - saturated / 2])
    width, middle = max(high - low, 255 / at_most), (low + high) / 2
    return np.rint(255 * np.clip((pixels - middle) / width + 0.5, 0, 1)).astype(np.uint8)
