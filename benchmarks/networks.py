"""The networks that are compared, ours and those of other libraries, each behind the same two calls.

Every candidate denoises clips `(B, 3, F, H, W)`. Where another library leaves a choice, the cheaper option is used:
diffusers' network, made for latents, attends only at its coarsest scale and to a single constant text embedding.
"""

import contextlib
import sys
import types
from collections.abc import Callable
from typing import Any

import torch
from diffusers import UNet3DConditionModel
from torch import nn

from cellvid_diffusers import UNet3DModel

OURS = "cellvid-diffusers"
VIDEO_DIFFUSION = "video-diffusion-pytorch"
DIFFUSERS = "diffusers UNet3DConditionModel"


def ours(block_out_channels: list[int]) -> nn.Module:
    coarse = [False] * (len(block_out_channels) - 1)
    return UNet3DModel(
        block_out_channels=block_out_channels,
        spatial_attention=[*coarse, True],
        temporal_layers=["conv"] * len(coarse) + ["both"],
    )


def video_diffusion(dim: int, dim_mults: tuple[int, ...]) -> nn.Module:
    """The 3D U-Net of the paper's codebase. It imports torchvision, which may be absent, only for its data loader."""
    if "torchvision" not in sys.modules and not _importable("torchvision"):
        for name in ("torchvision", "torchvision.transforms", "torchvision.utils"):
            sys.modules[name] = _Anything(name)
    from video_diffusion_pytorch import Unet3D

    return Unet3D(dim=dim, dim_mults=dim_mults, channels=3)


def diffusers_unet(block_out_channels: tuple[int, ...]) -> nn.Module:
    fine = len(block_out_channels) - 1
    return _ConstantText(
        UNet3DConditionModel(
            sample_size=128,
            in_channels=3,
            out_channels=3,
            block_out_channels=block_out_channels,
            layers_per_block=1,
            down_block_types=("DownBlock3D",) * fine + ("CrossAttnDownBlock3D",),
            up_block_types=("CrossAttnUpBlock3D",) + ("UpBlock3D",) * fine,
            cross_attention_dim=32,
            attention_head_dim=block_out_channels[0],
            norm_num_groups=8,
        )
    )


def candidates(quick: bool) -> dict[str, tuple[Callable[[], nn.Module], bool]]:
    """Name -> (maker of the network, whether it runs under bfloat16 autocast)."""
    if quick:
        return {
            f"{OURS}, quick": (lambda: ours([8, 16, 32]), False),
            f"{OURS}, quick, bfloat16": (lambda: ours([8, 16, 32]), True),
            f"{DIFFUSERS}, quick": (lambda: diffusers_unet((8, 16)), False),
        }
    return {
        f"{OURS} 2 M": (lambda: ours([32, 64, 128]), False),
        f"{OURS} 2 M, bfloat16": (lambda: ours([32, 64, 128]), True),
        f"{OURS} 10 M": (lambda: ours([32, 64, 128, 288]), False),
        f"{OURS} 10 M, bfloat16": (lambda: ours([32, 64, 128, 288]), True),
        f"{DIFFUSERS} 8 M": (lambda: diffusers_unet((32, 64, 128)), False),
        f"{DIFFUSERS} 8 M, bfloat16": (lambda: diffusers_unet((32, 64, 128)), True),
        f"{VIDEO_DIFFUSION} 10 M": (lambda: video_diffusion(32, (1, 2, 4, 8)), False),
    }


def make(name: str, quick: bool) -> tuple[nn.Module, bool]:
    """A candidate's network with its zero-initialised layers randomised, so that nothing is skipped or denormal."""
    torch.manual_seed(0)
    maker, bfloat16 = candidates(quick)[name]
    network = maker()
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return network, bfloat16


def autocast(device: str, bfloat16: bool) -> Any:
    return torch.autocast(device, torch.bfloat16) if bfloat16 else contextlib.nullcontext()


def run(network: nn.Module, sample: torch.Tensor) -> torch.Tensor:
    """One prediction as a tensor, whatever output type the network returns."""
    output = network(sample, torch.full((len(sample),), 500, device=sample.device))
    return output if isinstance(output, torch.Tensor) else output.sample


def forward_call(network: nn.Module, bfloat16: bool, sample: torch.Tensor) -> Callable[[], Any]:
    def call() -> torch.Tensor:
        with torch.no_grad(), autocast(sample.device.type, bfloat16):
            return run(network, sample)

    return call


def training_call(network: nn.Module, bfloat16: bool, sample: torch.Tensor) -> Callable[[], Any]:
    """A whole optimiser step: forward, backward, AdamW."""
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4, fused=True)

    def call() -> None:
        with autocast(sample.device.type, bfloat16):
            prediction = run(network, sample)
        (prediction.float() - sample).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return call


def parameters(network: nn.Module) -> int:
    return sum(each.numel() for each in network.parameters())


class _ConstantText(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("text", torch.zeros(1, 1, 32))

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return self.network(sample, timestep, self.text.expand(len(sample), -1, -1)).sample


class _Anything(types.ModuleType):
    """A module in which every name is a function that returns None."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return sys.modules.get(f"{self.__name__}.{name}", lambda *args, **kwargs: None)


def _importable(name: str) -> bool:
    try:
        __import__(name)
    except Exception:
        return False
    return True
