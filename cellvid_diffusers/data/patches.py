"""Positions of patches in space and time, and criteria for rejecting patches."""

import cv2
import numpy as np

BLOCK = 8


def axis_starts(length: int, size: int, step: int) -> list[int]:
    """Starts of windows of `size`, `step` apart, that cover `0..length`; the last ends at `length`.

    The last window is shifted to the border if it still reaches the one before; otherwise one more is added.

    >>> axis_starts(1400, 128, 96)[-3:]
    [1056, 1152, 1272]
    """
    if length < size:
        raise ValueError(f"length must be at least the window's {size}, got {length}")
    starts = list(range(0, length - size + 1, step))
    rest = length - size - starts[-1]
    if 0 < rest <= size - step and len(starts) > 1:
        starts.pop()
    return [*starts, length - size] if rest else starts


def patch_grid(height: int, width: int, size: int, overlap: float = 0.25) -> list[tuple[int, int]]:
    """Upper left corners (y, x) of the patches of a frame, at stride `(1 - overlap) * size`, row by row.

    >>> len(patch_grid(1400, 1400, 128, 0.25))
    196
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap must lie in [0, 1), got {overlap}")
    step = max(1, round((1 - overlap) * size))
    return [(y, x) for y in axis_starts(height, size, step) for x in axis_starts(width, size, step)]


def window_starts(length: int, num_frames: int, frame_stride: int = 1) -> list[int]:
    """First frames of consecutive windows of `num_frames` frames taken every `frame_stride`; the last is shifted to
    end at the recording's end."""
    span = (num_frames - 1) * frame_stride + 1
    if length < span:
        raise ValueError(f"recording must hold {span} frames for {num_frames} at stride {frame_stride}, got {length}")
    return axis_starts(length, span, num_frames * frame_stride)


def block_contrast(frame: np.ndarray) -> np.ndarray:
    """Standard deviation within each block of 8 x 8 pixels of a frame: `(H // 8, W // 8)`, float32."""
    rows, columns = (side // BLOCK for side in frame.shape)
    blocks = frame[: rows * BLOCK, : columns * BLOCK].astype(np.float32).reshape(rows, BLOCK, columns, BLOCK)
    return blocks.std((1, 3))


def pixel_noise(frame: np.ndarray) -> float:
    """Standard deviation of the camera noise in a frame `(H, W)` or `(H, W, num_channels)`, in the frame's unit.

    The second difference in both directions ignores smooth structure, so a frame full of cells is not mistaken for
    noise; the median of its magnitude, unlike the mean, also ignores edges.

    References
    ----------
    Fast noise variance estimation (Immerkaer, 1996), https://doi.org/10.1006/cviu.1996.0060
    """
    kernel = np.outer((1, -2, 1), (1, -2, 1)).astype(np.float32)
    response = cv2.filter2D(frame.astype(np.float32), -1, kernel)[1:-1, 1:-1]
    return float(np.median(np.abs(response))) / 0.6745 / 6


def noise_level(frames: np.ndarray) -> float:
    """Noise of a recording in grey levels: median over frames `(F, H, W)`, at least 0.75."""
    return max(0.75, float(np.median([pixel_noise(frame) for frame in frames])))


def foreground_share(frames: np.ndarray, noise: float) -> float:
    """Share of 8 x 8 blocks that contain structure: contrast above twice the noise."""
    return float(np.mean([block_contrast(frame) > 2 * noise for frame in frames]))


def typical_contrast(frames: np.ndarray) -> float:
    """Upper quartile of the standard deviations of sampled frames, as the shutter may fail in up to half of them."""
    return float(np.percentile([frame.std() for frame in frames], 75))


def blank_frames(frames: np.ndarray, contrast: float) -> np.ndarray:
    """Mask `(F,)`, bool, of the frames `(F, H, W)` that show nothing, as when the shutter stays closed.

    The standard deviation of a blank frame is less than 0.15 of `contrast`, that of the recording's good frames. Camera
    noise keeps it above zero; a fading picture still has more than this limit.
    """
    return np.array([frame.std() for frame in frames]) < 0.15 * contrast


def reject_reason(
    frames: np.ndarray,
    noise: float,
    *,
    recorded: np.ndarray | None = None,
    saturated_values: tuple[int, ...] = (0, 255),
    min_foreground: float = 0.03,
    max_saturated: float = 0.1,
) -> str | None:
    """Reason for rejecting a patch `(F, H, W)`, or None.

    "frozen": at least half of the frames repeat the one before; "saturated": more than `max_saturated` of the pixels
    have one of the `saturated_values`; "empty": less than `min_foreground` of the blocks contain structure.

    `recorded` is the patch before its light was corrected, as the correction moves saturated pixels off 0 and 255; by
    default `frames`.
    """
    if len(frames) > 1 and np.mean((frames[1:] == frames[:-1]).all((1, 2))) >= 0.5:
        return "frozen"
    recorded = frames if recorded is None else recorded
    if np.mean(np.isin(recorded, saturated_values)) > max_saturated:
        return "saturated"
    sample = frames[:: max(1, len(frames) // 4)]
    return "empty" if foreground_share(sample, noise) < min_foreground else None
