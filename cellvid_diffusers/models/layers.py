"""Building blocks of the 3D U-Nets.

Layout inside the networks: features are `(B, F, H, W, C)`, contiguous, with the channels last. In this one layout

* a spatial `1 x 3 x 3` convolution is a 2D convolution over `(B F, C, H, W)` in `channels_last` memory,
* a temporal `3 x 1 x 1` convolution is a 2D convolution over `(B, C, F, H W)` in `channels_last` memory,
* layer norm, conditioning and attention work on the last axis,

and none of the views between them copies.

Legend: B clips, F frames, H and W rows and columns, C channels, E channels of the conditioning embedding.
"""

import torch
import torch.nn.functional as F
from torch import nn


class SpatialConv(nn.Conv2d):
    """`1 x k x k` convolution of each frame: `(B, F, H, W, C)` -> `(B, F, H / stride, W / stride, C')`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, frames = x.shape[:2]
        y = super().forward(x.flatten(0, 1).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return y.unflatten(0, (batch, frames))


class TemporalConv(nn.Conv2d):
    """`3 x 1 x 1` convolution along the frames of each pixel: `(B, F, H, W, C)` -> `(B, F, H, W, C')`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=(3, 1), padding=(1, 0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:4]
        y = super().forward(x.flatten(2, 3).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return y.unflatten(2, (height, width))


class ChannelGroupNorm(nn.GroupNorm):
    """Group norm of each frame separately, as in Ho et al.'s 3D U-Net: `(B, F, H, W, C)` in and out."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x.flatten(0, 1).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return y.unflatten(0, x.shape[:2])


def make_norm(norm_type: str, channels: int, num_groups: int) -> nn.Module:
    """Layer norm over the channels of each pixel (`"layer"`), or group norm over each frame (`"group"`)."""
    if norm_type == "layer":
        return nn.LayerNorm(channels)
    if norm_type == "group":
        return ChannelGroupNorm(num_groups, channels)
    raise ValueError(f"norm_type must be 'layer' or 'group', got {norm_type!r}")


def zero_init(module: nn.Module) -> nn.Module:
    """Set a layer's weights and bias to zero, so that the branch it ends contributes nothing at first."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def space_to_depth(x: torch.Tensor, size: int) -> torch.Tensor:
    """`(B, F, H, W, C)` -> `(B, F, H / size, W / size, size size C)`."""
    batch, frames, height, width, channels = x.shape
    x = x.reshape(batch, frames, height // size, size, width // size, size, channels)
    return x.transpose(3, 4).reshape(batch, frames, height // size, width // size, size * size * channels)


def depth_to_space(x: torch.Tensor, size: int) -> torch.Tensor:
    """Inverse of `space_to_depth`."""
    batch, frames, height, width, channels = x.shape
    x = x.reshape(batch, frames, height, width, size, size, channels // size**2)
    return x.transpose(3, 4).reshape(batch, frames, height * size, width * size, channels // size**2)


class ResidualBlock(nn.Module):
    """Residual block with a factorised space-time convolution and feature-wise conditioning.

    `x + conv(silu(scale * mix(conv(norm(x))) + shift))`, where `mix` is the temporal convolution (identity without
    it), and scale and shift come from the conditioning embedding of each frame. The last convolution starts at zero.

    Args:
        in_channels (`int`): Input channels.
        out_channels (`int`): Output channels.
        embed_dim (`int`): Channels E of the conditioning embedding.
        temporal_conv (`bool`): Whether neighbouring frames are mixed.
        norm_type (`str`): `"layer"` or `"group"`.
        norm_num_groups (`int`): Groups of the group norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embed_dim: int,
        *,
        temporal_conv: bool,
        norm_type: str,
        norm_num_groups: int,
    ) -> None:
        super().__init__()
        self.norm = make_norm(norm_type, in_channels, norm_num_groups)
        self.conv_in = SpatialConv(in_channels, out_channels, 3, padding=1)
        self.mix = TemporalConv(out_channels, out_channels) if temporal_conv else nn.Identity()
        self.condition = zero_init(nn.Linear(embed_dim, 2 * out_channels))
        self.conv_out = zero_init(SpatialConv(out_channels, out_channels, 3, padding=1))
        self.shortcut = nn.Linear(in_channels, out_channels) if in_channels != out_channels else nn.Identity()

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """`x` `(B, F, H, W, C)` and `embedding` `(B, F, E)` -> `(B, F, H, W, C')`."""
        h = self.mix(self.conv_in(self.norm(x)))
        scale, shift = self.condition(embedding)[:, :, None, None].chunk(2, dim=-1)
        h = torch.addcmul(shift.to(h.dtype), h, 1 + scale.to(h.dtype))
        return self.conv_out(F.silu(h)).add_(self.shortcut(x))


def rotate_by_position(x: torch.Tensor) -> torch.Tensor:
    """Rotary position embedding along axis 1, the frames (Su et al., RoFormer, 2021): `(B, F, ..., D)` in and out.

    Attention then depends on the distance between two frames, not on their absolute positions. The pair (a, b) of
    channels i and i + D / 2 becomes (a cos - b sin, b cos + a sin).
    """
    length, dim = x.shape[1], x.shape[-1]
    frequency = 100.0 ** -torch.linspace(0, 1, dim // 2, device=x.device)
    angle = torch.arange(length, device=x.device)[:, None] * frequency
    shape = (length, *[1] * (x.ndim - 3), dim)
    cos = torch.cat([angle.cos(), angle.cos()], dim=-1).view(shape).to(x.dtype)
    sin = torch.cat([-angle.sin(), angle.sin()], dim=-1).view(shape).to(x.dtype)
    return torch.addcmul(x * cos, x.roll(dim // 2, dims=-1), sin)


MOST_ROWS = 65_535
"""Largest batch per call: CUDA's attention kernels map it to a grid axis, which holds no more."""


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Scaled dot-product attention over the second-last axis: each `(batch, heads, L, D)`.

    The CPU's fused kernel is optimised for float32. In bfloat16 the plain product is 1.3 to 5 times faster up to about
    600 tokens, in training as well as at inference.
    """
    if len(q) > MOST_ROWS:
        parts = zip(*(each.split(MOST_ROWS) for each in (q, k, v)), strict=True)
        return torch.cat([attend(*part) for part in parts])
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[-2] <= 576:
        return torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v)


class AxialAttention(nn.Module):
    """Multi-head self-attention over space (`axis="space"`, the pixels of a frame) or time (`axis="time"`, the frames
    of a pixel), with an optional conditioning embedding, as a residual branch that starts at zero.

    Args:
        channels (`int`): Channels in and out; a multiple of `head_dim`.
        axis (`str`): `"space"` or `"time"`.
        head_dim (`int`): Channels of a head; even.
        embed_dim (`int`, *optional*): Channels E of the embedding that shifts and scales the normed features.
    """

    def __init__(self, channels: int, axis: str, *, head_dim: int, embed_dim: int | None = None) -> None:
        super().__init__()
        if head_dim < 2 or head_dim % 2 or channels % head_dim:  # rotary embedding rotates pairs of channels
            raise ValueError(f"attention_head_dim must be even and divide the channels {channels}, got {head_dim}")
        self.axis, self.head_dim = axis, head_dim
        self.norm = nn.LayerNorm(channels)
        self.condition = zero_init(nn.Linear(embed_dim, 2 * channels)) if embed_dim else None
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.to_out = zero_init(nn.Linear(channels, channels))

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """`x` `(B, F, H, W, C)` and `embedding` `(B, F, E)` -> `(B, F, H, W, C)`."""
        h = self.norm(x)
        if self.condition is not None:
            scale, shift = self.condition(embedding)[:, :, None, None].chunk(2, dim=-1)
            h = torch.addcmul(shift.to(h.dtype), h, 1 + scale.to(h.dtype))
        qkv = self.to_qkv(h).flatten(2, 3).unflatten(-1, (3, -1, self.head_dim))  # (B, F, HW, 3, heads, D)
        if self.axis == "time":
            qk, v = qkv.split([2, 1], dim=3)
            q, k = rotate_by_position(qk).permute(3, 0, 2, 4, 1, 5).flatten(1, 2)  # each (B HW, heads, F, D)
            h = attend(q, k, v.squeeze(3).permute(0, 2, 3, 1, 4).flatten(0, 1))
            h = h.unflatten(0, (x.shape[0], -1)).permute(0, 3, 1, 2, 4)  # (B, F, HW, heads, D)
        else:
            q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).flatten(1, 2)  # each (B F, heads, HW, D)
            h = attend(q, k, v)
            h = h.unflatten(0, x.shape[:2]).transpose(2, 3)
        return self.to_out(h.reshape(x.shape)).add_(x)
