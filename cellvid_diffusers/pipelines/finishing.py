r"""Corrections of a finished clip that take one more prediction each.

A sampler's small errors remain in the clip as noise. If the clip is presented as :math:`\alpha_t x`, a noisy clip at
the level t whose noise has that size, the network removes it.

A sampled flow is one draw from the flows that the frames allow, and its mean squared error is twice that of the
expectation over all draws. With the video at noise level zero and the sampled flow noised to a level t, one prediction
gives

.. math:: E[f | x, f_t], \quad f_t = \alpha_t f + \sigma_t \epsilon,

the expectation over draws near the one that the video was sampled with. This needs a network trained with separate
noise levels for video and flow.

Shapes: clip, noise `(B, C, F, H, W)` in the model's scale, C = 1 or 3: video, u, v.
"""

from collections.abc import Callable

import torch
from diffusers.schedulers import SchedulerMixin

from ..noise_schedule import alpha_and_sigma, clean_estimate, noise_to_signal

PredictAtLevel = Callable[[torch.Tensor], torch.Tensor]
"""The network's prediction for a clip at fixed noise levels."""


def level_of_noise(scheduler: SchedulerMixin, deviation: float) -> int:
    """First training timestep whose noise over signal is at least `deviation`."""
    ratio = noise_to_signal(scheduler.alphas_cumprod)
    return min(max(1, int((ratio < deviation).sum())), len(ratio) - 1)  # level 0 means that all is given


def _alpha_and_sigma(scheduler: SchedulerMixin, level: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """alpha and sigma at a training timestep, on the device and in the dtype of a clip."""
    alpha, sigma = alpha_and_sigma(scheduler.alphas_cumprod[level])
    return alpha.to(like), sigma.to(like)


def without_residue(predict: PredictAtLevel, clip: torch.Tensor, level: int, scheduler: SchedulerMixin) -> torch.Tensor:
    """Remove the noise that a clip still contains; `predict` is for clips at `level`."""
    alpha, sigma = _alpha_and_sigma(scheduler, level, clip)
    scaled = alpha * clip
    return clean_estimate(scaled, predict(scaled), alpha, sigma, scheduler.config.prediction_type)


def expected_flow(
    predict: PredictAtLevel, clip: torch.Tensor, noise: torch.Tensor, level: int, scheduler: SchedulerMixin
) -> torch.Tensor:
    """Replace a clip's flow by the network's expectation; `predict` is for clean video and flow at `level`."""
    alpha, sigma = _alpha_and_sigma(scheduler, level, clip)
    noisy = torch.cat([clip[:, :1], alpha * clip[:, 1:] + sigma * noise[:, 1:]], dim=1)
    prediction = predict(noisy)[:, 1:]
    flow = clean_estimate(noisy[:, 1:], prediction, alpha, sigma, scheduler.config.prediction_type)
    return torch.cat([clip[:, :1], flow], dim=1)
