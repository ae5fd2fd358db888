r"""The flow that a network expects of a finished video, given a vague memory of the flow that it sampled.

A sampled flow is one draw from what the frames allow, and errs twice as much in the mean square as the expectation of
all draws. With the video at noise level zero and the sampled flow noised to a level t, one prediction gives

.. math:: E[f | x, f_t], \quad f_t = \alpha_t f + \sigma_t \epsilon,

all draws near the one that the video was sampled with. It needs a network that knows noise levels of their own for
video and flow.
"""

from collections.abc import Callable

import torch
from diffusers.schedulers import SchedulerMixin


def expected_flow(
    predict: Callable[[torch.Tensor], torch.Tensor],
    clip: torch.Tensor,
    noise: torch.Tensor,
    level: int,
    scheduler: SchedulerMixin,
) -> torch.Tensor:
    """
    Noise the flow of a finished clip and predict it from the video.

    Args:
        predict (`Callable`): The network's prediction for a clip whose flow is at `level` and whose video is clean.
        clip (`torch.Tensor` of shape `(B, 3, F, H, W)`): Video, u and v in the model's scale.
        noise (`torch.Tensor` of shape `(B, 3, F, H, W)`): Standard normal.
        level (`int`): Timestep of training, from 0.
        scheduler ([`SchedulerMixin`]): Knows the signal's share at each level and what the network predicts.

    Returns:
        `torch.Tensor` of shape `(B, 2, F, H, W)`: u and v in the model's scale.
    """
    signal = scheduler.alphas_cumprod[level].sqrt().to(clip)
    spread = (1 - scheduler.alphas_cumprod[level]).sqrt().to(clip)
    noisy = torch.cat([clip[:, :1], signal * clip[:, 1:] + spread * noise[:, 1:]], dim=1)
    prediction = predict(noisy)[:, 1:]
    kind = scheduler.config.prediction_type
    if kind == "v_prediction":
        return signal * noisy[:, 1:] - spread * prediction
    if kind == "epsilon":
        return (noisy[:, 1:] - spread * prediction) / signal
    assert kind == "sample"
    return prediction
