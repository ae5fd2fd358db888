"""Quality of a flow on frames whose true flow is unknown."""

import numpy as np
import torch

from cellvid_diffusers.flow import dis_flow, warp


def residual(video: np.ndarray, flow: torch.Tensor) -> float:
    """Mean difference of frames `(F, H, W)` after warping by the flow `(2, F - 1, H, W)`, as a share of the difference
    before: 0 explains everything, 1 nothing."""
    frames = torch.from_numpy(video).float()
    warped = warp(frames[1:], flow.float().transpose(0, 1))
    return float((warped - frames[:-1]).abs().mean() / (frames[1:] - frames[:-1]).abs().mean())


def flow_errors(frames: np.ndarray, flow: np.ndarray) -> tuple[float, float, float]:
    """End-point error of a flow against DIS flow of the frames, that of zero flow (both px/frame), and correlation.

    Frames `(N, F, H, W)`; flow `(N, F or F-1, H, W, 2)`.
    """
    seen = np.moveaxis(np.asarray(dis_flow(frames)), 1, -1)
    given = flow[:, : seen.shape[1]].astype(np.float32)
    return (
        np.linalg.norm(given - seen, axis=-1).mean(),
        np.linalg.norm(seen, axis=-1).mean(),
        np.corrcoef(given.ravel(), seen.ravel())[0, 1],
    )
