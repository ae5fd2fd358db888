"""Dense inverse search, by OpenCV: a flow estimator that shares neither code nor method with `horn_schunck`."""

import cv2
import numpy as np
import torch

from .video import as_eight_bit, as_tensor, check_video

__all__ = ["dis_flow"]

_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
_LEAST_SIDE, _LEAST_SEARCHED = 12, 16


def dis_flow(video: torch.Tensor | np.ndarray, *, preset: str = "medium") -> torch.Tensor:
    """Dense optical flow between consecutive frames by patch matching and variational refinement.

    Parameters
    ----------
    video : torch.Tensor or numpy.ndarray, shape (..., F, H, W)
        Grey frames, uint8 (0 to 255) or floating (0 to 1; rounded to 8 bits). At least two frames.
    preset : {"ultrafast", "fast", "medium"}
        OpenCV's preset, which trades time for detail.

    Returns
    -------
    torch.Tensor, shape (..., 2, F-1, H, W)
        u (to the right) and v (down) in pixels per frame, float32, on the CPU; flow k leads from frame k to
        frame k+1.

    Raises
    ------
    ValueError
        If the preset is unknown, both sides of the frames are below 12 pixels, or `horn_schunck` would reject the
        video, as it does floating grey levels up to 255.

    References
    ----------
    Fast optical flow using dense inverse search (Kroeger, Timofte, Dai, Van Gool, 2016),
    https://arxiv.org/abs/1603.03590
    """
    if preset not in _PRESETS:
        raise ValueError(f"preset must be one of {', '.join(_PRESETS)}, got {preset!r}")
    video = as_tensor(video)
    check_video(video)
    frames = as_eight_bit(video.reshape(-1, *video.shape[-3:])).round().clamp(0, 255).to(torch.uint8).numpy(force=True)
    count, num_frames, height, width = frames.shape
    if max(height, width) < _LEAST_SIDE:
        raise ValueError(f"frames must have a side of at least {_LEAST_SIDE} pixels, got {height}x{width}")
    # OpenCV cannot search narrow strips, and crashes on some: their last rows or columns are repeated.
    beside = [(0, max(0, _LEAST_SEARCHED - side)) for side in (height, width)]
    frames = np.pad(frames, [(0, 0), (0, 0), *beside], mode="edge")
    flow = np.empty((count, 2, num_frames - 1, height, width), np.float32)
    for clip, motion in zip(frames, flow, strict=True):
        for k in range(num_frames - 1):
            # A search object starts from its last result. A new one per pair keeps the pairs independent.
            search = cv2.DISOpticalFlow_create(_PRESETS[preset])
            motion[:, k] = search.calc(clip[k], clip[k + 1], None).transpose(2, 0, 1)[:, :height, :width]
    return torch.from_numpy(flow).view(*video.shape[:-3], *flow.shape[1:])
