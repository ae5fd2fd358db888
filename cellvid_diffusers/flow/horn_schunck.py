r"""Horn-Schunck optical flow, as the paper writes it and as real recordings need it.

Brightness constancy with a smoothness prior. The iteration of the paper (Eq. 3-4), from zero flow:

.. math:: u = \bar u - I_x r, \quad v = \bar v - I_y r, \quad
          r = \frac{I_x \bar u + I_y \bar v + I_t}{\lambda^{-1} + I_x^2 + I_y^2}

with the mean of four neighbours as the bar, Sobel 3x3 derivatives by *true convolution*, and
:math:`I_t = I_k - I_{k+1}`. Convolution flips the Sobel kernel, hence the sign of I_x and I_y: together with the
sign of I_t the flow points forward, to frame k+1. Cross-correlation, which deep-learning libraries call
convolution, would turn it round.

References: Determining optical flow (Horn and Schunck, 1981), https://doi.org/10.1016/0004-3702(81)90024-2;
Neural Cell Video Synthesis via Optical-Flow Diffusion (Serna-Aguilera, Luu, Harris, Zou), Eq. 3-4
"""

import numpy as np
import torch
from torch.nn import functional

from .pyramid import pyramid_flow

__all__ = ["horn_schunck"]


def horn_schunck(
    video: torch.Tensor | np.ndarray,
    *,
    mode: str = "pyramid",
    num_iterations: int | None = None,
    smoothness: float = 15.0,
    sigma: float = 1.0,
    num_levels: int | None = None,
    num_warps: int = 4,
    max_step: float = 1.0,
    brightness_weight: float = 1.0,
    sobel_gain: float = 8.0,
    intensity_range: float = 255.0,
) -> torch.Tensor:
    r"""Dense optical flow between consecutive frames.

    Parameters
    ----------
    video : torch.Tensor or numpy.ndarray, shape (..., F, H, W)
        Grey frames, uint8 (0 to 255) or floating (0 to 1), on any device. At least two frames.
    mode : {"pyramid", "paper"}
        `"pyramid"` is coarse-to-fine and sub-pixel accurate up to several pixels a frame. `"paper"` is the
        paper's Eq. 3-4 to the letter; on real phase contrast it is nearly blind.
    num_iterations : int, optional
        Paper: iterations from zero, default 10. Pyramid: iterations a warp, default 10.
    smoothness : float
        Pyramid: :math:`\alpha` of Horn and Schunck, on 8-bit values.
    sigma : float
        Pyramid: Gaussian blur of the frames at each level, in pixels.
    num_levels : int, optional
        Pyramid: levels, each half the side of the one before. By default until a side falls below 32.
    num_warps : int
        Pyramid: linearisations a level.
    max_step : float
        Pyramid: the most that one warp may change either component, in pixels of its level.
    brightness_weight : float
        Paper: :math:`\lambda`, which weighs brightness constancy; the paper sets 1.
    sobel_gain : float
        Paper: sum of the positive Sobel weights times two; 8 for the integer kernel, 1 for a true derivative.
        The paper does not state it.
    intensity_range : float
        Paper: value of white, 255 or 1. The paper does not state it.

    Returns
    -------
    torch.Tensor, shape (..., 2, F-1, H, W)
        u (to the right) and v (down) in pixels per frame; flow k leads from frame k to frame k+1, so that
        `warp(video[k + 1], flow[:, k])` looks like `video[k]`. float64 for a float64 video, else float32.

    Raises
    ------
    ValueError
        If the mode is unknown, or the video has fewer than two frames, fewer than three axes, another dtype or
        values that are not finite.
    """
    if mode not in ("pyramid", "paper"):
        raise ValueError(f'mode must be "pyramid" or "paper", got {mode!r}')
    video = torch.as_tensor(video)
    clips = as_eight_bit(video)
    if mode == "paper":
        solve, options = (
            paper_flow,
            {
                "num_iterations": num_iterations or 10,
                "brightness_weight": brightness_weight,
                "sobel_gain": sobel_gain,
                "intensity_range": intensity_range,
            },
        )
    else:
        solve, options = (
            pyramid_flow,
            {
                "num_iterations": num_iterations or 10,
                "smoothness": smoothness,
                "sigma": sigma,
                "num_levels": num_levels,
                "num_warps": num_warps,
                "max_step": max_step,
            },
        )
    flow = torch.stack([solve(clip, **options) for clip in clips])
    return flow.view(*video.shape[:-3], *flow.shape[1:])


def paper_flow(
    video: torch.Tensor,
    *,
    num_iterations: int,
    brightness_weight: float,
    sobel_gain: float,
    intensity_range: float,
) -> torch.Tensor:
    """Eq. 3-4 for one clip `(F, H, W)` of 8-bit values as floats -> `(2, F-1, H, W)`. Borders are continued."""
    video = video * (intensity_range / 255)
    i_x, i_y = _sobel(video[:-1], sobel_gain)
    i_t = video[:-1] - video[1:]
    gradient = torch.stack((i_x, i_y))
    scale = 1 / (1 / brightness_weight + i_x**2 + i_y**2)

    flow = torch.zeros_like(gradient)
    for _ in range(num_iterations):
        padded = functional.pad(flow, (1, 1, 1, 1), mode="replicate")
        mean = (padded[..., 2:, 1:-1] + padded[..., :-2, 1:-1] + padded[..., 1:-1, 2:] + padded[..., 1:-1, :-2]) / 4
        flow = mean - gradient * ((gradient * mean).sum(0) + i_t) * scale
    return flow


def _sobel(frames: torch.Tensor, gain: float) -> tuple[torch.Tensor, torch.Tensor]:
    """True convolution with Sobel-x = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]] and its transpose, scaled to `gain`."""
    p = functional.pad(frames, (1, 1, 1, 1), mode="replicate")
    down = p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]
    across = p[:, :, :-2] + 2 * p[:, :, 1:-1] + p[:, :, 2:]
    return (down[:, :, :-2] - down[:, :, 2:]) * (gain / 8), (across[:, :-2] - across[:, 2:]) * (gain / 8)


def as_eight_bit(video: torch.Tensor) -> torch.Tensor:
    """`(..., F, H, W)` uint8 or floats in [0, 1] -> `(N, F, H, W)` floats on the 8-bit scale."""
    if video.ndim < 3 or video.shape[-3] < 2:
        raise ValueError(f"video must be (..., F, H, W) with at least two frames, got shape {tuple(video.shape)}")
    if video.dtype != torch.uint8 and not video.is_floating_point():
        raise ValueError(f"video must be uint8 or floating, got {video.dtype}")
    clips = video.reshape(-1, *video.shape[-3:])
    if video.dtype == torch.uint8:
        return clips.float()
    if not torch.isfinite(clips).all():
        raise ValueError("video must be finite, got NaN or infinity")
    return clips.to(torch.float64 if video.dtype == torch.float64 else torch.float32) * 255
