"""Sampling an image where a flow field points: `warp(frame[k + 1], flow[k])` looks like `frame[k]`."""

import torch
from torch.nn import functional

__all__ = ["warp"]


def warp(image: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Sample an image at every pixel's position plus its flow, bilinearly.

    Parameters
    ----------
    image : torch.Tensor, shape (..., H, W)
        Any value range. Outside the image its outermost pixels are repeated.
    flow : torch.Tensor, shape (..., 2, H, W)
        Displacement in pixels, u (to the right) then v (down), with the same leading axes as `image`.

    Returns
    -------
    torch.Tensor, shape (..., H, W)
        `image(x + u, y + v)` in the dtype of `image`, or float32 if that is an integer type. Zero flow returns a finite
        image bit for bit.

    Raises
    ------
    ValueError
        If the shapes do not match.
    """
    if flow.shape != (*image.shape[:-2], 2, *image.shape[-2:]):
        raise ValueError(
            f"flow must have the image's shape with an axis of 2 before the last two, "
            f"got image {tuple(image.shape)} and flow {tuple(flow.shape)}"
        )
    dtype = image.dtype if image.is_floating_point() else torch.float32
    exact = torch.promote_types(dtype, torch.float32)  # coordinates in half precision would miss their pixels
    height, width = image.shape[-2:]
    warped = sample(image.reshape(-1, height, width).to(exact), flow.reshape(-1, 2, height, width).to(exact))
    return warped.view(image.shape).to(dtype)


def sample(image: torch.Tensor, flow: torch.Tensor, *, interpolation: str = "bilinear") -> torch.Tensor:
    """`warp` for `(N, H, W)` floats, unchecked.

    `grid_sample` takes coordinates normalised by the side of the image. This is exact, as zero flow requires, only if
    the side is a power of two, so the image is padded to the next one.
    """
    height, width = image.shape[-2:]
    padded_height, padded_width = (1 << (side - 1).bit_length() for side in (height, width))
    if (padded_height, padded_width) != (height, width):
        padding = (0, padded_width - width, 0, padded_height - height)
        image = functional.pad(image[:, None], padding, mode="replicate")[:, 0]
    options = {"dtype": image.dtype, "device": image.device}
    column = (2 * torch.arange(width, **options) + 1) / padded_width - 1
    row = (2 * torch.arange(height, **options) + 1) / padded_height - 1
    across = torch.add(column, flow[:, 0], alpha=2 / padded_width)
    down = torch.add(row[:, None], flow[:, 1], alpha=2 / padded_height)
    grid = torch.stack((across, down), dim=-1)
    return functional.grid_sample(image[:, None], grid, mode=interpolation, padding_mode="border", align_corners=False)[
        :, 0
    ]
