"""Flow of a recording, and the frame stride from it: slow cultures need frames further apart than fast ones."""

import numpy as np
import torch

from ..flow import dis_flow, horn_schunck
from .patches import BLOCK, block_contrast
from .readers import Recording

FLOWS = ("pyramid", "paper", "dis", "none")
PIXELS_PER_FLOW_CALL = 4_000_000
MAX_STRIDE = 32
PAIRS = 5
STILLNESS = 2.0
"""Pull of the pyramid's flow towards rest where nothing tells of motion: blank background then stands nearly still
(0.06 instead of 1.04 px/frame on U373), which costs the cells 1 % of what warping explains."""


def video_flow(frames: np.ndarray, method: str) -> np.ndarray:
    """Flow `(F-1, H, W, 2)` float16 of uint8 frames `(F, H, W)` by `method`, a few frames at a time."""
    count = max(1, PIXELS_PER_FLOW_CALL // frames[0].size)
    pieces = []
    for start in range(0, len(frames) - 1, count):
        piece = frames[start : start + count + 1]
        if method == "dis":
            flow = dis_flow(piece)
        else:
            stillness = STILLNESS if method == "pyramid" else 0.0
            flow = horn_schunck(torch.from_numpy(piece), mode=method, stillness=stillness)
        pieces.append(np.moveaxis(np.asarray(flow), 0, -1).astype(np.float16))
    return np.concatenate(pieces)


def moving_speed(recording: Recording, stride: int, *, flow: str = "pyramid", noise: float = 1.0) -> float:
    """Median speed of what moves, in px per `stride` frames.

    Speed is measured between five evenly spaced pairs of frames, in the 8 x 8 blocks that hold structure (contrast
    above twice the `noise`, in grey levels).
    """
    starts = np.unique(np.linspace(0, len(recording.frames) - 1 - stride, PAIRS).astype(int))
    speeds = []
    for start in starts:
        pair = recording.read([start, start + stride])
        speed = np.linalg.norm(video_flow(pair, flow)[0].astype(np.float32), axis=-1)
        structured = np.kron(block_contrast(pair[0]) > 2 * noise, np.ones((BLOCK, BLOCK), bool))
        speeds.append(speed[: structured.shape[0], : structured.shape[1]][structured])
    values = np.concatenate(speeds)
    return float(np.median(values)) if values.size else 0.0


def choose_stride(
    recording: Recording, num_frames: int, *, target_speed: float = 1.0, flow: str = "pyramid", noise: float = 1.0
) -> int:
    """The smallest stride at which the median moving pixel makes `target_speed` px a frame.

    Where even the largest stride that leaves a window of `num_frames` (at most 32) is slower, that one.
    """
    largest = min(MAX_STRIDE, (len(recording.frames) - 1) // max(1, num_frames - 1))
    for stride in range(1, largest):
        if moving_speed(recording, stride, flow=flow, noise=noise) >= target_speed:
            return stride
    return max(1, largest)
