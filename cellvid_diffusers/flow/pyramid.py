r"""Coarse-to-fine Horn-Schunck: the flow of real recordings, where frames move by more than their texture is fine.

Each level of an image pyramid repeats a few *warps*. A warp samples the next frame at x + w0, where w0 = (u0, v0)
is the flow so far, linearises the difference there, and minimises the energy of Horn and Schunck (1981),

.. math:: \int (I_x (u - u_0) + I_y (v - v_0) + I_t)^2 + \alpha^2 (|\nabla u|^2 + |\nabla v|^2),

with gradients that stay constant inside the warp. Its Jacobi iteration is Eq. 3-4 of the paper; Chebyshev's
weights reach in ten iterations what Jacobi reaches in about forty. Then the step is clipped and the flow is
median filtered (Sun, Roth and Black 2014): without these two, real phase contrast diverges.

References: Determining optical flow (Horn and Schunck, 1981), https://doi.org/10.1016/0004-3702(81)90024-2;
A quantitative analysis of current practices in optical flow estimation and the principles behind them
(Sun, Roth and Black, 2014), https://doi.org/10.1007/s11263-013-0644-x
"""

import torch
from torch.nn import functional

from .warp import sample

__all__ = ["pyramid_flow"]

_COARSEST_SIDE = 16
_JACOBI_RADIUS = 0.99


def pyramid_flow(
    video: torch.Tensor,
    *,
    smoothness: float,
    sigma: float,
    num_levels: int | None,
    num_warps: int,
    num_iterations: int,
    max_step: float,
) -> torch.Tensor:
    """Flow of one clip `(F, H, W)` of 8-bit values as floats -> `(2, F-1, H, W)`; the options of `horn_schunck`."""
    levels = [video]
    while len(levels) != num_levels and (num_levels or min(levels[-1].shape[-2:]) >= 2 * _COARSEST_SIDE):
        half = tuple((side + 1) // 2 for side in levels[-1].shape[-2:])
        levels.append(functional.interpolate(levels[-1][:, None], size=half, mode="area")[:, 0])

    flow = torch.zeros(2, video.shape[0] - 1, *levels[-1].shape[-2:], dtype=video.dtype, device=video.device)
    for level in reversed(levels):
        frames = smooth(level, sigma)
        flow = _resize_flow(flow, level.shape[-2:])
        for _ in range(num_warps):
            flow = flow + (_solve(frames, flow, smoothness, num_iterations) - flow).clamp(-max_step, max_step)
            flow = median(flow)
    return flow


def smooth(video: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of the last two axes of `(N, H, W)`, the border continued."""
    if sigma == 0:
        return video
    radius = int(3 * sigma + 0.5)
    x = torch.arange(-radius, radius + 1, dtype=video.dtype, device=video.device)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = functional.pad(video[:, None], (radius,) * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])[:, 0]


def median(flow: torch.Tensor) -> torch.Tensor:
    """Median of five along rows, then along columns: a 5x5 median by 20 passes of min and max, no sorting."""
    for axis, padding in ((-1, (2, 2, 0, 0)), (-2, (0, 0, 2, 2))):
        padded = functional.pad(flow, padding, mode="replicate")
        a, b, c, d, e = (padded.narrow(axis, i, flow.shape[axis]) for i in range(5))
        low = torch.maximum(torch.minimum(a, b), torch.minimum(d, e))
        high = torch.minimum(torch.maximum(a, b), torch.maximum(d, e))
        low, high = torch.minimum(low, high), torch.maximum(low, high)
        flow = torch.maximum(low, torch.minimum(high, c))
    return flow


def _resize_flow(flow: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    ratio = flow.new_tensor([size[1] / flow.shape[-1], size[0] / flow.shape[-2]])
    return functional.interpolate(flow, size=size, mode="bilinear", align_corners=False) * ratio[:, None, None, None]


def _gradient(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    padded = functional.pad(image, (1, 1, 1, 1), mode="replicate")
    across = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    return across, down


def _solve(frames: torch.Tensor, flow: torch.Tensor, smoothness: float, num_iterations: int) -> torch.Tensor:
    """Minimise the energy linearised at `flow` (2, N, H, W), Chebyshev-weighted Jacobi from `flow` itself."""
    current, following = frames[:-1], sample(frames[1:], flow.transpose(0, 1))
    inside = _inside(flow)
    i_x, i_y = (g * inside for g in _gradient((current + following) / 2))
    i_t = (following - current) * inside
    scale = (smoothness**2 + i_x**2 + i_y**2).rsqrt()
    gradient = torch.stack((i_x * scale, i_y * scale))
    offset = i_t * scale - (gradient * flow).sum(0)

    previous, now, omega = flow, flow, 1.0
    for k in range(num_iterations):
        padded = functional.pad(now, (1, 1, 1, 1), mode="replicate")
        mean = torch.lerp(
            torch.lerp(padded[..., :-2, 1:-1], padded[..., 2:, 1:-1], 0.5),
            torch.lerp(padded[..., 1:-1, :-2], padded[..., 1:-1, 2:], 0.5),
            0.5,
        )
        residual = torch.addcmul(torch.addcmul(offset, gradient[0], mean[0]), gradient[1], mean[1])
        jacobi = mean.addcmul_(gradient, residual, value=-1)
        if k:
            omega = 1 / (1 - _JACOBI_RADIUS**2 / (2 if k == 1 else 4 / omega))
        previous, now = now, torch.lerp(previous, jacobi, omega)
    return now


def _inside(flow: torch.Tensor) -> torch.Tensor:
    """1 where x + flow lies in the frame, falling to 0 one pixel outside: no data, only smoothness, beyond."""
    height, width = flow.shape[-2:]
    x = flow[0] + torch.arange(width, dtype=flow.dtype, device=flow.device)
    y = flow[1] + torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None]
    outside = torch.maximum((x - x.clamp(0, width - 1)).abs(), (y - y.clamp(0, height - 1)).abs())
    return (1 - outside).clamp_(min=0)
