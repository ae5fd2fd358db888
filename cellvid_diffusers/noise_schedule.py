r"""The noise schedule: the signal and noise in a noisy clip, and the clean clip that a prediction implies.

.. math:: x_t = \alpha_t x_0 + \sigma_t \epsilon, \qquad \alpha_t^2 = \bar\alpha_t, \quad \alpha_t^2 + \sigma_t^2 = 1

with the scheduler's cumulative alphas :math:`\bar\alpha_t`. A network predicts :math:`\epsilon`, :math:`x_0`
(`"sample"`) or :math:`v = \alpha_t \epsilon - \sigma_t x_0` (Salimans and Ho, Progressive Distillation, 2022).

Shapes: clips `(B, C, F, H, W)`, C = 1 or 3: video, u, v; `alpha` and `sigma` anything that broadcasts to them.
"""

import torch

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")


def alpha_and_sigma(alphas_cumprod: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Amplitudes of signal and noise."""
    return alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()


def noise_to_signal(alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """sigma / alpha."""
    return ((1 - alphas_cumprod) / alphas_cumprod).sqrt()


def prediction_target(
    clean: torch.Tensor, epsilon: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor, prediction_type: str
) -> torch.Tensor:
    """What the network should predict for a noisy clip."""
    if prediction_type == "v_prediction":
        return alpha * epsilon - sigma * clean
    return epsilon if prediction_type == "epsilon" else clean


def clean_estimate(
    noisy: torch.Tensor, prediction: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor, prediction_type: str
) -> torch.Tensor:
    """The clean clip that a prediction implies."""
    if prediction_type == "v_prediction":
        return alpha * noisy - sigma * prediction
    return (noisy - sigma * prediction) / alpha if prediction_type == "epsilon" else prediction


def expand_levels(values: torch.Tensor, channels: int) -> torch.Tensor:
    """Reshape values of video and flow to multiply a clip with: `(B, F, 2)` -> `(B, C, F, 1, 1)`."""
    return values[:, :, [0, 1, 1][:channels]].transpose(1, 2)[..., None, None]
