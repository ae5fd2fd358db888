"""Visualizing flow: the colour wheel of the Middlebury benchmark, and arrows over a frame."""

import cv2
import numpy as np

__all__ = ["LEAST_MAX_SPEED", "draw_quiver", "flow_to_rgb"]

# Baker et al. give the six arcs between these colours unequal lengths, so that hue changes look equally large.
_WHEEL_STOPS = np.cumsum([0, 15, 6, 4, 11, 13, 6]) / 55
_WHEEL_COLOURS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1], [1, 0, 0]], np.float32)
LEAST_MAX_SPEED = 0.25
"""Lowest default speed of full saturation, for clips in which nothing moves faster, in pixels per frame."""


def flow_to_rgb(flow: np.ndarray, *, max_speed: float | None = None) -> np.ndarray:
    """Colour a flow field by direction (hue) and speed (saturation).

    No motion is white; right is red, down yellow, left cyan to blue, up violet.

    Parameters
    ----------
    flow : numpy.ndarray, shape (..., H, W, 2)
        u (to the right) and v (down), in pixels per frame.
    max_speed : float, optional
        Speed of full saturation, in pixels per frame; faster pixels are clipped to it. By default the 99th percentile
        of the whole array, one scale for all frames of a clip, but at least `LEAST_MAX_SPEED`, so that noise stays
        white.

    Returns
    -------
    numpy.ndarray, shape (..., H, W, 3)
        uint8 RGB.

    Raises
    ------
    ValueError
        If the last axis is not 2, the flow is not finite, or `max_speed` is not positive.

    References
    ----------
    A database and evaluation methodology for optical flow (Baker et al., 2011),
    https://doi.org/10.1007/s11263-010-0390-2
    """
    _check_flow(flow)
    if max_speed is not None and not max_speed > 0:
        raise ValueError(f"max_speed must be positive, got {max_speed}")
    speed = np.hypot(flow[..., 0], flow[..., 1])
    if max_speed is None:
        max_speed = speed_of_full_colour(speed)
    saturation = np.minimum(speed / max_speed, 1)[..., None]
    return np.rint(255 * (1 - saturation * (1 - _wheel(flow)))).astype(np.uint8)


def speed_of_full_colour(speed: np.ndarray) -> float:
    """The 99th percentile of speeds in pixels per frame, but at least `LEAST_MAX_SPEED`."""
    return max(LEAST_MAX_SPEED, float(np.percentile(speed, 99)))


def draw_quiver(
    frame: np.ndarray,
    flow: np.ndarray,
    *,
    spacing: int = 8,
    zoom: int = 4,
    gain: float | None = None,
    min_speed: float = 0.1,
    color: tuple[int, int, int] | None = (255, 210, 0),
) -> np.ndarray:
    """Draw a flow field as arrows over the frame that it starts from, enlarged.

    Parameters
    ----------
    frame : numpy.ndarray, shape (..., H, W)
        Grey, uint8 (0 to 255) or floating (0 to 1).
    flow : numpy.ndarray, shape (..., H, W, 2)
        u (to the right) and v (down), in pixels per frame.
    spacing : int
        Distance between arrows, in pixels of `frame`. Each shows the mean flow of its square.
    zoom : int
        Enlargement of the picture.
    gain : float, optional
        Length of an arrow in pixels of `frame` for one pixel per frame. By default the 99th percentile of the arrow
        lengths in the whole array is scaled to 1.5 spacings; set `gain` to compare pictures.
    min_speed : float
        Squares with slower mean flow stay empty, in pixels per frame.
    color : tuple of int, optional
        RGB of the arrows, 0 to 255; None colours each by its direction as in `flow_to_rgb`.

    Returns
    -------
    numpy.ndarray, shape (..., zoom * H, zoom * W, 3)
        uint8 RGB.

    Raises
    ------
    ValueError
        If the shapes do not match, the flow is not finite, the frame is neither uint8 nor floating, or `spacing` or
        `zoom` is below 1.
    """
    _check_flow(flow)
    if flow.shape[:-1] != frame.shape:
        raise ValueError(f"flow must be the frame's shape and 2, got {frame.shape} and {flow.shape}")
    if frame.dtype != np.uint8 and not np.issubdtype(frame.dtype, np.floating):
        raise ValueError(f"frame must be uint8 or floating, got {frame.dtype}")
    if spacing < 1 or zoom < 1:
        raise ValueError(f"spacing and zoom must be at least 1, got {spacing} and {zoom}")
    height, width = frame.shape[-2:]
    grey = frame if frame.dtype == np.uint8 else np.rint(255 * np.clip(frame, 0, 1)).astype(np.uint8)
    rows, columns = (np.arange(min(spacing, side) // 2, side, spacing) for side in (height, width))
    # A box filter as wide as the spacing, sampled at the centres of the squares, gives the mean over each square.
    fields = [cv2.blur(field.astype(np.float32), (spacing, spacing)) for field in flow.reshape(-1, height, width, 2)]
    arrows = np.stack(fields)[:, rows[:, None], columns]
    if gain is None:
        longest = float(np.percentile(np.hypot(arrows[..., 0], arrows[..., 1]), 99))
        gain = 1.5 * spacing / max(longest, min_speed, 1e-6)

    pictures = []
    for image, field in zip(grey.reshape(-1, height, width), arrows, strict=True):
        picture = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
        hues = np.rint(255 * _wheel(field)).astype(int)
        speed = np.hypot(field[..., 0], field[..., 1])
        for i, j in zip(*np.nonzero((speed >= min_speed) & (speed > 0)), strict=True):
            tail = np.array([columns[j], rows[i]])
            _draw_arrow(picture, tail, tail + gain * field[i, j], zoom, color or hues[i, j].tolist())
        pictures.append(picture)
    return np.stack(pictures).reshape(*frame.shape[:-2], zoom * height, zoom * width, 3)


def _draw_arrow(picture: np.ndarray, tail: np.ndarray, tip: np.ndarray, zoom: int, color: tuple[int, int, int]) -> None:
    """Draw a thin arrow between two points of the original frame, placed to 1/16 pixel, its head at most 5 pixels."""
    start, end = (((point + 0.5) * zoom - 0.5) for point in (tail, tip))
    length = float(np.linalg.norm(end - start))
    points = [tuple(int(c) for c in np.rint(16 * point)) for point in (start, end)]
    cv2.arrowedLine(
        picture, *points, color, thickness=1, line_type=cv2.LINE_AA, shift=4, tipLength=min(0.35, 5 / length)
    )


def _wheel(flow: np.ndarray) -> np.ndarray:
    """Colour (..., 3) in [0, 1] of each vector's direction, clockwise from right."""
    turn = np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1
    return np.stack([np.interp(turn, _WHEEL_STOPS, channel) for channel in _WHEEL_COLOURS.T], axis=-1)


def _check_flow(flow: np.ndarray) -> None:
    if flow.ndim < 3 or flow.shape[-1] != 2:
        raise ValueError(f"flow must have shape (..., H, W, 2), got {flow.shape}")
    if not np.isfinite(flow).all():
        raise ValueError("flow must be finite, got NaN or infinity")
