"""Clips spoilt on purpose: what a metric must notice before its silence may be believed.

Each takes `(N, F, H, W)` grey levels (float32, 0 to 255) and returns the same shape; `rng` is a numpy
Generator.
"""

from collections.abc import Callable

import cv2
import numpy as np

from .motion import estimate_flow


def blurred(clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur of 1 px: fine detail lost, what a network trained with L1 tends to."""
    flat = clips.reshape(-1, *clips.shape[2:])
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 1.0) for frame in flat]).reshape(clips.shape)


def noised(clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White noise of a quarter of the clips' mean contrast, new in each frame: an unfinished denoising."""
    spread = 0.25 * clips.std((2, 3)).mean()
    return np.clip(clips + rng.normal(0, spread, clips.shape).astype(np.float32), 0, 255)


def frozen(clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The first frame, repeated."""
    return np.repeat(clips[:, :1], clips.shape[1], axis=1)


def shuffled(clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The frames of each clip in random order."""
    return np.stack([clip[rng.permutation(len(clip))] for clip in clips])


def half_speed(clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The first half of each clip at half speed: between two frames, the earlier one moved half-way.

    A frame put in between keeps the grain of a recorded one, as an average of two neighbours would not.
    """
    _, f, h, w = clips.shape
    y, x = np.mgrid[:h, :w].astype(np.float32)
    out = np.empty_like(clips)
    for slow, clip in zip(out, clips, strict=True):
        recorded = clip[: f // 2 + 1]
        slow[::2] = recorded[: (f + 1) // 2]
        backward = estimate_flow(recorded[::-1])[::-1]  # of frame k + 1, to frame k
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
"""Name -> (how clips are spoilt, the distances that are meant to see it).

The sixth control, a copied training set, is invisible to every distance between distributions: it *is* the
real distribution.  `memorisation` is meant to see it.
"""
