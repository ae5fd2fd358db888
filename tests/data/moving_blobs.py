"""Small recordings: blobs that move by a known step."""

import cv2
import numpy as np


def blobs(num_frames: int = 6, height: int = 48, width: int = 64, *, step: tuple[float, float] = (1, 0), seed: int = 0):
    """Video `(F, H, W)` uint8 of smooth blobs that move by `step` (x, y) px a frame over a still, faint grain."""
    rng = np.random.default_rng(seed)
    margin = 32
    field = rng.normal(size=(height + 2 * margin, width + 2 * margin)).astype(np.float32)
    field = cv2.GaussianBlur(field, (0, 0), 2.5)
    field *= 25 / field.std()
    frames = []
    for t in range(num_frames):
        move = np.float32([[1, 0, step[0] * t - margin], [0, 1, step[1] * t - margin]])
        frames.append(cv2.warpAffine(field, move, (width, height), flags=cv2.INTER_CUBIC))
    return np.clip(np.rint(np.stack(frames) + 120), 0, 255).astype(np.uint8)
