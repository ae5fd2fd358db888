"""A clip taken through a scheduler's noise levels, what is given staying as it is.

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
        scheduler ([`SchedulerMixin`]): Whose steps are taken; its state is changed.
        predict (`Predict`): What each step is made of.
        conditions ([`Conditions`]): What is given.
        generators (`list[torch.Generator]`): One a clip, for the noise that is added on the way.
        num_inference_steps (`int`): Number of steps.
        timesteps (`list[int]`, *optional*): Those of a distilled model, instead of that many.
        progress_bar (`Callable`): Wraps the timesteps of a pass.
        on_step_end (`Callable`, *optional*): From the index of a timestep, the timestep and the clip after its step to
            the clip that sampling goes on with, and whether it does.
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
        """Make a clip of noise of deviation 1."""
        self._set_timesteps(noise.device)
        return self._steps(self.conditions.impose(noise * self.scheduler.init_noise_sigma))

    def restart(self, clip: torch.Tensor, strength: float) -> torch.Tensor:
        """Noise a finished clip again, to a share of all levels in (0, 1], and take it from there."""
        self._set_timesteps(clip.device)
        timesteps = self.scheduler.timesteps
        above = int((timesteps > strength * self.scheduler.config.num_train_timesteps).sum())
        begin = min(above, len(timesteps) - 1)
        self._begin_at(begin)
        level = timesteps[begin : begin + 1].expand(len(clip))
        return self._steps(self.conditions.impose(self.scheduler.add_noise(clip, self._noise(clip), level)), begin)

    def finish(self, clip: torch.Tensor, residual_noise: float, flow_strength: float) -> torch.Tensor:
        """What one more prediction each can mend (`finishing`)."""

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
        """Tell the scheduler which steps to take."""
        if self.timesteps is None:
            self.scheduler.set_timesteps(self.num_inference_steps, device=device)
            self._begin_at(0)  # else a first timestep that comes twice counts as the second
            return
        if "timesteps" not in inspect.signature(self.scheduler.set_timesteps).parameters:
            raise ValueError(
                f"scheduler must take timesteps: this checkpoint was distilled to {self.timesteps}, "
                f"got {type(self.scheduler).__name__}"
            )
        self.scheduler.set_timesteps(timesteps=self.timesteps, device=device)

    def _steps(self, clip: torch.Tensor, begin: int = 0) -> torch.Tensor:
        """Take a clip with the noise of the timestep of index `begin` through that and all later ones."""
        takes_generator = "generator" in inspect.signature(self.scheduler.step).parameters
        extra = {"generator": self.generators} if takes_generator else {}
        for index, timestep in enumerate(self.progress_bar(self.scheduler.timesteps[begin:]), begin):
            model_input = self.conditions.impose(self.scheduler.scale_model_input(clip, timestep))
            levels = self.conditions.levels(timestep.clamp(min=1))  # 0 says given
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
        """Tell a scheduler that counts its steps where sampling begins."""
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(index)
