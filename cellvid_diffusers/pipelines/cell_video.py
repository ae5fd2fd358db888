"""The pipeline that generates cell videos and their optical flow from noise."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.schedulers import SchedulerMixin
from diffusers.utils import logging
from diffusers.utils.torch_utils import randn_tensor
from huggingface_hub import create_repo, file_exists, snapshot_download, upload_file

from .. import schedulers  # noqa: F401 (diffusers loads by name only what has been imported)
from ..io.folders import check_not_missing
from ..models import UNet3DModel
from .arguments import check_scheduler, check_sizes, check_tensor_inputs, clip_generators
from .classes import (
    KINDS,
    Asked,
    check_classes,
    draw_classes,
    names_of,
    nearest_cell_types,
    one_for_each_clip,
    video_scale,
)
from .conditions import Given, Pictures
from .denoising import Denoising
from .guidance import Guidance
from .hub_card import hub_card
from .output import CellVideoPipelineOutput, as_output, check_output_type
from .strengths import Strengths
from .tiling import Tiling

logger = logging.get_logger(__name__)

StepEndCallback = Callable[[DiffusionPipeline, int, torch.Tensor, dict[str, torch.Tensor]], dict[str, torch.Tensor]]


class CellVideoPipeline(DiffusionPipeline):
    r"""
    Synthesis of phase-contrast cell video and its optical flow.

    Parameters:
        unet ([`UNet3DModel`]): Denoises clips `(batch_size, 1 or 3, num_frames, height, width)`: video, u, v.
        scheduler ([`SchedulerMixin`]): Any diffusers scheduler of the prediction type that the model was trained for.
        video_mean (`float` or `dict[str, float]`), video_std (the same): Grey value in [0, 1] = model value *
            `video_std` + `video_mean`; for all clips, or for each cell type.
        flow_scale (`float`): Flow in pixels per frame = model value * `flow_scale`. Zero motion is zero in the model.
        flow_clip (`float`, *optional*): Largest flow component, in pixels per frame, that the model was trained on: a
            given flow is clipped there, as that of the training clips was.
        noise_patterns (`list[str]`): What the model was trained to do (`training_utils.NOISE_PATTERNS`).
        class_names (`dict[str, list[str]]`, *optional*): For `cell_type`, `density` and `maturity`, in this order, the
            names of the classes that the model knows.
        class_weights (`dict[str, list[float]]`, *optional*): Their shares of the training mix.
        pixel_size_um (`float` or `dict[str, float]`, *optional*): Size of a generated pixel in micrometres, if the
            training data had one; for all clips, or for each cell type.
        frame_interval_min (`float` or `dict[str, float]`, *optional*): Minutes between frames, likewise.
        num_restarts (`int`), residual_noise (`float`), flow_strength (`float`), motion_guidance_scale (`float`):
            Defaults for calls that do not set them, chosen by the checkpoint's evaluation.
        timesteps (`list[int]`, *optional*): The only ones at which a distilled model (`distillation`) takes a step.
        num_frames (`int`, *optional*): Frames of a training clip. Cells fade in longer ones: `roll_out` makes these
            window by window.

    Raises:
        ValueError: If `class_names` does not name as many classes as the model knows, or `class_weights`, `video_mean`
            or `video_std` lack one of them.
    """

    model_cpu_offload_seq = "unet"
    _callback_tensor_inputs: ClassVar = ["latents"]
    _interrupt = False
    tiling: Tiling | None = None

    def __init__(
        self,
        unet: UNet3DModel,
        scheduler: SchedulerMixin,
        video_mean: float | dict[str, float] = 0.5,
        video_std: float | dict[str, float] = 0.5,
        flow_scale: float = 1.0,
        flow_clip: float | None = None,
        noise_patterns: list[str] = ["joint"],  # noqa: B006 (a config key: JSON has no tuples)
        class_names: dict[str, list[str]] | None = None,
        class_weights: dict[str, list[float]] | None = None,
        pixel_size_um: float | dict[str, float] | None = None,
        frame_interval_min: float | dict[str, float] | None = None,
        num_restarts: int = 0,
        residual_noise: float = 0.0,
        flow_strength: float = 0.0,
        motion_guidance_scale: float = 1.0,
        timesteps: list[int] | None = None,
        num_frames: int | None = None,
    ) -> None:
        super().__init__()
        scales = {"video_mean": video_mean, "video_std": video_std}
        check_classes(class_names, unet.config.num_class_embeds, class_weights, scales)
        self.register_modules(unet=unet, scheduler=scheduler)
        self.register_to_config(
            video_mean=video_mean,
            video_std=video_std,
            flow_scale=flow_scale,
            flow_clip=flow_clip,
            noise_patterns=noise_patterns,
            class_names=class_names,
            class_weights=class_weights,
            pixel_size_um=pixel_size_um,
            frame_interval_min=frame_interval_min,
            num_restarts=num_restarts,
            residual_noise=residual_noise,
            flow_strength=flow_strength,
            motion_guidance_scale=motion_guidance_scale,
            timesteps=timesteps,
            num_frames=num_frames,
        )

    @classmethod
    def download(cls, pretrained_model_name: str, **kwargs: Any) -> str:
        """Download a pipeline's folder from the Hub into the cache and return its path.

        The components are this package's own classes, so only configurations and safetensors are downloaded.

        Raises:
            ValueError: If the name is that of a folder that is not there.
        """
        check_not_missing(pretrained_model_name)
        names = ("revision", "cache_dir", "token", "local_files_only", "force_download")
        passed = {name: kwargs[name] for name in names if kwargs.get(name) is not None}
        variant = kwargs.get("variant")
        weights = f"unet/*.{variant}*.safetensors" if variant else "unet/*.safetensors"
        return snapshot_download(
            pretrained_model_name,
            allow_patterns=["model_index.json", "scheduler/*.json", "unet/*.json", weights],
            ignore_patterns=None if variant else ["unet/*.*.safetensors"],  # those of variants
            **passed,
        )

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload as [`DiffusionPipeline.push_to_hub`] does; a repository without a model card gets one first."""
        token, private = options.get("token"), options.get("private")
        repo_id = create_repo(repo_id, exist_ok=True, private=private, token=token).repo_id
        if not options.get("create_pr") and not file_exists(repo_id, "README.md", token=token):
            card = hub_card(self.config, repo_id, has_flow=self.unet.config.in_channels > 1)
            upload_file(path_or_fileobj=str(card).encode(), path_in_repo="README.md", repo_id=repo_id, token=token)
        return super().push_to_hub(repo_id, **options)

    def enable_tiling(
        self,
        tile_size: int | None = None,
        overlap: int | None = None,
        tile_frames: int | None = None,
        frame_overlap: int = 4,
        batch_size: int = 8,
    ) -> None:
        """Predict in overlapping tiles, for frames or clips far larger than the network was trained on.

        Args:
            tile_size (`int`, *optional*): Side of a tile in pixels; the model's `sample_size` if not given.
            overlap (`int`, *optional*): Pixels that neighbouring tiles share; a quarter of a tile if not given.
            tile_frames (`int`, *optional*), frame_overlap (`int`), batch_size (`int`): As in [`Tiling`].

        Raises:
            ValueError: If the network cannot take tiles of this size, or an overlap is not smaller than its tile.
        """
        tile_size = tile_size or self.unet.config.sample_size
        if tile_size % self.unet.size_multiple:
            raise ValueError(f"tile_size must be a multiple of {self.unet.size_multiple}, got {tile_size}")
        overlap = tile_size // 4 if overlap is None else overlap
        self.tiling = Tiling(tile_size, overlap, tile_frames, frame_overlap, batch_size)

    def disable_tiling(self) -> None:
        """Predict each clip in one piece again."""
        self.tiling = None

    @property
    def interrupt(self) -> bool:
        """Whether a callback has ended sampling."""
        return self._interrupt

    @property
    def num_timesteps(self) -> int:
        """Number of steps in the last or current call."""
        return len(self.scheduler.timesteps)

    @torch.no_grad()
    def __call__(
        self,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        batch_size: int = 1,
        num_inference_steps: int = 25,
        first_frame: Pictures | None = None,
        frames: Pictures | None = None,
        frame_mask: np.ndarray | torch.Tensor | None = None,
        flow: np.ndarray | torch.Tensor | None = None,
        cell_type: Asked = None,
        density: Asked = None,
        maturity: Asked = None,
        guidance_scale: float = 1.0,
        motion_guidance_scale: float | None = None,
        num_restarts: int | None = None,
        restart_strength: float = 0.94,
        residual_noise: float | None = None,
        flow_strength: float | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: str = "np",
        return_dict: bool = True,
        callback_on_step_end: StepEndCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> CellVideoPipelineOutput | tuple[Any, Any]:
        r"""
        Generate clips.

        Args:
            num_frames (`int`, *optional*): Frames of each clip; as many as in training, or 10 if unknown. In longer
                clips cells fade, and a warning is logged: see `roll_out`.
            height (`int`, *optional*), width (`int`, *optional*): Size in pixels; the model's `sample_size` if not
                given.
            batch_size (`int`, defaults to 1): Number of clips.
            num_inference_steps (`int`, defaults to 25): Denoising steps; below 12 cells degrade (docs/sampler.md). A
                distilled checkpoint always takes its own few (`config.timesteps`).
            first_frame (`np.ndarray` or `torch.Tensor` of shape `(H, W)` or `(batch_size, H, W)`, *optional*):
                Frame to start from, in [0, 1]; or a picture (`PIL.Image.Image`, 8-bit), or one for each clip.
            frames (`np.ndarray` or `torch.Tensor` of shape `(F, H, W)` or `(batch_size, F, H, W)`, *optional*):
                Video in [0, 1], or pictures; given where `frame_mask` is true, or everywhere without a mask.
            frame_mask (`Sequence[bool]`, `np.ndarray` or `torch.Tensor` of shape `(F,)`, *optional*): Which of `frames`
                are given, at least one.
            flow (`np.ndarray` or `torch.Tensor` of shape `(F, H, W, 2)` or `(batch_size, F, H, W, 2)`, *optional*):
                Flow to generate the video for, in pixels per frame; F - 1 fields, as estimated from F frames, will do.
            cell_type, density, maturity (`str` or `list[str]`, *optional*): Class name, or a list with one for each
                clip; `None` draws from the training mix (see the output's `classes`). Given frames or flow already show
                the culture: density and maturity are then left open instead, and if cell types have scales of their
                own, the one that given frames resemble most is chosen.
            guidance_scale (`float`, defaults to 1.0): Classifier-free guidance (Ho and Salimans, 2022); 1 is none.
                Clips of which all classes are left open are not guided.
            motion_guidance_scale (`float`, *optional*): Above 1 the video follows its flow, sampled or given, more
                closely (Inner-Guidance, Chefer et al., 2025); 1 is none and takes half the time. The checkpoint's own
                if not given.
            num_restarts (`int`, *optional*): How often the finished clip is noised and denoised again, to correct
                errors of early steps (after Xu et al., Restart Sampling for Improving Generative Processes, 2023); the
                checkpoint's own if not given.
            restart_strength (`float`, defaults to 0.94): Noise level of a restart as a share of all levels, in (0, 1];
                the closer to 1, the more it changes.
            residual_noise (`float`, *optional*): Standard deviation, in units of the video's own, of the noise that a
                sampled clip still contains and that a final prediction removes; 0 skips this. The checkpoint's own if
                not given.
            flow_strength (`float`, *optional*): Noise level, as a share of all levels in [0, 1], from which the flow is
                predicted once more from the finished video in one step (`finishing`); 0 keeps the sampled flow. The
                checkpoint's own if not given. Given flow is kept.
            generator (`torch.Generator` or `list[torch.Generator]`, *optional*): Makes the clips reproducible. With a
                single generator a clip does not depend on the batch size: it draws one for each clip. A list or tuple
                holds these themselves, so a list of one makes another clip than the generator in it alone.
            output_type (`str`, defaults to `"np"`): `"np"`, `"pt"` or `"pil"`.
            return_dict (`bool`, defaults to `True`): Whether to return a [`CellVideoPipelineOutput`].
            callback_on_step_end (`Callable`, *optional*): Called as `callback(pipe, step, timestep, {"latents": clip})`
                after each step with the noisy clip `(B, C, F, H, W)` in the model's scale. It returns a dictionary with
                the `"latents"` to continue with; given values are kept. Setting `pipe._interrupt = True` ends sampling.
            callback_on_step_end_tensor_inputs (`list[str]`): Tensors passed to the callback: `"latents"`, or none.

        Returns:
            [`CellVideoPipelineOutput`] or the tuple `(frames, flow)`. Given frames and flow come back unchanged.

        Raises:
            ValueError: If an argument is out of range or requests what this checkpoint cannot do.

        Example:
            >>> pipe = CellVideoPipeline.from_pretrained("checkpoints/cellvid-tiny")  # doctest: +SKIP
            >>> out = pipe(num_frames=10, generator=torch.Generator().manual_seed(0))  # doctest: +SKIP
            >>> out.frames.shape, out.flow.shape  # doctest: +SKIP
            ((1, 10, 64, 64), (1, 10, 64, 64, 2))
        """
        num_frames = (self.config.num_frames or 10) if num_frames is None else num_frames
        height = self.unet.config.sample_size if height is None else height
        width = self.unet.config.sample_size if width is None else width
        strengths = Strengths.from_arguments(
            self.config,
            num_restarts=num_restarts,
            restart_strength=restart_strength,
            residual_noise=residual_noise,
            flow_strength=flow_strength,
            guidance_scale=guidance_scale,
            motion_guidance_scale=motion_guidance_scale,
        )
        check_sizes(self.unet.size_multiple, num_frames, height, width, batch_size, num_inference_steps)
        check_output_type(output_type)
        self._warn_of_length(num_frames)
        check_scheduler(self.scheduler)
        strengths.check(
            channels=self.unet.config.in_channels,
            noise_patterns=self.config.noise_patterns,
            class_names=self.config.class_names,
            timesteps=self.config.timesteps,
        )
        if isinstance(callback_on_step_end, (PipelineCallback, MultiPipelineCallbacks)):
            callback_on_step_end_tensor_inputs = callback_on_step_end.tensor_inputs
        check_tensor_inputs(callback_on_step_end_tensor_inputs, self._callback_tensor_inputs)
        generators = clip_generators(generator, batch_size)
        shape = (batch_size, self.unet.config.in_channels, num_frames, height, width)
        device = self._execution_device
        given = Given.from_arguments(
            self.config, shape, first_frame=first_frame, frames=frames, frame_mask=frame_mask, flow=flow
        )
        asked = {"cell_type": cell_type, "density": density, "maturity": maturity}
        labels = self._draw_labels(asked, given, generators)
        scale, classes = video_scale(self.config, labels), names_of(self.config, labels)
        labels = None if labels is None else labels.to(device)
        conditions = given.scaled(self.config, scale, shape[1]).to(device)

        # float32 whatever the network's dtype: some schedulers begin with noise that float16 cannot hold
        noise = randn_tensor(shape, generator=generators, device=device)
        flow_noise = None
        if strengths.motion_guidance_scale != 1 and shape[1] > 1:
            flow_noise = randn_tensor(shape, generator=generators, device=device)[:, 1:]
        highest_level = self.scheduler.config.num_train_timesteps - 1
        guidance = Guidance(
            labels, strengths.guidance_scale, strengths.motion_guidance_scale, flow_noise, highest_level
        )
        on_step_end = None
        if callback_on_step_end is not None:
            on_step_end = partial(self._step_end, callback_on_step_end, callback_on_step_end_tensor_inputs)
        denoising = Denoising(
            self.scheduler,
            partial(guidance.predict, self._predict),
            conditions,
            generators,
            num_inference_steps,
            timesteps=self.config.timesteps,
            progress_bar=self.progress_bar,
            on_step_end=on_step_end,
        )
        self._interrupt = False
        clip = denoising.sample(noise)
        for _ in range(strengths.num_restarts):
            if not self.interrupt:
                clip = denoising.restart(clip, strengths.restart_strength)
        if not self.interrupt:
            clip = denoising.finish(clip, strengths.residual_noise, strengths.flow_strength)
        video, motion = self._decode(clip, scale)
        video, motion = given.restore(video, motion)
        self.maybe_free_model_hooks()
        made = as_output(output_type, video, motion)
        return CellVideoPipelineOutput(*made, classes=classes) if return_dict else made

    def _warn_of_length(self, num_frames: int) -> None:
        longest, in_windows = self.config.num_frames, self.tiling is not None and self.tiling.tile_frames
        if longest and num_frames > longest and not in_windows:
            logger.warning(
                f"num_frames is {num_frames}, but training clips had {longest}: in longer ones cells fade. "
                "cellvid_diffusers.pipelines.roll_out makes them window by window."
            )

    def _draw_labels(
        self, asked: dict[str, Asked], given: Given, generators: list[torch.Generator]
    ) -> torch.Tensor | None:
        """Class indices `(B, kinds)`; no class is drawn of a kind that given frames or flow show."""
        shown: tuple[str, ...] = ("density", "maturity") if bool(given.mask.any()) else ()
        if isinstance(self.config.video_mean, dict) and given.frames().numel():
            shown = KINDS
            named = one_for_each_clip("cell_type", asked["cell_type"], len(generators))
            alike = nearest_cell_types(self.config, given.frames())
            asked = asked | {"cell_type": [name or other for name, other in zip(named, alike, strict=True)]}
        return draw_classes(self.config, asked, generators, left_open=shown)

    def _predict(self, clip: torch.Tensor, levels: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        def network(tiles: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
            of_tile = None if labels is None else labels.repeat(len(tiles) // len(clip), 1)
            return self.unet(tiles.to(self.unet.dtype), levels, of_tile, return_dict=False)[0].to(tiles.dtype)

        return network(clip, levels) if self.tiling is None else self.tiling.predict(network, clip, levels)

    def _step_end(
        self, callback: StepEndCallback, names: Sequence[str], step: int, timestep: torch.Tensor, clip: torch.Tensor
    ) -> tuple[torch.Tensor, bool]:
        """Call a callback; return the clip to continue with, and whether to continue."""
        changed = callback(self, step, timestep, {name: clip for name in names})
        return (changed or {}).get("latents", clip), not self.interrupt

    def _decode(
        self, clip: torch.Tensor, scale: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Model values -> video `(B, F, H, W)` in [0, 1] and flow `(B, F, H, W, 2)` in px/frame."""
        mean, std = (value.to(clip.device) for value in scale)
        video = (clip[:, 0] * std + mean).clamp(0, 1)
        if clip.shape[1] == 1:
            return video, None
        return video, clip[:, 1:].permute(0, 2, 3, 4, 1) * self.config.flow_scale
