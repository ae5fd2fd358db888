r"""What one more prediction can mend in a finished clip.

A sampler's small errors stay in the clip as noise that nothing takes off any more. Presented as a clip at the level
whose noise is of that size, :math:`\alpha_t x`, the network takes it off.

A sampled flow is one draw from what the frames allow, and errs twice as much in the mean square as the expectation of
all draws. With the video at noise level zero and the sampled flow noised to a level t, one prediction gives

.. math:: E[f | x, f_t], \quad f_t = \alpha_t f + \sigma_t \epsilon,

all draws near the one that the video was sampled with. It needs a network that knows noise levels of their own for
video and flow.

Shapes: clip, noise `(B, C, F, H, W)` in the model's scale, C = 1 or 3: video, u, v.
"""

from collections.abc import Callable

import torch
from diffusers.schedulers import SchedulerMixin

from ..noise_schedule import alpha_and_sigma, clean_estimate, noise_to_signal

PredictAtLevel = Callable[[torch.Tensor], torch.Tensor]
"""The network's prediction for a clip, the noise levels being known."""


def level_of_noise(scheduler: SchedulerMixin, deviation: float) -> int:
    """First timestep of training whose noise, over its signal, has at least this standard deviation."""
    ratio = noise_to_signal(scheduler.alphas_cumprod)
    return min(max(1, int((ratio < deviation).sum())), len(ratio) - 1)  # level 0 says that all is given


def _alpha_and_sigma(scheduler: SchedulerMixin, level: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """At a timestep of training, on the device and in the dtype of a clip."""
    alpha, sigma = alpha_and_sigma(scheduler.alphas_cumprod[level])
    return alpha.to(like), sigma.to(like)


def without_residue(predict: PredictAtLevel, clip: torch.Tensor, level: int, scheduler: SchedulerMixin) -> torch.Tensor:
    """The clip without the noise that it still holds; `predict` is for clips at `level`."""
    alpha, sigma = _alpha_and_sigma(scheduler, level, clip)
    scaled = alpha * clip
    return clean_estimate(scaled, predict(scaled), alpha, sigma, scheduler.config.prediction_type)


def expected_flow(
    predict: PredictAtLevel, clip: torch.Tensor, noise: torch.Tensor, level: int, scheduler: SchedulerMixin
) -> torch.Tensor:
    """The clip with the flow that the network expects; `predict` is for clean video and flow at `level`."""
    alpha, sigma = _alpha_and_sigma(scheduler, level, clip)
    noisy = torch.cat([clip[:, :1], alpha * clip[:, 1:] + sigma * noise[:, 1:]], dim=1)
    prediction = predict(noisy)[:, 1:]
    flow = clean_estimate(noisy[:, 1:], prediction, alpha, sigma, scheduler.config.prediction_type)
    return torch.cat([clip[:, :1], flow], dim=1)
