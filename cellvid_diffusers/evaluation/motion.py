"""How well motion explains a clip, and how well generated flow matches the motion of the generated frames.

Both are measured with OpenCV's dense inverse search (`dis`), which should not be the flow that a model is trained on:
a model that learned flow from Horn and Schunck's method gains nothing by reproducing that method's biases.

References
----------
T. Kroeger et al., Fast optical flow using dense inverse search (2016), https://arxiv.org/abs/1603.03590
"""

from collections.abc import Iterable

import cv2
import numpy as np
import pandas as pd

from ..flow import dis_flow


def estimate_flow(clip: np.ndarray) -> np.ndarray:
    """Estimate the flow `(F - 1, 2, H, W)`, px/frame, of a clip `(F, H, W)` of grey levels (0 to 255)."""
    return np.moveaxis(np.asarray(dis_flow(clip / np.float32(255))), 0, 1)


def warp_error(clip: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Residual that motion does not explain: the next frame, sampled along the flow, minus this frame.

    Parameters
    ----------
    clip : (F, H, W) float32
    flow : (F - 1, 2, H, W) float32
        px/frame, u to the right and v down.

    Returns
    -------
    (F - 1, H, W) float32
        In the unit of the clip; NaN where the flow leads out of the frame.
    """
    _, h, w = clip.shape
    y, x = np.mgrid[:h, :w].astype(np.float32)
    out = np.empty_like(clip[1:])
    for k, (u, v) in enumerate(flow):
        warped = cv2.remap(clip[k + 1], x + u, y + v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        inside = (x + u >= 0) & (x + u <= w - 1) & (y + v >= 0) & (y + v <= h - 1)
        out[k] = np.where(inside, warped - clip[k], np.nan)
    return out


def root_mean_square(error: np.ndarray) -> float:
    """Root mean square of the values that are not NaN; NaN if there are none."""
    known = error[~np.isnan(error)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else float("nan")


def motion_measures(clip: np.ndarray) -> dict[str, float]:
    """Summarise the motion of one clip in scalars.

    Parameters
    ----------
    clip : (F, H, W) float32
        Grey levels, 0 to 255.

    Returns
    -------
    dict
        ``warp_error`` (grey levels, root mean square after warping), ``frame_difference`` (the same without),
        ``speed`` (px/frame, mean over textured pixels), ``net_displacement`` (px over the clip, the same
        pixels).
    """
    flow = estimate_flow(clip)
    far = estimate_flow(clip[[0, -1]])[0]
    weight = texture(clip)
    return {
        "warp_error": root_mean_square(warp_error(clip, flow)),
        "frame_difference": float(np.sqrt(np.mean(np.diff(clip, axis=0) ** 2))),
        "speed": float(np.average(np.hypot(flow[:, 0], flow[:, 1]), weights=weight[:-1])),
        "net_displacement": float(np.average(np.hypot(*far), weights=weight[0])),
    }


def flow_agreement(clips: Iterable[np.ndarray], flows: Iterable[np.ndarray]) -> dict[str, float]:
    """Compare the flow that came with clips with the flow estimated from their frames.

    Parameters
    ----------
    clips : (N, F, H, W)
        Grey levels, 0 to 255, of any dtype.
    flows : (N, F or F - 1, H, W, 2)
        px/frame; frame k's flow goes to frame k + 1.

    Returns
    -------
    dict
        Means over textured pixels (a flat background has no motion to agree on) of all clips: ``endpoint_error``
        (px/frame), ``endpoint_error_of_no_motion`` (of predicting zero), ``explained`` (share of the squared
        estimated flow that the given one accounts for: 1 is perfect, 0 no better than predicting zero, below 0
        worse), ``cosine`` of the two fields, and ``warp_error`` of the given flow in grey levels. The last three pool
        all clips, so a clip without motion hardly counts.

    Raises
    ------
    ValueError
        If there are no clips, the shapes do not match, or a clip is in [0, 1].
    """
    per_clip = pd.DataFrame([_compare_flow(clip, flow) for clip, flow in zip(clips, flows, strict=True)])
    if per_clip.empty:
        raise ValueError("at least one clip is needed, got none")
    mean = per_clip.mean()
    return {
        "endpoint_error": float(mean["endpoint_error"]),
        "endpoint_error_of_no_motion": float(mean["endpoint_error_of_no_motion"]),
        "explained": float(1 - mean["error"] / (mean["power"] + 1e-6)),
        "cosine": float(mean["product"] / np.sqrt(mean["power"] * mean["given_power"] + 1e-12)),
        "warp_error": float(np.sqrt(mean["squared_warp_error"])),
    }


def _compare_flow(clip: np.ndarray, flow: np.ndarray) -> dict[str, float]:
    """Means of errors and squares of one clip, from which `flow_agreement` is computed."""
    if flow.shape[-1] != 2 or flow.shape[1:3] != clip.shape[1:] or len(flow) < len(clip) - 1:
        raise ValueError(f"flow must have shape {(len(clip), *clip.shape[1:], 2)}, got {flow.shape}")
    clip = clip.astype(np.float32)
    if clip.max(initial=0) <= 1 and (clip % 1).any():
        raise ValueError(f"clip must be in grey levels, 0 to 255, got {clip.min():.3g} to {clip.max():.3g}")
    given = np.moveaxis(flow[: len(clip) - 1], -1, 1).astype(np.float32)
    seen = estimate_flow(clip)
    weight = texture(clip)[:-1]

    def mean(field: np.ndarray) -> float:
        return float(np.average(field, weights=weight))

    return {
        "endpoint_error": mean(np.hypot(*np.moveaxis(given - seen, 1, 0))),
        "endpoint_error_of_no_motion": mean(np.hypot(*np.moveaxis(seen, 1, 0))),
        "error": mean(((given - seen) ** 2).sum(1)),
        "power": mean((seen**2).sum(1)),
        "given_power": mean((given**2).sum(1)),
        "product": mean((given * seen).sum(1)),
        "squared_warp_error": root_mean_square(warp_error(clip, given)) ** 2,
    }


def texture(clip: np.ndarray, *, noise: float = 3.0) -> np.ndarray:
    """Weight in (0, 1) of each pixel of `(F, H, W)`: near 1 where contrast within 3 px exceeds noise."""
    mean = np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in clip])
    square = np.stack([cv2.GaussianBlur(frame**2, (0, 0), 3) for frame in clip])
    variance = np.maximum(square - mean**2, 0)
    return variance / (variance + noise**2) + 1e-6
