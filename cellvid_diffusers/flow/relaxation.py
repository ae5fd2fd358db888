"""The inner loop of Horn and Schunck: repeated averaging of the flow, corrected by the data term.

One pass is a Jacobi iteration. With a scaled gradient g = (I_x, I_y) / d and offset c = (I_t - I_x u_0 - I_y v_0) / d,
where d^2 = alpha^2 + I_x^2 + I_y^2, it reads w <- m - g (g . m + c) with m the mean of the neighbours of w.
Chebyshev weights, for a Jacobi iteration of spectral radius `radius`, converge in far fewer passes; radius 0 makes each
weight 1, which is plain Jacobi.

Each pass writes into preallocated buffers, and `cached_pairs` splits the work so that they stay in the processor's
cache; a third as many pixels at a time, or twice as many, is 10 to 20 % slower.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch.nn import functional

__all__ = ["cached_pairs", "relax"]

_CACHED_PIXELS = 9 * 128 * 128


def cached_pairs(flow: torch.Tensor) -> Iterator[slice]:
    """Split the N frame pairs of a flow `(2, N, H, W)` into runs small enough for the cache; one run on a GPU."""
    count = flow.shape[1] if flow.is_cuda else max(1, _CACHED_PIXELS // flow[0, 0].numel())
    for start in range(0, flow.shape[1], count):
        yield slice(start, min(start + count, flow.shape[1]))


def relax(
    flow: torch.Tensor | None,
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
    flow : torch.Tensor, shape (2, N, H, W), optional
        Initial flow; None is zero flow, for which the first pass needs no neighbours.
    gradient, offset : torch.Tensor, shapes (2, N, H, W) and (N, H, W)
        g and c of the module's docstring.
    num_iterations : int
        Number of passes.
    keep : torch.Tensor, shape (N, H, W), optional
        Factor on the mean, below 1 where the flow is pulled towards zero.
    radius : float
        Spectral radius that the Chebyshev weights assume, 0 for Jacobi.
    eight_neighbours : bool
        Mean of Horn and Schunck (1981): 1/6 of each edge neighbour, 1/12 of each corner. Otherwise the paper's: 1/4
        of each edge neighbour.
    border : {"continue", "zero"}
        Flow outside the frame: its outermost values, or zero.
    """
    mode = "replicate" if border == "continue" else "constant"
    start = -gradient * offset if flow is None else flow
    padded = functional.pad(start, (1, 1, 1, 1), mode=mode)
    fields = (padded, torch.zeros_like(padded))
    averages = (_eight_neighbours if eight_neighbours else _four_neighbours)(fields)
    # Views are created once, as creating them costs as much as the arithmetic.
    now, before = (
        (average, field[..., 1:-1, 1:-1], _edges(field)) for average, field in zip(averages, fields, strict=True)
    )
    residual, weight = torch.empty_like(offset), 1.0
    along_x, along_y = gradient
    for k in range(0 if flow is not None else 1, num_iterations):
        mean = now[0]()
        if keep is not None:
            mean.mul_(keep)
        torch.addcmul(offset, along_x, mean[0], out=residual).addcmul_(along_y, mean[1])
        _, inner, edges = before
        if radius == 0 or k == 0:
            torch.addcmul(mean, gradient, residual, value=-1, out=inner)
        else:
            weight = 1 / (1 - radius**2 * (0.5 if k == 1 else weight / 4))
            inner.lerp_(mean.addcmul_(gradient, residual, value=-1), weight)
        if border == "continue":
            for outer, nearest in edges:
                outer.copy_(nearest)
        before, now = now, before
    return now[1]


def _four_neighbours(fields: Sequence[torch.Tensor]) -> list[Callable[[], torch.Tensor]]:
    """For each padded field, a function that returns the mean of the four neighbours of inner pixels, in one buffer.

    A pixel's left and upper neighbours are the lower and right neighbours of the pixel one up and one left, so the mean
    of each such pair is computed only once.
    """
    pairs = torch.empty_like(fields[0][..., 1:, 1:])
    first, second = pairs[..., :-1, :-1], pairs[..., 1:, 1:]
    mean = torch.empty_like(first)

    def average(above: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
        torch.lerp(above, beside, 0.5, out=pairs)
        return torch.lerp(first, second, 0.5, out=mean)

    return [partial(average, field[..., :-1, 1:], field[..., 1:, :-1]) for field in fields]


def _eight_neighbours(fields: Sequence[torch.Tensor]) -> list[Callable[[], torch.Tensor]]:
    """As `_four_neighbours`, with edge neighbours weighted 1/6 and corners 1/12.

    The binomial 3x3 filter is separable; extrapolating it away from the centre pixel gives these weights.
    """
    rows = torch.empty_like(fields[0][..., 1:-1])
    mean = torch.empty_like(rows[..., 1:-1, :])

    def average(field: torch.Tensor) -> torch.Tensor:
        torch.lerp(field[..., :-2], field[..., 2:], 0.5, out=rows).lerp_(field[..., 1:-1], 0.5)
        torch.lerp(rows[..., :-2, :], rows[..., 2:, :], 0.5, out=mean).lerp_(rows[..., 1:-1, :], 0.5)
        return torch.lerp(field[..., 1:-1, 1:-1], mean, 4 / 3, out=mean)

    return [partial(average, field) for field in fields]


def _edges(field: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Each border of a padded field and the pixels next to it; rows come first, so that columns fill the corners."""
    return [
        (field[..., 0, :], field[..., 1, :]),
        (field[..., -1, :], field[..., -2, :]),
        (field[..., 0], field[..., 1]),
        (field[..., -1], field[..., -2]),
    ]
