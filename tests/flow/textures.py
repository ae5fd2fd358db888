"""Textures that move by a known flow."""

import numpy as np
from scipy import ndimage

MARGIN = 24


def texture(side: int, *, sigma: float = 1.5, seed: int = 0) -> np.ndarray:
    """Blurred noise in [0, 1], `MARGIN` wider on each edge than `side`."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((side + 2 * MARGIN,) * 2), sigma)
    return (noise - noise.min()) / np.ptp(noise)


def crop(image: np.ndarray) -> np.ndarray:
    return image[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


def translate(image: np.ndarray, dx: float, dy: float, num_frames: int = 2) -> np.ndarray:
    """Frames `(F, H, W)` float64 of an image that moves by (dx, dy) px a frame, without its margin."""
    frames = [ndimage.shift(image, (k * dy, k * dx), order=5, mode="nearest") for k in range(num_frames)]
    return crop(np.clip(frames, image.min(), image.max()))


def rotate(image: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Two frames `(2, H, W)`, the second turned clockwise on screen, and their exact flow `(2, H, W)`."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    centre = (np.array(image.shape) - 1) / 2
    turn = np.array([[c, -s], [s, c]])  # of (row, column): where a pixel of the turned image comes from
    turned = ndimage.affine_transform(image, turn, centre - turn @ centre, order=5, mode="nearest")
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] - centre[:, None, None]
    flow = np.stack([c * x - s * y - x, s * x + c * y - y])
    return crop(np.clip([image, turned], 0, 1)), crop(flow)


def end_point_error(flow: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance in px between two flows `(2, H, W)`."""
    return float(np.hypot(*(np.asarray(flow) - truth)).mean())
