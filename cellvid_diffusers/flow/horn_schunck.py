r"""Horn-Schunck optical flow, as formulated in the paper and in a coarse-to-fine version for real recordings.

Brightness constancy with a smoothness prior. The paper's iteration (Eq. 3-4), starting from zero flow:

.. math:: u = \bar u - I_x r, \quad v = \bar v - I_y r, \quad
          r = \frac{I_x \bar u + I_y \bar v + I_t}{\lambda^{-1} + I_x^2 + I_y^2}

where the bar is the mean of the four neighbours, derivatives are Sobel 3x3 by *true convolution*, and
:math:`I_t = I_k - I_{k+1}`. Convolution flips the Sobel kernel, hence the sign of I_x and I_y; together with the
sign of I_t, the flow points forward, to frame k+1. Cross-correlation, which deep-learning libraries call
convolution, would reverse it.

References: Determining optical flow (Horn and Schunck, 1981), https://doi.org/10.1016/0004-3702(81)90024-2;
Neural Cell Video Synthesis via Optical-Flow Diffusion (Serna-Aguilera, Luu, Harris, Zou), Eq. 3-4
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from .pyramid import pyramid_flow
from .relaxation import cached_pairs, relax
from .video import as_eight_bit, as_tensor, check_video

__all__ = ["horn_schunck"]

LEAST = {"num_iterations": 1, "num_levels": 1, "stillness": 0, "sigma": 0}
"""Minimum values of options; all others must be positive."""
WHOLE = ("num_iterations", "num_levels", "num_warps")
"""Options that must be whole numbers."""
PIXELS_AT_A_TIME = {"cpu": 4_000_000}
"""Number of pixels in frames that are solved together, by device type; `PIXELS_ON_DEVICE` on other devices."""
PIXELS_ON_DEVICE = 100_000_000


@torch.no_grad()
def horn_schunck(
    video: torch.Tensor | np.ndarray,
    *,
    mode: str = "pyramid",
    num_iterations: int | None = None,
    smoothness: float | None = None,
    stillness: float | None = None,
    sigma: float | None = None,
    num_levels: int | None = None,
    num_warps: int | None = None,
    max_step: float | None = None,
    brightness_weight: float | None = None,
    sobel_gain: float | None = None,
    intensity_range: float | None = None,
) -> torch.Tensor:
    r"""Dense optical flow between consecutive frames.

    Parameters
    ----------
    video : torch.Tensor or numpy.ndarray, shape (..., F, H, W)
        Grey frames, uint8 (0 to 255) or floating (0 to 1), on any device. At least two frames.
    mode : {"pyramid", "paper", "classic"}
        `"pyramid"` is coarse-to-fine and sub-pixel accurate for motion of up to several pixels per frame. `"paper"`
        implements the paper's Eq. 3-4 literally; on real phase contrast it detects hardly any motion. `"classic"` is
        Horn and Schunck's own discretisation of 1981 at one scale, for comparison with other implementations.
    num_iterations : int, optional
        Paper and classic: iterations from zero, 10 by default. Pyramid: iterations per warp, 20 by default, and twice
        as many at the coarse levels.
    smoothness : float, optional
        Pyramid and classic: :math:`\alpha` of Horn and Schunck's iteration, on 8-bit values; 15 by default.
    stillness : float, optional
        Pyramid: :math:`\beta`, which pulls the flow towards zero in blank regions only; on 8-bit values. At 0, the
        default, these regions move with the nearest cells, and with a frame that shifts as a whole; at 2 the background
        of a culture stays at rest.
    sigma : float, optional
        Pyramid: Gaussian blur of the frames at each level, in pixels; 1 by default.
    num_levels : int, optional
        Pyramid: levels, each half the side of the one before. By default until a side falls below 32.
    num_warps : int, optional
        Pyramid: linearisations per level, 3 by default.
    max_step : float, optional
        Pyramid: largest change of either component in one warp, in pixels of its level; 1 by default.
    brightness_weight : float, optional
        Paper: :math:`\lambda`, the weight of brightness constancy; 1 by default, as in the paper.
    sobel_gain : float, optional
        Paper: twice the sum of the positive Sobel weights; 8, the default, for the integer kernel, 1 for a true
        derivative. The paper does not state it.
    intensity_range : float, optional
        Paper: value of white; 255 by default, or 1. The paper does not state it.

    Returns
    -------
    torch.Tensor, shape (..., 2, F-1, H, W)
        u (to the right) and v (down) in pixels per frame; flow k leads from frame k to frame k+1, so that
        `warp(video[k + 1], flow[:, k])` looks like `video[k]`. float64 for a float64 video, else float32.

    Raises
    ------
    ValueError
        If the mode is unknown, an option is out of range or belongs to another mode, or the video has fewer than two
        frames, fewer than three axes, another dtype, values that are not finite, or floating values outside [0, 1] by
        more than 0.001.
    """
    options = {
        "num_iterations": num_iterations,
        "smoothness": smoothness,
        "stillness": stillness,
        "sigma": sigma,
        "num_levels": num_levels,
        "num_warps": num_warps,
        "max_step": max_step,
        "brightness_weight": brightness_weight,
        "sobel_gain": sobel_gain,
        "intensity_range": intensity_range,
    }
    given = {name: value for name, value in options.items() if value is not None}
    check_options(mode, given)
    solve, defaults = MODES[mode]
    video = as_tensor(video)
    check_video(video)
    dtype = torch.float64 if video.dtype == torch.float64 else torch.float32
    clips = video.reshape(-1, *video.shape[-3:])
    flow = torch.empty(len(clips), 2, clips.shape[1] - 1, *clips.shape[2:], dtype=dtype, device=video.device)
    pixels = PIXELS_AT_A_TIME.get(video.device.type, PIXELS_ON_DEVICE)
    run = max(1, pixels // (clips.shape[2] * clips.shape[3]))  # pairs at a time: memory does not grow with the clip
    for target, clip in zip(flow, clips, strict=True):
        for start in range(0, clip.shape[0] - 1, run):
            frames = as_eight_bit(clip[start : start + run + 1])
            target[:, start : start + run] = solve(frames, **defaults | given)
    return flow.view(*video.shape[:-3], *flow.shape[1:])


def check_options(mode: str, given: dict[str, float]) -> None:
    """Raise `ValueError` unless the mode is known, takes all of the options, and they are in range."""
    if mode not in MODES:
        raise ValueError(f'mode must be "pyramid", "paper" or "classic", got {mode!r}')
    for name, value in given.items():
        if name not in MODES[mode][1]:
            owners = " or ".join(other for other, (_, defaults) in MODES.items() if name in defaults)
            raise ValueError(f"{name} is an option of mode {owners}, got it with mode {mode}")
        if name in WHOLE and not isinstance(value, int | np.integer):
            raise ValueError(f"{name} must be a whole number, got {value}")
        least = LEAST.get(name)
        if least is None and not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
        if least is not None and not value >= least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


def paper_flow(
    video: torch.Tensor,
    *,
    num_iterations: int,
    brightness_weight: float,
    sobel_gain: float,
    intensity_range: float,
) -> torch.Tensor:
    """Eq. 3-4 for one clip `(F, H, W)` of 8-bit values as floats -> `(2, F-1, H, W)`. Borders are replicated."""
    video = video * (intensity_range / 255)
    flow = video.new_empty(2, video.shape[0] - 1, *video.shape[1:])
    for pairs in cached_pairs(flow):
        current, following = video[pairs], video[pairs.start + 1 : pairs.stop + 1]
        gradient = _sobel(current, sobel_gain)
        scale = (1 / brightness_weight + gradient.square().sum(0)).rsqrt_()
        flow[:, pairs] = relax(None, gradient * scale, (current - following) * scale, num_iterations=num_iterations)
    return flow


def classic_flow(video: torch.Tensor, *, num_iterations: int, smoothness: float) -> torch.Tensor:
    """Horn and Schunck (1981) for one clip `(F, H, W)` of 8-bit values as floats -> `(2, F-1, H, W)`.

    Derivatives over cubes of 2x2x2 pixels, flipped as by the paper's convolution; eight neighbours; zero outside the
    frame.
    """
    padded = functional.pad(video, (1, 0, 1, 0))
    rows = padded[:, 1:] + padded[:, :-1]
    columns = padded[:, :, 1:] + padded[:, :, :-1]
    along_x, along_y = rows[..., :-1] - rows[..., 1:], columns[:, :-1] - columns[:, 1:]
    level = rows[..., :-1] + rows[..., 1:]
    flow = video.new_empty(2, video.shape[0] - 1, *video.shape[1:])
    for pairs in cached_pairs(flow):
        following = slice(pairs.start + 1, pairs.stop + 1)
        gradient = torch.stack([d[pairs] + d[following] for d in (along_x, along_y)]).div_(4)
        scale = (smoothness**2 + gradient.square().sum(0)).rsqrt_()
        flow[:, pairs] = relax(
            None,
            gradient * scale,
            (level[pairs] - level[following]).div_(4) * scale,
            num_iterations=num_iterations,
            eight_neighbours=True,
            border="zero",
        )
    return flow


def _sobel(frames: torch.Tensor, gain: float) -> torch.Tensor:
    """True convolution with Sobel-x = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]] and its transpose, scaled to `gain`."""
    p = functional.pad(frames, (1, 1, 1, 1), mode="replicate")
    down = torch.lerp(p[:, :-2], p[:, 2:], 0.5).lerp_(p[:, 1:-1], 0.5)  # (1, 2, 1) / 4
    across = torch.lerp(p[:, :, :-2], p[:, :, 2:], 0.5).lerp_(p[:, :, 1:-1], 0.5)
    return torch.stack((down[:, :, :-2] - down[:, :, 2:], across[:, :-2] - across[:, 2:])).mul_(gain / 2)


MODES: dict[str, tuple[Callable[..., torch.Tensor], dict[str, Any]]] = {
    "pyramid": (
        pyramid_flow,
        {
            "num_iterations": 20,
            "smoothness": 15.0,
            "stillness": 0.0,
            "sigma": 1.0,
            "num_levels": None,
            "num_warps": 3,
            "max_step": 1.0,
        },
    ),
    "paper": (
        paper_flow,
        {"num_iterations": 10, "brightness_weight": 1.0, "sobel_gain": 8.0, "intensity_range": 255.0},
    ),
    "classic": (classic_flow, {"num_iterations": 10, "smoothness": 15.0}),
}
"""Solver for one clip and default options of each mode of `horn_schunck`."""
