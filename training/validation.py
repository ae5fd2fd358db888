"""The pipeline that a training run saves, and the samples drawn from it during training."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
from diffusers.schedulers import SchedulerMixin
from diffusers.training_utils import EMAModel

from cellvid_diffusers.data import ClipDataset
from cellvid_diffusers.io import contact_sheet, write_gif
from cellvid_diffusers.models import UNet3DModel
from cellvid_diffusers.pipelines import CellVideoPipeline
from cellvid_diffusers.schedulers import StochasticDPMSolverScheduler

Scale = float | dict[str, float]


FLOW_PATTERNS = ("flow_to_video", "video_to_flow", "modalities")
"""Noise patterns that a video-only model cannot learn."""


def learned_patterns(config: Mapping[str, Any]) -> list[str]:
    """The noise patterns with a positive weight; for a video-only model, without those that need flow."""
    drawn = [name for name, share in config["noise_patterns"].items() if share > 0]
    return [name for name in drawn if config["flow"] or name not in FLOW_PATTERNS]


def make_pipeline(
    model: UNet3DModel, ema: EMAModel, scheduler: DDPMScheduler, clips: ClipDataset, config: dict[str, Any]
) -> CellVideoPipeline:
    """Make a pipeline with the averaged weights, the data set's scales and its classes."""
    unet = copy.deepcopy(model).eval()
    if config["use_ema"]:
        ema.copy_to(unet.parameters())
    scales, names = clips.scales, config["class_columns"]
    fixed = config["normalization"] == "fixed"
    scale = video_scale(clips) if fixed else (0.5, 0.5)
    return CellVideoPipeline(
        unet,
        make_sampler(config["sampler"], scheduler, *scale),
        video_mean=scale[0],
        video_std=scale[1],
        # The paper's per-sample extremes are unknown here; the data set's own extremes replace them.
        flow_scale=scales.flow_scale if fixed else scales.flow_clip,
        flow_clip=scales.flow_clip,
        noise_patterns=learned_patterns(config),
        class_names={kind: list(each) for kind, each in names.items()} or None,
        class_weights=clips.class_weights() if names else None,
        pixel_size_um=clips.common_value("pixel_size_um"),
        frame_interval_min=clips.common_value("frame_interval_min"),
        num_restarts=config["num_restarts"],
        residual_noise=config["residual_noise"],
        flow_strength=config["flow_strength"],
        motion_guidance_scale=config["motion_guidance_scale"],
        timesteps=config["timesteps"],
        num_frames=config["num_frames"],
    )


def video_scale(clips: ClipDataset) -> tuple[Scale, Scale]:
    """Mean and standard deviation of grey values, of all clips or of each cell type."""
    of_type = clips.scales_by_cell_type
    if not of_type:
        return clips.scales.video_mean, clips.scales.video_std
    means = {name: scales.video_mean for name, scales in of_type.items()}
    return means, {name: scales.video_std for name, scales in of_type.items()}


SAMPLERS = ("dpmsolver++", "stochastic-dpmsolver++", "ddim", "ddpm")


def make_sampler(name: str, scheduler: DDPMScheduler, mean: Scale, std: Scale) -> SchedulerMixin:
    """Make the scheduler that a pipeline samples with, from the one that it was trained with and the video's scale.

    `dpmsolver++` takes steps of equal size in log(SNR) (Lu et al., DPM-Solver++, 2022): 25 of them come closer to 200
    steps of DDIM than with any other spacing (docs/training_log.md). `stochastic-dpmsolver++` adds noise during
    sampling, which gives cells cleaner outlines (`cellvid_diffusers.schedulers`). `ddim` is the first-order variant of
    `dpmsolver++`, for distilled models, which have their own timesteps. `ddpm` is ancestral (Ho et al., 2020) and clips
    every estimate of the clean clip to the range of grey values.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in SAMPLERS:
        raise ValueError(f"sampler must be among {list(SAMPLERS)}, got {name!r}")
    if name == "dpmsolver++":
        return DPMSolverMultistepScheduler.from_config(scheduler.config, use_lu_lambdas=True)
    if name == "stochastic-dpmsolver++":
        return StochasticDPMSolverScheduler.from_config(scheduler.config)
    if name == "ddim":
        return DPMSolverMultistepScheduler.from_config(scheduler.config, solver_order=1)
    of_types = [list(each.values()) if isinstance(each, dict) else [each] for each in (mean, std)]
    widest = max(max(m, 1 - m) / s for m, s in zip(*of_types, strict=True))
    return DDPMScheduler.from_config(scheduler.config, clip_sample=True, clip_sample_range=widest)


def write_samples(pipe: CellVideoPipeline, config: dict[str, Any], step: int, accelerator: Accelerator) -> None:
    """Write clips of fixed seeds as a GIF and a contact sheet to `output_dir/samples`, and to TensorBoard."""
    pipe.set_progress_bar_config(disable=True)
    count = config["validation_clips"]
    out = pipe(
        num_frames=config["num_frames"],
        batch_size=count,
        num_inference_steps=config["num_inference_steps"],
        generator=[torch.Generator().manual_seed(seed) for seed in range(count)],
    )
    folder = Path(config["output_dir"]) / "samples"
    folder.mkdir(exist_ok=True)
    video = (out.frames * 255).round().astype(np.uint8)
    beside = np.concatenate(list(video), axis=-1)
    gif = folder / f"step-{step:07d}.gif"
    write_gif(gif, beside, scale=3)
    contact_sheet(video, out.flow, path=gif.with_suffix(".png"))
    if config["report_to"]:
        _log_gif(accelerator.get_tracker("tensorboard").writer, gif, step)


def _log_gif(writer: Any, path: Path, step: int) -> None:
    """Write an animated GIF to TensorBoard, whose image summaries are shown by the browser."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    size = {"height": 1, "width": 1}  # required by the format, but never read
    image = Summary.Image(encoded_image_string=path.read_bytes(), colorspace=3, **size)
    writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag="samples", image=image)]), step)
