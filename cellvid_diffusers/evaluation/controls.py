"""Clips degraded on purpose: a metric must detect them before its finding no difference can be trusted.

Each function takes `(N, F, H, W)` grey levels (float32, 0 to 255) and returns the same shape; `rng` is a numpy
Generator.
"""

from collections.abc import Callable

import cv2
import numpy as np

from .motion import estimate_flow


def blurred(clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply a Gaussian blur of 1 px: fine detail is lost, as networks trained with an L1 loss tend to do."""
    flat = clips.reshape(-1, *clips.shape[2:])
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 1.0) for frame in flat]).reshape(clips.shape)


def noised(clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add white noise of a quarter of the clips' mean contrast, new in each frame, as after incomplete denoising."""
    spread = 0.25 * clips.std((2, 3)).mean()
    return np.clip(clips + rng.normal(0, spread, clips.shape).astype(np.float32), 0, 255)


def frozen(clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Repeat the first frame."""
    return np.repeat(clips[:, :1], clips.shape[1], axis=1)


def shuffled(clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put the frames of each clip in random order."""
    return np.stack([clip[rng.permutation(len(clip))] for clip in clips])


def half_speed(clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Play the first half of each clip at half speed: between two frames, insert the earlier one moved half-way.

    Unlike an average of two neighbours, an inserted frame keeps the grain of a recorded one.
    """
    _, f, h, w = clips.shape
    y, x = np.mgrid[:h, :w].astype(np.float32)
    out = np.empty_like(clips)
    for slow, clip in zip(out, clips, strict=True):
        recorded = clip[: f // 2 + 1]
        slow[::2] = recorded[: (f + 1) // 2]
        backward = estimate_flow(recorded[::-1])[::-1]  # from frame k + 1 to frame k
        for k, (u, v) in enumerate(backward[: f // 2]):
            slow[2 * k + 1] = cv2.remap(
                recorded[k], x + u / 2, y + v / 2, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
            )
    return np.clip(out, 0, 255)


CONTROLS: dict[str, tuple[Callable, tuple[str, ...]]] = {
    "blurred": (blurred, ("appearance", "spectrum")),
    "noised": (noised, ("appearance", "spectrum")),
    "frozen": (frozen, ("motion",)),
    "shuffled": (shuffled, ("motion",)),
    "half speed": (half_speed, ("motion",)),
}
"""Name -> (how clips are degraded, the distances that should detect it).

The sixth control, a copied training set, is invisible to every distance between distributions: it *is* the
real distribution.  `memorisation` should detect it.
"""
