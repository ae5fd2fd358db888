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

PredictAtLevel = Callable[[torch.Tensor], torch.Tensor]
"""The network's prediction for a clip, the noise levels being known."""


def level_of_noise(scheduler: SchedulerMixin, deviation: float) -> int:
    """First timestep of training whose noise, over its signal, has at least this standard deviation."""
    ratio = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod).sqrt()
    return min(max(1, int((ratio < deviation).sum())), len(ratio) - 1)  # level 0 says that all is given


def signal_and_spread(scheduler: SchedulerMixin, level: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """alpha and sigma at a timestep of training, on the device and in the dtype of a clip."""
    alpha_bar = scheduler.alphas_cumprod[level]
    return alpha_bar.sqrt().to(like), (1 - alpha_bar).sqrt().to(like)


def clean_estimate(
    noisy: torch.Tensor, prediction: torch.Tensor, level: int, scheduler: SchedulerMixin
) -> torch.Tensor:
    """The clean clip that a prediction at a timestep stands for."""
    signal, spread = signal_and_spread(scheduler, level, noisy)
    kind = scheduler.config.prediction_type
    if kind == "v_prediction":
        return signal * noisy - spread * prediction
    if kind == "epsilon":
        return (noisy - spread * prediction) / signal
    assert kind == "sample"
    return prediction


def without_residue(predict: PredictAtLevel, clip: torch.Tensor, level: int, scheduler: SchedulerMixin) -> torch.Tensor:
    """The clip without the noise that it still holds; `predict` is for clips at `level`."""
    scaled = signal_and_spread(scheduler, level, clip)[0] * clip
    return clean_estimate(scaled, predict(scaled), level, scheduler)


def expected_flow(
    predict: PredictAtLevel, clip: torch.Tensor, noise: torch.Tensor, level: int, scheduler: SchedulerMixin
) -> torch.Tensor:
    """The clip with the flow that the network expects; `predict` is for clean video and flow at `level`."""
    signal, spread = signal_and_spread(scheduler, level, clip)
    noisy = torch.cat([clip[:, :1], signal * clip[:, 1:] + spread * noise[:, 1:]], dim=1)
    flow = clean_estimate(noisy[:, 1:], predict(noisy)[:, 1:], level, scheduler)
    return torch.cat([clip[:, :1], flow], dim=1)
