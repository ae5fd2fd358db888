r"""Coarse-to-fine Horn-Schunck flow for real recordings, in which motion exceeds the scale of the texture.

Each level of an image pyramid repeats a few *warps*. A warp samples the next frame at x + w0, where w0 = (u0, v0)
is the current flow, linearises the difference there, and minimises the energy of Horn and Schunck (1981),

.. math:: \int (I_x (u - u_0) + I_y (v - v_0) + I_t)^2 + \tfrac14 \alpha^2 (|\nabla u|^2 + |\nabla v|^2),

with gradients held constant within the warp. The quarter corresponds to their iteration, which pulls each pixel with
weight alpha^2 towards the mean of its four neighbours. Then the step is clipped and the flow is median filtered (Sun,
Roth and Black 2014): without these two, real phase contrast diverges. Coarse levels, where texture is scarce and
pixels are cheap, run twice as many iterations. Blank parts of a frame show no motion, and smoothness would extend the
flow of the nearest cell over them; there alone, `stillness` adds beta^2 (u^2 + v^2), which brings the background to
rest.

References: Determining optical flow (Horn and Schunck, 1981), https://doi.org/10.1016/0004-3702(81)90024-2;
A quantitative analysis of current practices in optical flow estimation and the principles behind them
(Sun, Roth and Black, 2014), https://doi.org/10.1007/s11263-013-0644-x
"""

import torch
from torch.nn import functional

from .relaxation import cached_pairs, relax
from .warp import sample

__all__ = ["pyramid_flow"]

_COARSEST_SIDE = 16
_JACOBI_RADIUS = 0.998


def pyramid_flow(
    video: torch.Tensor,
    *,
    smoothness: float,
    stillness: float,
    sigma: float,
    num_levels: int | None,
    num_warps: int,
    num_iterations: int,
    max_step: float,
) -> torch.Tensor:
    """Flow of one clip `(F, H, W)` of 8-bit values as floats -> `(2, F-1, H, W)`; options are as in `horn_schunck`."""
    levels = [video]
    while len(levels) != num_levels and (num_levels or min(levels[-1].shape[-2:]) >= 2 * _COARSEST_SIDE):
        half = tuple((side + 1) // 2 for side in levels[-1].shape[-2:])
        levels.append(functional.interpolate(levels[-1][:, None], size=half, mode="area")[:, 0])

    flow = torch.zeros(2, video.shape[0] - 1, *levels[-1].shape[-2:], dtype=video.dtype, device=video.device)
    for octave, level in reversed(list(enumerate(levels))):
        frames = smooth(level, sigma)
        flow = _resize_flow(flow, level.shape[-2:])
        iterations = num_iterations if octave == 0 else 2 * num_iterations
        for pairs in cached_pairs(flow):
            part, some = flow[:, pairs], frames[pairs.start : pairs.stop + 1]
            beta2 = _stillness(some[:-1], stillness * 2**octave) if stillness else None
            for _ in range(num_warps):
                target = _solve(some, part, smoothness**2, beta2, iterations)
                part = median(part + (target - part).clamp_(-max_step, max_step))
            flow[:, pairs] = part
    return flow


def smooth(video: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of the last two axes of `(N, H, W)`, with replicated borders."""
    if sigma == 0:
        return video
    radius = int(3 * sigma + 0.5)
    x = torch.arange(-radius, radius + 1, dtype=video.dtype, device=video.device)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = functional.pad(video[:, None], (radius,) * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])[:, 0]


def median(flow: torch.Tensor) -> torch.Tensor:
    """Median of five along rows, then along columns: close to a 5x5 median, and computed with only min and max."""
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


def _stillness(frames: torch.Tensor, stillness: float) -> torch.Tensor:
    """beta^2 of each pixel `(N, H, W)`: `stillness` squared where the frame is blank, less where it has texture."""
    i_x, i_y = _gradient(frames)
    return (stillness / (1 + smooth(i_x**2 + i_y**2, 2.0))) ** 2


def _solve(
    frames: torch.Tensor, flow: torch.Tensor, alpha2: float, beta2: torch.Tensor | None, num_iterations: int
) -> torch.Tensor:
    """Minimise the energy linearised at `flow` (2, N, H, W), by Chebyshev-weighted Jacobi iteration from `flow`."""
    current, following = frames[:-1], sample(frames[1:], flow.transpose(0, 1), interpolation="bicubic")
    inside = _inside(flow)
    i_x, i_y = (g.mul_(inside) for g in _gradient((current + following).div_(2)))
    i_t = (following - current).mul_(inside)
    keep = None if beta2 is None else alpha2 / (alpha2 + beta2)
    scale = (torch.addcmul(i_x * i_x, i_y, i_y) + (alpha2 if beta2 is None else alpha2 + beta2)).rsqrt_()
    gradient = torch.stack((i_x, i_y)).mul_(scale)
    offset = i_t.mul_(scale).sub_((gradient * flow).sum(0))

    return relax(flow, gradient, offset, num_iterations=num_iterations, keep=keep, radius=_JACOBI_RADIUS)


def _inside(flow: torch.Tensor) -> torch.Tensor:
    """1 where x + flow lies in the frame, falling to 0 one pixel outside; beyond, only the smoothness term remains."""
    height, width = flow.shape[-2:]
    x = flow[0] + torch.arange(width, dtype=flow.dtype, device=flow.device)
    y = flow[1] + torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None]
    outside = torch.maximum((x - x.clamp(0, width - 1)).abs(), (y - y.clamp(0, height - 1)).abs())
    return (1 - outside).clamp_(min=0)
