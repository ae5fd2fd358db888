"""The paper's motion network (its Section 3.2 and Figure 1): three branches, video, U and V, merged at every scale.

At each scale, I, U and V being the features of the branches:

    I <- temporal attention(spatial attention(two ResNet layers(I)))
    U <- space-time attention(conv(U)),   V <- space-time attention(conv(V))
    M <- conv(space-time attention(U || V))          to half the channels
    I <- conv(I || M)                                to half the channels

and all three are passed to the next scale. The motion branches have no ResNet layers; space-time attention is factored
into space and time and is conditioned on the time embedding.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from .layers import AxialAttention, SpatialConv, depth_to_space, make_norm, space_to_depth
from .tower import Stage

Triple = list[torch.Tensor]


class SpaceTimeAttention(nn.Module):
    """Spatial, then temporal attention, each conditioned on the time embedding: `(B, F, H, W, C)` in and out."""

    def __init__(self, channels: int, embed_dim: int, head_dim: int) -> None:
        super().__init__()
        self.space = AxialAttention(channels, "space", head_dim=head_dim, embed_dim=embed_dim)
        self.time = AxialAttention(channels, "time", head_dim=head_dim, embed_dim=embed_dim)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        return self.time(self.space(x, embedding), embedding)


class PaperStage(nn.Module):
    """One scale of Figure 1: features of I, U and V in, fused features of I, U and V out, `channels` each."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        layers: int,
        embed_dim: int,
        *,
        head_dim: int,
        norm_type: str,
        norm_num_groups: int,
    ) -> None:
        super().__init__()
        self.video = Stage(
            in_channels,
            channels,
            layers,
            embed_dim,
            spatial_attention=True,
            temporal="attention",
            head_dim=head_dim,
            norm_type=norm_type,
            norm_num_groups=norm_num_groups,
        )
        self.convs = nn.ModuleList(SpatialConv(in_channels, channels, 3, padding=1) for _ in range(2))
        self.attentions = nn.ModuleList(SpaceTimeAttention(channels, embed_dim, head_dim) for _ in range(2))
        self.merge_attention = SpaceTimeAttention(2 * channels, embed_dim, head_dim)
        self.merge_conv = SpatialConv(2 * channels, channels, 3, padding=1)
        self.fuse_conv = SpatialConv(2 * channels, channels, 3, padding=1)

    def forward(
        self, video: torch.Tensor, u: torch.Tensor, v: torch.Tensor, embedding: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Each `(B, F, H, W, C)`, and the embedding `(B, F, E)` -> each `(B, F, H, W, C')`."""
        video = self.video(video, embedding)
        u = self.attentions[0](self.convs[0](u), embedding)
        v = self.attentions[1](self.convs[1](v), embedding)
        motion = self.merge_conv(self.merge_attention(torch.cat([u, v], dim=-1), embedding))
        return self.fuse_conv(torch.cat([video, motion], dim=-1)), u, v


class PaperTower(nn.Module):
    """The whole network: stems, down, middle and up stages, heads; I, U and V each have their own skips.

    Args:
        patch_size, block_out_channels, layers_per_block, embed_dim, stem_kernel_size, attention_head_dim, norm_type,
        norm_num_groups: As in `Tower`.
    """

    def __init__(
        self,
        *,
        patch_size: int,
        block_out_channels: list[int],
        layers_per_block: int,
        embed_dim: int,
        stem_kernel_size: int,
        attention_head_dim: int,
        norm_type: str,
        norm_num_groups: int,
    ) -> None:
        super().__init__()
        channels, last = block_out_channels, len(block_out_channels) - 1

        def stage(in_channels: int, scale: int) -> PaperStage:
            return PaperStage(
                in_channels,
                channels[scale],
                layers_per_block,
                embed_dim,
                head_dim=attention_head_dim,
                norm_type=norm_type,
                norm_num_groups=norm_num_groups,
            )

        def three(make: Callable[[], nn.Module]) -> nn.ModuleList:
            """One for each of I, U and V."""
            return nn.ModuleList(make() for _ in range(3))

        self.patch_size, self.gradient_checkpointing = patch_size, False
        pad = stem_kernel_size // 2
        self.stems = three(partial(SpatialConv, patch_size**2, channels[0], stem_kernel_size, padding=pad))
        self.stem_attention = AxialAttention(channels[0], "time", head_dim=attention_head_dim)
        self.down = nn.ModuleList(stage(channels[i], i) for i in range(last + 1))
        self.shrink = nn.ModuleList(
            three(partial(SpatialConv, channels[i], channels[i + 1], 2, stride=2)) for i in range(last)
        )
        self.middle = stage(channels[-1], last)
        self.up = nn.ModuleList(stage(2 * channels[i], i) for i in range(last + 1))
        self.grow = nn.ModuleList(three(partial(nn.Linear, channels[i + 1], 4 * channels[i])) for i in range(last))
        self.norms_out = three(partial(make_norm, norm_type, channels[0], norm_num_groups))
        self.heads = three(partial(SpatialConv, channels[0], patch_size**2, 3, padding=1))

    def forward(self, sample: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """A clip `(B, 3, F, H, W)` and its embedding `(B, F, E)` -> a clip `(B, 3, F, H, W)`."""
        channels_last = sample.permute(0, 2, 3, 4, 1)
        h: Triple = [
            stem(space_to_depth(channels_last[..., i : i + 1], self.patch_size)) for i, stem in enumerate(self.stems)
        ]
        h[0] = self.stem_attention(h[0], embedding)
        skips: list[Triple] = []
        for index, stage in enumerate(self.down):
            h = self._run(stage, h, embedding)
            skips.append(h)
            if index < len(self.shrink):
                h = [conv(x) for conv, x in zip(self.shrink[index], h, strict=True)]
        h = self._run(self.middle, h, embedding)
        for index in reversed(range(len(self.up))):
            h = [torch.cat(pair, dim=-1) for pair in zip(h, skips.pop(), strict=True)]
            h = self._run(self.up[index], h, embedding)
            if index:
                h = [depth_to_space(linear(x), 2) for linear, x in zip(self.grow[index - 1], h, strict=True)]
        out = [
            depth_to_space(head(F.silu(norm(x))), self.patch_size)
            for head, norm, x in zip(self.heads, self.norms_out, h, strict=True)
        ]
        return torch.cat(out, dim=-1).permute(0, 4, 1, 2, 3)

    def _run(self, stage: nn.Module, h: Triple, embedding: torch.Tensor) -> Triple:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return list(self._gradient_checkpointing_func(stage, *h, embedding))
        return list(stage(*h, embedding))
