"""The baseline: a 3D U-Net that denoises clips (Ho et al., Video Diffusion Models, 2022)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from torch import nn

from .tower import Tower

PAPER_CONFIG: dict[str, Any] = {
    "sample_size": 128,
    "in_channels": 1,
    "out_channels": 1,
    "patch_size": 1,
    "block_out_channels": [64, 128, 256, 512],
    "layers_per_block": 2,
    "spatial_attention": [True, True, True, True],
    "temporal_layers": ["attention", "attention", "attention", "attention"],
    "initial_temporal_attention": True,
    "stem_kernel_size": 7,
    "norm_type": "group",
}
"""`UNet3DModel(**PAPER_CONFIG)` is the paper's baseline (its Section 4.3): no space-to-depth stem, spatial and temporal
attention at every scale, full resolution included."""


@dataclass
class UNet3DOutput(BaseOutput):
    """Output of `UNet3DModel`.

    Args:
        sample (`torch.Tensor` of shape `(batch_size, out_channels, num_frames, height, width)`):
            The prediction: noise, v or the clean clip, depending on the scheduler's prediction type.
    """

    sample: torch.Tensor


class UNet3DModel(ModelMixin, ConfigMixin):
    r"""
    A 3D U-Net over clips of video, or of video and optical flow together.

    The default configuration is the efficient one: a 2 x 2 space-to-depth stem, factorised space-time convolutions,
    and attention only at the coarsest scale. `PAPER_CONFIG` is the paper's.

    Parameters:
        sample_size (`int`, defaults to 64): Side in pixels of the clips that the model was trained on.
        in_channels (`int`, defaults to 3): 1 (video) or 3 (video, u, v).
        out_channels (`int`, defaults to 3): Channels predicted.
        patch_size (`int`, defaults to 2): Side of the space-to-depth stem.
        block_out_channels (`list[int]`, defaults to `[32, 64, 128]`): Channels of each scale, fine to coarse.
        layers_per_block (`int`, defaults to 1): Residual blocks of each stage.
        spatial_attention (`list[bool]`): For each scale, whether the pixels of a frame attend to each other.
        temporal_layers (`list[str]`): For each scale, `"conv"`, `"attention"` or `"both"`.
        initial_temporal_attention (`bool`, defaults to `False`): Temporal attention after the stem.
        stem_kernel_size (`int`, defaults to 3): Side of the stem's kernel.
        attention_head_dim (`int`, defaults to 32): Channels of an attention head.
        norm_type (`str`, defaults to `"layer"`): `"layer"` or `"group"`.
        norm_num_groups (`int`, defaults to 8): Groups of the group norm.
        time_embed_dim (`int`, *optional*): Channels of the embedding; four times the finest scale's if not given.
        num_class_embeds (`list[int]`, *optional*): Number of classes of each kind of label, cell type first.
    """

    _supports_gradient_checkpointing = True
    # What diffusers keeps on one device, and what it does not store in fewer bits. No blocks are declared as repeated:
    # each scale has its own widths, so that compiling them one by one saves nothing.
    _no_split_modules = ("ResidualBlock", "AxialAttention")
    _skip_layerwise_casting_patterns = ("time", "embeddings", "stem", "head", "norm")

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
    ) -> None:
        super().__init__()
        scales = len(block_out_channels)
        for name, given in (("spatial_attention", spatial_attention), ("temporal_layers", temporal_layers)):
            if len(given) != scales:
                raise ValueError(f"{name} must have one entry for each of the {scales} scales, got {given}")
        if layers_per_block < 1:
            raise ValueError(f"layers_per_block must be at least 1, got {layers_per_block}")
        if stem_kernel_size % 2 == 0:  # an even one would change the clip's size
            raise ValueError(f"stem_kernel_size must be odd, got {stem_kernel_size}")
        embed_dim = time_embed_dim or 4 * block_out_channels[0]
        self.time_proj = Timesteps(block_out_channels[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.video_time = TimestepEmbedding(block_out_channels[0], embed_dim)
        self.flow_time = TimestepEmbedding(block_out_channels[0], embed_dim) if in_channels > 1 else None
        # Row 0 of each table stands for "unknown".
        self.class_embeddings = nn.ModuleList(nn.Embedding(count + 1, embed_dim) for count in num_class_embeds or [])
        self.tower = self._make_tower(in_channels, out_channels, block_out_channels, embed_dim)

    def _make_tower(self, in_channels: int, out_channels: int, block_out_channels: list[int], embed_dim: int) -> Tower:
        config = self.config
        return Tower(
            in_channels,
            out_channels,
            patch_size=config.patch_size,
            block_out_channels=block_out_channels,
            layers_per_block=config.layers_per_block,
            embed_dim=embed_dim,
            spatial_attention=config.spatial_attention,
            temporal_layers=config.temporal_layers,
            initial_temporal_attention=config.initial_temporal_attention,
            stem_kernel_size=config.stem_kernel_size,
            attention_head_dim=config.attention_head_dim,
            norm_type=config.norm_type,
            norm_num_groups=config.norm_num_groups,
        )

    @property
    def size_multiple(self) -> int:
        """Height and width of a clip must be multiples of this."""
        return self.config.patch_size * 2 ** (len(self.config.block_out_channels) - 1)

    def load_weights_from(
        self,
        other: "UNet3DModel",
        kinds: Sequence[int | None] | None = None,
        classes: Sequence[Sequence[int | None] | None] | None = None,
    ) -> None:
        """Start from the weights of a model that may differ in its blocks per stage and in its labels.

        The last convolution of a new block and the embedding of a new kind of label are zero, so that a larger model
        starts out equivalent to the other. If this model lacks a kind of label, it starts out equivalent to the other
        with that label unknown, and so does a new class of a kind that both have.

        Args:
            other (`UNet3DModel`): Model with at most as many blocks per stage, otherwise of the same configuration.
            kinds (`list[int | None]`, *optional*): For each kind of label of this model, its index among the other's
                kinds, or `None` if it is new. By default the other's kinds in their order, followed by new ones.
            classes (`list[list[int | None] | None]`, *optional*): For each of these kinds that is not new, the index of
                each class among the other's classes, or `None` if it is new. By default the other's in their order.

        Raises:
            ValueError: If the other model has another configuration, or more blocks.
        """
        weights = self._with_labels_of(other, kinds, classes)
        missing = [name for name in self.state_dict() if name not in weights and ".blocks." not in name]
        wrong = self._differing(other, free=("layers_per_block",)) + missing + self._misfits(weights)
        if wrong:
            raise ValueError(
                f"weights of the same configuration but for layers_per_block are wanted, {wrong[0]} differs"
            )
        self.load_state_dict(weights, strict=False)

    def _with_labels_of(
        self,
        other: "UNet3DModel",
        kinds: Sequence[int | None] | None,
        classes: Sequence[Sequence[int | None] | None] | None,
    ) -> dict[str, torch.Tensor]:
        """The other's weights, with its label embeddings rearranged to this model's labels (`load_weights_from`)."""
        weights = dict(other.state_dict())
        tables = [weights.pop(f"class_embeddings.{index}.weight") for index in range(len(other.class_embeddings))]
        if kinds is None:
            kinds = [index if index < len(tables) else None for index in range(len(self.class_embeddings))]
        for index, (source, rows) in enumerate(zip(kinds, classes or [None] * len(kinds), strict=True)):
            name = f"class_embeddings.{index}.weight"
            weights[name] = torch.zeros_like(self.get_parameter(name)) if source is None else tables[source]
            if source is not None and rows is not None:  # row 0 is the unknown class
                weights[name] = weights[name][[0, *(0 if row is None else row + 1 for row in rows)]]
        for source in set(range(len(tables))) - set(kinds):
            weights["video_time.linear_2.bias"] = weights["video_time.linear_2.bias"] + tables[source][0]
        return weights

    def _differing(self, other: "UNet3DModel", *, free: Sequence[str] = ()) -> list[str]:
        """Names of arguments that differ in the other model, of those that the shapes of the weights do not reveal."""
        own, theirs = (json.loads(model.to_json_string()) for model in (self, other))
        shown = {"sample_size", "num_class_embeds", "time_embed_dim", "motion_block_out_channels", *free}
        return [key for key in own if key[0] != "_" and key not in shown and key in theirs and own[key] != theirs[key]]

    def _misfits(self, weights: Mapping[str, torch.Tensor]) -> list[str]:
        """Names of those `weights` that the model does not have, or has in another shape."""
        own = self.state_dict()
        return [name for name, weight in weights.items() if name not in own or own[name].shape != weight.shape]

    def embed(
        self, timestep: torch.Tensor | float | int, class_labels: torch.Tensor | None, sample: torch.Tensor
    ) -> torch.Tensor:
        """Conditioning embedding `(B, F, E)` of the noise levels and the labels (see `forward`)."""
        batch, frames = sample.shape[0], sample.shape[2]
        timestep = torch.as_tensor(timestep, device=sample.device)
        self._check_conditions(timestep, class_labels, batch, frames)
        timestep = timestep.reshape(*timestep.shape, *[1] * (3 - timestep.ndim)).expand(batch, -1, 2)
        projected = self.time_proj(timestep.flatten()).to(self.dtype).unflatten(0, timestep.shape)
        embedding = self.video_time(projected[:, :, 0])
        if self.flow_time is not None:
            embedding = embedding + self.flow_time(projected[:, :, 1])
        if class_labels is None:
            class_labels = torch.full((batch, len(self.class_embeddings)), -1, device=sample.device)
        for table, label in zip(self.class_embeddings, class_labels.T + 1, strict=True):
            embedding = embedding + table(label)[:, None]
        return nn.functional.silu(embedding).expand(batch, frames, -1)

    def _check_conditions(
        self, timestep: torch.Tensor, class_labels: torch.Tensor | None, batch: int, frames: int
    ) -> None:
        """Raise `ValueError` unless noise levels and labels are those of `batch` clips of `frames` frames."""
        full = (batch, frames, 2)
        if timestep.ndim > 3 or any(n not in (1, most) for n, most in zip(timestep.shape, full, strict=False)):
            raise ValueError(
                f"timestep must be (), {full[:1]}, {full[:2]} or {full} (axes may be 1), got {tuple(timestep.shape)}"
            )
        expected = (batch, len(self.class_embeddings))
        if class_labels is not None and class_labels.shape != expected:
            raise ValueError(
                f"class_labels must be {expected}, one for each clip and kind of label, got {tuple(class_labels.shape)}"
            )

    def check_sample(self, sample: torch.Tensor) -> None:
        """Raise `ValueError` unless `sample` is a clip that the model can take."""
        if sample.ndim != 5 or sample.shape[1] != self.config.in_channels:
            raise ValueError(
                f"sample must be (batch, {self.config.in_channels}, frames, height, width), got {tuple(sample.shape)}"
            )
        if any(side % self.size_multiple for side in sample.shape[-2:]):
            raise ValueError(
                f"height and width must be multiples of {self.size_multiple}, got {tuple(sample.shape[-2:])}"
            )

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | float | int,
        class_labels: torch.Tensor | None = None,
        return_dict: bool = True,
    ) -> UNet3DOutput | tuple[torch.Tensor]:
        r"""
        Args:
            sample (`torch.Tensor` of shape `(batch_size, in_channels, num_frames, height, width)`):
                The noisy clip, each modality near unit variance.
            timestep (`torch.Tensor` of shape `()`, `(batch_size,)`, `(batch_size, num_frames)` or
                `(batch_size, num_frames, 2)`): Noise level: one for all, per clip, per frame, or for each frame's video
                and flow. 0 means given, the scheduler's last timestep unknown. Axes of length 1 are broadcast.
            class_labels (`torch.Tensor` of shape `(batch_size, number of label kinds)`, *optional*):
                Class indices, -1 where unknown. `None` for a model without classes.
            return_dict (`bool`, defaults to `True`): Whether to return a [`UNet3DOutput`].

        Returns:
            [`UNet3DOutput`] or a `tuple` whose first element is the sample tensor.

        Raises:
            ValueError: If the shape of `sample` does not fit the model, or those of `timestep` and `class_labels` do
                not fit the sample.
        """
        self.check_sample(sample)
        embedding = self.embed(timestep, class_labels, sample)
        sample = self.denoise(sample, embedding)
        return UNet3DOutput(sample=sample) if return_dict else (sample,)

    def denoise(self, sample: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """Run the network itself: a clip `(B, C, F, H, W)` and its embedding `(B, F, E)` -> a clip."""
        return self.tower(sample, embedding)
