"""The motion model: video and optical flow in separate branches, fused at every scale."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.models.modeling_utils import ModelMixin  # noqa: F401 (diffusers looks for it here when a pipeline loads)
from torch import nn

from .layers import zero_init
from .paper_tower import PaperTower
from .tower import Tower
from .unet_3d import PAPER_CONFIG, UNet3DModel

PAPER_MOTION_CONFIG: dict[str, Any] = {
    **PAPER_CONFIG,
    "in_channels": 3,
    "out_channels": 3,
    "fusion": "paper",
}
"""`MotionUNet3DModel(**PAPER_MOTION_CONFIG)` is the paper's motion model (its Figure 1 and Section 4.3)."""


class MotionUNet3DModel(UNet3DModel):
    r"""
    A 3D U-Net with motion branches.

    * `fusion="gated"`: the baseline denoises the video, and a second, narrower tower denoises the flow. After every
      stage the video's features are added to the flow tower, and the flow's to the video through a gate that starts at
      zero. Before training, the video branch is therefore exactly the video-only baseline, and `load_weights_from` can
      start from one that is already trained.
    * `fusion="paper"`: the paper's Figure 1 to the letter (see `paper_tower.py`), in which motion is mixed into the
      video from the first step on. The figure determines where attention is used: `spatial_attention`,
      `temporal_layers` and `initial_temporal_attention` have no effect.

    Parameters:
        fusion (`str`, defaults to `"gated"`): `"gated"` or `"paper"`.
        motion_block_out_channels (`list[int]`, *optional*): Channels of the flow tower's scales, for
            `fusion="gated"`; half the video's if not given.
        sample_size, in_channels, out_channels, …: As in [`UNet3DModel`]; both channel counts are 3.
    """

    @register_to_config
    def __init__(
        self,
        sample_size: int = 64,
        in_channels: int = 3,
        out_channels: int = 3,
        patch_size: int = 2,
        block_out_channels: list[int] = [32, 64, 128],  # noqa: B006 (a config key: JSON has no tuples)
        layers_per_block: int = 1,
        spatial_attention: list[bool] = [False, False, True],  # noqa: B006
        temporal_layers: list[str] = ["conv", "conv", "both"],  # noqa: B006
        initial_temporal_attention: bool = False,
        stem_kernel_size: int = 3,
        attention_head_dim: int = 32,
        norm_type: str = "layer",
        norm_num_groups: int = 8,
        time_embed_dim: int | None = None,
        num_class_embeds: list[int] | None = None,
        fusion: str = "gated",
        motion_block_out_channels: list[int] | None = None,
    ) -> None:
        if fusion not in ("gated", "paper"):
            raise ValueError(f"fusion must be 'gated' or 'paper', got {fusion!r}")
        if (in_channels, out_channels) != (3, 3):
            raise ValueError(f"in_channels and out_channels must be 3 (video, u, v), got {in_channels}, {out_channels}")
        super().__init__(
            sample_size=sample_size,
            in_channels=in_channels,
            out_channels=out_channels,
            patch_size=patch_size,
            block_out_channels=block_out_channels,
            layers_per_block=layers_per_block,
            spatial_attention=spatial_attention,
            temporal_layers=temporal_layers,
            initial_temporal_attention=initial_temporal_attention,
            stem_kernel_size=stem_kernel_size,
            attention_head_dim=attention_head_dim,
            norm_type=norm_type,
            norm_num_groups=norm_num_groups,
            time_embed_dim=time_embed_dim,
            num_class_embeds=num_class_embeds,
        )
        if fusion == "gated":
            self._add_motion_tower(time_embed_dim or 4 * block_out_channels[0])

    def _make_tower(
        self, in_channels: int, out_channels: int, block_out_channels: list[int], embed_dim: int
    ) -> nn.Module:
        if self.config.fusion == "gated":
            return super()._make_tower(1, 1, block_out_channels, embed_dim)
        return PaperTower(
            patch_size=self.config.patch_size,
            block_out_channels=block_out_channels,
            layers_per_block=self.config.layers_per_block,
            embed_dim=embed_dim,
            stem_kernel_size=self.config.stem_kernel_size,
            attention_head_dim=self.config.attention_head_dim,
            norm_type=self.config.norm_type,
            norm_num_groups=self.config.norm_num_groups,
        )

    def _add_motion_tower(self, embed_dim: int) -> None:
        """Add the flow tower and the connections between the towers, in both directions, after every stage."""
        channels = self.config.motion_block_out_channels or [each // 2 for each in self.config.block_out_channels]
        self.motion_tower = super()._make_tower(2, 2, channels, embed_dim)
        video, motion = self.tower.stage_channels(), self.motion_tower.stage_channels()
        self.gates = nn.ModuleList(zero_init(nn.Linear(m, v)) for v, m in zip(video, motion, strict=True))
        self.readers = nn.ModuleList(nn.Linear(v, m) for v, m in zip(video, motion, strict=True))
        zero_init(self.get_submodule("flow_time.linear_2"))  # so that the embedding, too, starts as the baseline's

    def load_weights_from(
        self,
        other: UNet3DModel,
        kinds: Sequence[int | None] | None = None,
        classes: Sequence[Sequence[int | None] | None] | None = None,
    ) -> None:
        """Start from a motion model of the same configuration, or, with `fusion="gated"`, from a video-only baseline.

        Args:
            other (`UNet3DModel`): The motion model, or the baseline, which must have as many blocks per stage.
            kinds (`list[int | None]`, *optional*), classes (`list[list[int | None] | None]`, *optional*): As in
                `UNet3DModel.load_weights_from`.

        Raises:
            ValueError: If the other model has another configuration.
        """
        if self.config.fusion != "gated" or isinstance(other, MotionUNet3DModel):
            return super().load_weights_from(other, kinds, classes)
        weights = self._with_labels_of(other, kinds, classes)
        wrong = self._differing(other, free=("in_channels", "out_channels")) + self._misfits(weights)
        if wrong:
            raise ValueError(
                f"a video-only baseline (1 channel), otherwise of the same configuration, is wanted: {wrong[0]} differs"
            )
        self.load_state_dict(weights, strict=False)

    def _differing(self, other: UNet3DModel, *, free: Sequence[str] = ()) -> list[str]:
        if self.config.fusion == "paper":
            free = (*free, "spatial_attention", "temporal_layers", "initial_temporal_attention")
        return super()._differing(other, free=free)

    def denoise(self, sample: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Run the network itself: a clip `(B, 3, F, H, W)` and its embedding `(B, F, E)` -> a clip."""
        if self.config.fusion == "paper":
            return self.tower(sample, embedding)
        towers: tuple[Tower, Tower] = (self.tower, self.motion_tower)
        video, motion = (
            tower.enter(part, embedding) for tower, part in zip(towers, sample.split([1, 2], dim=1), strict=True)
        )
        video_skips: list[torch.Tensor] = []
        motion_skips: list[torch.Tensor] = []
        for index, (gate, read) in enumerate(zip(self.gates, self.readers, strict=True)):
            video = self.tower.step(index, video, video_skips, embedding)
            motion = self.motion_tower.step(index, motion, motion_skips, embedding)
            video, motion = video + gate(motion), motion + read(video)
        return torch.cat([self.tower.leave(video), self.motion_tower.leave(motion)], dim=1)
