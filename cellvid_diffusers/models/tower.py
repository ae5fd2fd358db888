"""The U-shaped tower of stages that both models are made of.

A tower is a sequence of stages: down 0 … down L-1, middle, up L-1 … up 0. `UNet3DModel` runs one tower; the motion
model runs two in lockstep, which exchange features after every stage.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .layers import (
    AxialAttention,
    ResidualBlock,
    SpatialConv,
    depth_to_space,
    make_norm,
    space_to_depth,
    zero_init,
)


class Stage(nn.Module):
    """Residual blocks at one scale, followed by the attention layers of the scale.

    Args:
        in_channels (`int`): Input channels, including those of the skip.
        channels (`int`): Channels at this scale.
        layers (`int`): Number of residual blocks.
        embed_dim (`int`): Channels E of the conditioning embedding.
        spatial_attention (`bool`): Attention over the pixels of each frame.
        temporal (`str`): How frames are mixed: `"conv"`, `"attention"` or `"both"`.
        head_dim (`int`): Channels of an attention head.
        norm_type (`str`): `"layer"` or `"group"`.
        norm_num_groups (`int`): Groups of the group norm.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        layers: int,
        embed_dim: int,
        *,
        spatial_attention: bool,
        temporal: str,
        head_dim: int,
        norm_type: str,
        norm_num_groups: int,
    ) -> None:
        super().__init__()
        if temporal not in ("conv", "attention", "both"):
            raise ValueError(f"temporal_layers must be 'conv', 'attention' or 'both', got {temporal!r}")
        self.blocks = nn.ModuleList()
        for index in range(layers):
            self.blocks.append(
                ResidualBlock(
                    in_channels if index == 0 else channels,
                    channels,
                    embed_dim,
                    temporal_conv=temporal != "attention",
                    norm_type=norm_type,
                    norm_num_groups=norm_num_groups,
                )
            )
        self.attentions = nn.ModuleList()
        if spatial_attention:
            self.attentions.append(AxialAttention(channels, "space", head_dim=head_dim))
        if temporal != "conv":
            self.attentions.append(AxialAttention(channels, "time", head_dim=head_dim))

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """`(B, F, H, W, C)` and `(B, F, E)` -> `(B, F, H, W, C')`."""
        for block in self.blocks:
            x = block(x, embedding)
        for attention in self.attentions:
            x = attention(x, embedding)
        return x


class Tower(nn.Module):
    """Stem, stages and head of a 3D U-Net.

    Args:
        in_channels (`int`), out_channels (`int`): Channels of the clip.
        patch_size (`int`): Side of the space-to-depth stem; 1 keeps full resolution.
        block_out_channels (`list[int]`): Channels of each scale, fine to coarse.
        layers_per_block (`int`): Residual blocks of each stage.
        embed_dim (`int`): Channels E of the conditioning embedding.
        spatial_attention (`list[bool]`): For each scale, whether pixels attend to each other.
        temporal_layers (`list[str]`): For each scale, `"conv"`, `"attention"` or `"both"`.
        initial_temporal_attention (`bool`): Temporal attention directly after the stem (Ho et al., 2022).
        stem_kernel_size (`int`): Side of the stem's convolution kernel.
        attention_head_dim, norm_type, norm_num_groups: As in `Stage`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        patch_size: int,
        block_out_channels: list[int],
        layers_per_block: int,
        embed_dim: int,
        spatial_attention: list[bool],
        temporal_layers: list[str],
        initial_temporal_attention: bool,
        stem_kernel_size: int,
        attention_head_dim: int,
        norm_type: str,
        norm_num_groups: int,
    ) -> None:
        super().__init__()
        channels, scales = block_out_channels, len(block_out_channels)

        def stage(in_channels: int, scale: int, layers: int) -> Stage:
            return Stage(
                in_channels,
                channels[scale],
                layers,
                embed_dim,
                spatial_attention=spatial_attention[scale],
                temporal=temporal_layers[scale],
                head_dim=attention_head_dim,
                norm_type=norm_type,
                norm_num_groups=norm_num_groups,
            )

        self.patch_size, self.scales = patch_size, scales
        self.gradient_checkpointing = False
        self.stem = SpatialConv(
            in_channels * patch_size**2, channels[0], stem_kernel_size, padding=stem_kernel_size // 2
        )
        self.stem_attention = (
            AxialAttention(channels[0], "time", head_dim=attention_head_dim) if initial_temporal_attention else None
        )
        self.down = nn.ModuleList(stage(channels[i], i, layers_per_block) for i in range(scales))
        self.shrink = nn.ModuleList(SpatialConv(channels[i], channels[i + 1], 2, stride=2) for i in range(scales - 1))
        self.middle = stage(channels[-1], scales - 1, 1)
        self.up = nn.ModuleList(stage(2 * channels[i], i, layers_per_block) for i in range(scales))
        self.grow = nn.ModuleList(nn.Linear(channels[i + 1], 4 * channels[i]) for i in range(scales - 1))
        self.norm_out = make_norm(norm_type, channels[0], norm_num_groups)
        self.head = zero_init(SpatialConv(channels[0], out_channels * patch_size**2, 3, padding=1))

    def __len__(self) -> int:
        """Number of stages."""
        return 2 * self.scales + 1

    def stage_channels(self) -> list[int]:
        """Output channels of each stage, in the order of the stages."""
        down = [conv.out_channels for conv in self.shrink] + [self.middle.blocks[0].conv_in.out_channels]
        up = [linear.out_features // 4 for linear in reversed(self.grow)]
        return [*down, down[-1], *up, self.stem.out_channels]

    def forward(self, sample: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """A clip `(B, C, F, H, W)` and its embedding `(B, F, E)` -> a clip `(B, C', F, H, W)`."""
        h = self.enter(sample, embedding)
        skips: list[torch.Tensor] = []
        for index in range(len(self)):
            h = self.step(index, h, skips, embedding)
        return self.leave(h)

    def enter(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Stem: a clip `(B, C, F, H, W)` -> features `(B, F, H / p, W / p, C0)`."""
        h = self.stem(space_to_depth(x.permute(0, 2, 3, 4, 1), self.patch_size).contiguous())
        return h if self.stem_attention is None else self.stem_attention(h, embedding)

    def step(self, index: int, x: torch.Tensor, skips: list[torch.Tensor], embedding: torch.Tensor) -> torch.Tensor:
        """Run stage `index`; the down stages push onto `skips`, the up stages pop from it."""
        last = self.scales - 1
        if index <= last:
            x = self._run(self.down[index], x, embedding)
            skips.append(x)
            return self.shrink[index](x) if index < last else x
        if index == self.scales:
            return self._run(self.middle, x, embedding)
        scale = 2 * self.scales - index
        x = self._run(self.up[scale], torch.cat([x, skips.pop()], dim=-1), embedding)
        return depth_to_space(self.grow[scale - 1](x), 2) if scale else x

    def leave(self, x: torch.Tensor) -> torch.Tensor:
        """Head: features -> a clip `(B, C, F, H, W)`."""
        return depth_to_space(self.head(F.silu(self.norm_out(x))), self.patch_size).permute(0, 4, 1, 2, 3)

    def _run(self, stage: nn.Module, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(stage, x, embedding)
        return stage(x, embedding)
