"""The inner loop of Horn and Schunck: repeated averaging of the flow, corrected by what the frames say.

One pass is Jacobi's. With a scaled gradient g = (I_x, I_y) / d and offset c = (I_t - I_x u_0 - I_y v_0) / d,
where d^2 = alpha^2 + I_x^2 + I_y^2, it reads w <- m - g (g . m + c) with m the mean of the neighbours of w.
Chebyshev's weights, for a Jacobi iteration of spectral radius `radius`, bring the next w closer in far fewer passes;
radius 0 makes each weight 1 and leaves plain Jacobi.

Each pass writes into buffers made once, and `cached_pairs` cuts the work so that they stay in the processor's
cache: allocating them afresh, or taking nine frames of 128 x 128 at a time, is several times slower.
"""

from collections.abc import Iterator

import torch
from torch.nn import functional

__all__ = ["cached_pairs", "relax"]

_CACHED_PIXELS = 3 * 128 * 128


def cached_pairs(flow: torch.Tensor) -> Iterator[slice]:
    """Cut the N frame pairs of a flow `(2, N, H, W)` into runs small enough for the cache; one run on a GPU."""
    count = flow.shape[1] if flow.is_cuda else max(1, _CACHED_PIXELS // flow[0, 0].numel())
    for start in range(0, flow.shape[1], count):
        yield slice(start, min(start + count, flow.shape[1]))


def relax(
    flow: torch.Tensor,
    gradient: torch.Tensor,
    offset: torch.Tensor,
    *,
    num_iterations: int,
    keep: torch.Tensor | None = None,
    radius: float = 0.0,
    eight_neighbours: bool = False,
    border: str = "continue",
) -> torch.Tensor:
    """Iterate a flow towards the minimum of the linearised energy.

    Parameters
    ----------
    flow : torch.Tensor, shape (2, N, H, W)
        Where to start.
    gradient, offset : torch.Tensor, shapes (2, N, H, W) and (N, H, W)
        g and c of the module's docstring.
    num_iterations : int
        Passes.
    keep : torch.Tensor, shape (N, H, W), optional
        Factor on the mean, below 1 where the flow is pulled towards zero.
    radius : float
        Spectral radius that Chebyshev's weights assume, 0 for Jacobi.
    eight_neighbours : bool
        Mean of Horn and Schunck (1981): 1/6 of each edge neighbour, 1/12 of each corner. Otherwise the paper's: 1/4
        of each edge neighbour.
    border : {"continue", "zero"}
        What the flow is outside the frame: its outermost values, or nothing.
    """
    now = functional.pad(flow, (1, 1, 1, 1), mode="replicate" if border == "continue" else "constant")
    before = now.clone()
    mean, residual = torch.empty_like(flow), torch.empty_like(offset)
    other = torch.empty_like(now[..., 1:-1] if eight_neighbours else flow)
    weight = 1.0
    for k in range(num_iterations):
        if eight_neighbours:
            # The binomial 3x3 is separable; extrapolated away from its centre it weighs edges 1/6 and corners 1/12.
            torch.lerp(now[..., :-2], now[..., 2:], 0.5, out=other).lerp_(now[..., 1:-1], 0.5)
            torch.lerp(other[..., :-2, :], other[..., 2:, :], 0.5, out=mean).lerp_(other[..., 1:-1, :], 0.5)
            torch.lerp(now[..., 1:-1, 1:-1], mean, 4 / 3, out=mean)
        else:
            torch.lerp(now[..., :-2, 1:-1], now[..., 2:, 1:-1], 0.5, out=mean)
            torch.lerp(now[..., 1:-1, :-2], now[..., 1:-1, 2:], 0.5, out=other)
            mean.lerp_(other, 0.5)
        if keep is not None:
            mean.mul_(keep)
        torch.addcmul(offset, gradient[0], mean[0], out=residual).addcmul_(gradient[1], mean[1])
        inner = before[..., 1:-1, 1:-1]
        if radius == 0 or k == 0:
            torch.addcmul(mean, gradient, residual, value=-1, out=inner)
        else:
            weight = 1 / (1 - radius**2 * (0.5 if k == 1 else weight / 4))
            inner.lerp_(mean.addcmul_(gradient, residual, value=-1), weight)
        if border == "continue":
            before[..., 0, :], before[..., -1, :] = before[..., 1, :], before[..., -2, :]
            before[..., 0], before[..., -1] = before[..., 1], before[..., -2]
        before, now = now, before
    return now[..., 1:-1, 1:-1]
