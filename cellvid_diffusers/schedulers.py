r"""DPM-Solver++ that corrects its own errors by adding noise at the levels where a clip takes shape.

A deterministic sampler keeps every error that it makes. When noise is added during sampling, the network removes it
again, and earlier errors with it. But more noise requires smaller steps, and at levels where a clip does not take shape
these are wasted. The noise is therefore limited to a range of levels (Karras et al., 2022), and its amount is a
parameter. Below the range there must be enough steps, too: with few, the grain of a picture is smoothed away.

With :math:`\lambda = \log(\alpha / \sigma)`, :math:`h = \lambda_t - \lambda_s > 0`, the estimate :math:`\hat x` of the
clean clip extrapolated from the last two predictions, and the stochasticity :math:`\tau` (Xue et al., 2023, Eq. 12; 0
is DPM-Solver++, 1 is SDE-DPM-Solver++),

.. math:: x_t = \frac{\sigma_t}{\sigma_s} e^{-\tau^2 h} x_s + \alpha_t (1 - e^{-(1 + \tau^2) h}) \hat x
    + \sigma_t \sqrt{1 - e^{-2 \tau^2 h}} \, \epsilon.

References
----------
.. [1] DPM-Solver++ (Lu et al., 2022), https://arxiv.org/abs/2211.01095
.. [2] SA-Solver: Stochastic Adams Solver (Xue et al., 2023), https://arxiv.org/abs/2309.05019
.. [3] Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
   https://arxiv.org/abs/2206.00364
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler
from diffusers.schedulers import SchedulerMixin  # noqa: F401 (diffusers looks for it here when loading)
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from diffusers.utils.torch_utils import randn_tensor

from .noise_schedule import noise_to_signal

LAST_RATIO = 0.01
"""Noise over signal at the last step: details fainter than this, relative to the clip's contrast, are smoothed away."""
SHARE_ABOVE, SHARE_BELOW = 1 / 12, 1 / 4
"""Shares of the steps above and below the stochastic range."""


FIXED = {
    "algorithm_type": "dpmsolver++",  # the network's estimate of the clean clip is what `step` works on
    "thresholding": False,
    "final_sigmas_type": "zero",
    "use_lu_lambdas": False,  # the steps are spread here
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
}
"""Settings of `DPMSolverMultistepScheduler` that are overridden."""


class StochasticDPMSolverScheduler(DPMSolverMultistepScheduler):
    """
    DPM-Solver++(2M) with small, stochastic steps within a range of noise levels.

    Its other settings are those of `DPMSolverMultistepScheduler`, of which only the prediction type and those that
    define the noise levels have an effect.

    Args:
        stochasticity (`float`): 0 is deterministic, 1 the reverse SDE; at least 0.
        stochastic_range (`Sequence[float]`): Lowest and highest noise over signal of stochastic steps.

    Raises:
        ValueError: If the stochasticity is negative, the range does not rise from above `LAST_RATIO`, or the noise
            levels are those of flow matching.
    """

    def __init__(
        self, stochasticity: float = 0.5, stochastic_range: Sequence[float] = (0.4, 90.0), **kwargs: Any
    ) -> None:
        least, highest = stochastic_range
        if stochasticity < 0:
            raise ValueError(f"stochasticity must be at least 0, got {stochasticity}")
        if not LAST_RATIO < least < highest:
            raise ValueError(f"stochastic_range must rise from above {LAST_RATIO}, got {list(stochastic_range)}")
        if kwargs.get("use_flow_sigmas"):
            raise ValueError(
                "use_flow_sigmas must be False: noise levels are alphas_cumprod's, not those of flow matching"
            )
        super().__init__(**kwargs | FIXED)
        self.register_to_config(stochasticity=stochasticity, stochastic_range=list(stochastic_range))

    @staticmethod
    def _get_init_keys(input_class: type) -> set[str]:
        """Keys that a configuration may hold: `kwargs` stands for the settings of the parent class."""
        own = DPMSolverMultistepScheduler._get_init_keys(input_class)
        return own | DPMSolverMultistepScheduler._get_init_keys(DPMSolverMultistepScheduler)

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: list[int] | None = None,
    ) -> None:
        """Set the timesteps to sample at, by their number or one by one.

        Args:
            num_inference_steps (`int`, *optional*): Number of steps; fewer are taken where two would fall on the same
                training timestep.
            device (`str` or `torch.device`, *optional*): Device of `timesteps`.
            timesteps (`list[int]`, *optional*): Timesteps to use instead, noisiest first.

        Raises:
            ValueError: If neither a number of steps nor timesteps are given.
        """
        if timesteps is None:
            if num_inference_steps is None:
                raise ValueError("num_inference_steps or timesteps must be given")
            timesteps = self._spread(num_inference_steps)
        super().set_timesteps(timesteps=timesteps, device=device)

    def _spread(self, count: int) -> list[int]:
        """Training timesteps nearest to equal steps in log(noise / signal) within the range, larger steps outside."""
        ratios = noise_to_signal(self.alphas_cumprod.double()).log().numpy()
        least, highest = np.log(self.config.stochastic_range)
        top = ratios[-1]
        knots = [top, min(highest, top), min(least, top), np.log(LAST_RATIO)]
        shares = [0, SHARE_ABOVE if top > highest else 0, 1 - SHARE_BELOW if top > least else 0, 1]
        aims = np.interp(np.linspace(0, 1, count), shares, knots)
        nearest = np.abs(ratios - aims[:, None]).argmin(axis=1)
        return sorted({max(1, int(level)) for level in nearest}, reverse=True)  # 0 means that a clip is given

    def step(
        self,
        model_output: torch.Tensor,
        timestep: int | torch.Tensor,
        sample: torch.Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
        variance_noise: torch.Tensor | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput | tuple[torch.Tensor]:
        """Take a step.

        Args:
            model_output (`torch.Tensor`): The network's prediction.
            timestep (`int` or `torch.Tensor`): Timestep of the prediction.
            sample (`torch.Tensor`): Noisy clip that the prediction was made for.
            generator (`torch.Generator` or a list of one for each clip, *optional*): Source of the noise.
            variance_noise (`torch.Tensor`, *optional*): Noise to use instead of drawing it.
            return_dict (`bool`): Whether to return a `SchedulerOutput` or a tuple.

        Returns:
            `SchedulerOutput` or `tuple`: The clip at the next timestep, `prev_sample`.
        """
        if self.step_index is None:
            self._init_step_index(timestep)
        index = self.step_index
        clean = self.convert_model_output(model_output, sample=sample).float()
        before, self.model_outputs[-1] = self.model_outputs[-1], clean  # estimate of the previous step, if any
        now, then = float(self.sigmas[index]), float(self.sigmas[index + 1])  # noise over signal
        moved, estimate, spread = clean, clean, 0.0
        if then > 0:
            ahead = np.log(now / then)
            if before is not None:
                behind = np.log(float(self.sigmas[index - 1]) / now)
                estimate = clean + 0.5 * ahead / behind * (clean - before)
            least, highest = self.config.stochastic_range
            tau = self.config.stochasticity if least <= then and now <= highest else 0.0
            signal, ratio = (1 + then**2) ** -0.5, ((1 + now**2) / (1 + then**2)) ** 0.5 * then / now
            moved = ratio * np.exp(-(tau**2) * ahead) * sample.float()
            moved = moved - signal * np.expm1(-(1 + tau**2) * ahead) * estimate
            spread = then * signal * np.sqrt(-np.expm1(-2 * tau**2 * ahead))
        if spread > 0:
            if variance_noise is None:
                variance_noise = randn_tensor(moved.shape, generator, moved.device, moved.dtype)
            moved = moved + spread * variance_noise
        self._step_index += 1
        moved = moved.to(model_output.dtype)
        return SchedulerOutput(prev_sample=moved) if return_dict else (moved,)
