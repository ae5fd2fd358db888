"""Denoising of a clip through a scheduler's noise levels, with given values held fixed.

Shapes: clip, noise `(B, C, F, H, W)` in the model's scale, C = 1 or 3: video, u, v; levels `(B, F, 2)`, 0 = given.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers.schedulers import SchedulerMixin
from diffusers.utils.torch_utils import randn_tensor

from .conditions import Conditions
from .finishing import expected_flow, level_of_noise, without_residue

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""The network's guided prediction for a noisy clip at given levels."""


@dataclass(frozen=True)
class Denoising:
    """
    Args:
        scheduler ([`SchedulerMixin`]): Takes the steps; its state is changed.
        predict (`Predict`): Makes the prediction for each step.
        conditions ([`Conditions`]): Given values.
        generators (`list[torch.Generator]`): One per clip, for the noise that is added during sampling.
        num_inference_steps (`int`): Number of steps.
        timesteps (`list[int]`, *optional*): Timesteps of a distilled model, used instead of `num_inference_steps`.
        progress_bar (`Callable`): Wraps the timesteps of a pass.
        on_step_end (`Callable`, *optional*): Called with the index of a timestep, the timestep and the clip after its
            step; returns the clip to continue with, and whether to continue.
    """

    scheduler: SchedulerMixin
    predict: Predict
    conditions: Conditions
    generators: list[torch.Generator]
    num_inference_steps: int
    timesteps: list[int] | None = None
    progress_bar: Callable[[Iterable], Any] = iter
    on_step_end: Callable[[int, torch.Tensor, torch.Tensor], tuple[torch.Tensor, bool]] | None = None

    def sample(self, noise: torch.Tensor) -> torch.Tensor:
        """Turn noise of standard deviation 1 into a clip."""
        self._set_timesteps(noise.device)
        return self._steps(self.conditions.impose(noise * self.scheduler.init_noise_sigma))

    def restart(self, clip: torch.Tensor, strength: float) -> torch.Tensor:
        """Noise a finished clip again, to a share of all levels in (0, 1], and denoise it from there."""
        self._set_timesteps(clip.device)
        timesteps = self.scheduler.timesteps
        above = int((timesteps > strength * self.scheduler.config.num_train_timesteps).sum())
        begin = min(above, len(timesteps) - 1)
        self._begin_at(begin)
        level = timesteps[begin : begin + 1].expand(len(clip))
        return self._steps(self.conditions.impose(self.scheduler.add_noise(clip, self._noise(clip), level)), begin)

    def finish(self, clip: torch.Tensor, residual_noise: float, flow_strength: float) -> torch.Tensor:
        """Apply the corrections of `finishing`, each of which takes one more prediction."""

        def predict(noisy: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
            return self.predict(self.conditions.impose(noisy), levels)

        if residual_noise > 0:
            level = level_of_noise(self.scheduler, residual_noise)
            levels = self.conditions.levels(torch.tensor(level, device=clip.device))
            clean = without_residue(partial(predict, levels=levels), clip, level, self.scheduler)
            clip = self.conditions.impose(clean)
        if flow_strength > 0 and clip.shape[1] > 1 and not bool(self.conditions.given[..., 1].all()):
            level = max(1, round(flow_strength * self.scheduler.config.num_train_timesteps) - 1)
            levels = self.conditions.levels(torch.tensor(level, device=clip.device))
            levels[..., 0] = 0
            clip = expected_flow(partial(predict, levels=levels), clip, self._noise(clip), level, self.scheduler)
        return clip

    def _set_timesteps(self, device: torch.device) -> None:
        """Set the scheduler's timesteps."""
        if self.timesteps is None:
            self.scheduler.set_timesteps(self.num_inference_steps, device=device)
            self._begin_at(0)  # else, if the first timestep occurs twice, it would start at the second
            return
        if "timesteps" not in inspect.signature(self.scheduler.set_timesteps).parameters:
            raise ValueError(
                f"scheduler must take timesteps: this checkpoint was distilled to {self.timesteps}, "
                f"got {type(self.scheduler).__name__}"
            )
        self.scheduler.set_timesteps(timesteps=self.timesteps, device=device)

    def _steps(self, clip: torch.Tensor, begin: int = 0) -> torch.Tensor:
        """Denoise a clip, noised to the timestep of index `begin`, through that timestep and all later ones."""
        takes_generator = "generator" in inspect.signature(self.scheduler.step).parameters
        extra = {"generator": self.generators} if takes_generator else {}
        for index, timestep in enumerate(self.progress_bar(self.scheduler.timesteps[begin:]), begin):
            model_input = self.conditions.impose(self.scheduler.scale_model_input(clip, timestep))
            levels = self.conditions.levels(timestep.clamp(min=1))  # 0 means given
            prediction = self.predict(model_input, levels)
            clip = self.conditions.impose(self.scheduler.step(prediction, timestep, clip, **extra).prev_sample)
            if self.on_step_end is None:
                continue
            changed, goes_on = self.on_step_end(index, timestep, clip)
            clip = self.conditions.impose(changed)
            if not goes_on:
                break
        return clip

    def _noise(self, clip: torch.Tensor) -> torch.Tensor:
        return randn_tensor(clip.shape, generator=self.generators, device=clip.device, dtype=clip.dtype)

    def _begin_at(self, index: int) -> None:
        """Set the index of the first step, for schedulers that count their steps."""
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(index)
