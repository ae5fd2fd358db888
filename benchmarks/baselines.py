"""Predict frames of clips from the other frames without a network: moved along the flow, or blended."""

import numpy as np
import torch

from cellvid_diffusers.flow import horn_schunck, warp


def flow_between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Flow `(N, 2, H, W)` from `(N, H, W)` frames in [0, 1] to later ones."""
    pairs = np.stack([first, second], axis=1).astype(np.float32)
    return np.asarray(horn_schunck(pairs))[:, :, 0]


def moved(frames: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """`(N, H, W)` frames sampled where `(N, 2, H, W)` flow points."""
    return warp(torch.as_tensor(frames), torch.as_tensor(flow, dtype=torch.float32)).numpy()


def extrapolate(clips: np.ndarray, given: int) -> np.ndarray:
    """Clips `(N, F, H, W)` whose frames from `given` on are the last given frame, moved along its last flow."""
    back = flow_between(clips[:, given - 1], clips[:, given - 2])
    result = clips.copy()
    for k in range(given, clips.shape[1]):
        result[:, k] = moved(clips[:, given - 1], (k - given + 1) * back)
    return result


def between(clips: np.ndarray, given: int, *, follow_flow: bool) -> np.ndarray:
    """Clips whose middle is blended from the frames on either side, which `follow_flow` moves along the flow."""
    left, right = given - 1, clips.shape[1] - given
    first, last = clips[:, left], clips[:, right]
    forward, back = flow_between(first, last), flow_between(last, first)
    result = clips.copy()
    for k in range(given, right):
        share = (k - left) / (right - left)
        ends = (moved(first, share * back), moved(last, (1 - share) * forward)) if follow_flow else (first, last)
        result[:, k] = (1 - share) * ends[0] + share * ends[1]
    return result
