import pytest
import torch

from cellvid_diffusers.noise_schedule import (
    PREDICTION_TYPES,
    alpha_and_sigma,
    clean_estimate,
    noise_to_signal,
    prediction_target,
)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_a_perfect_prediction_gives_the_clean_clip(prediction_type):
    clean, epsilon = torch.randn(2, 2, 3, 4, 8, 8, dtype=torch.float64)
    alpha, sigma = alpha_and_sigma(torch.tensor(0.3, dtype=torch.float64))
    prediction = prediction_target(clean, epsilon, alpha, sigma, prediction_type)
    estimate = clean_estimate(alpha * clean + sigma * epsilon, prediction, alpha, sigma, prediction_type)
    torch.testing.assert_close(estimate, clean)


def test_signal_and_noise_share_the_variance():
    alpha_bar = torch.linspace(0.01, 0.99, 20, dtype=torch.float64)
    alpha, sigma = alpha_and_sigma(alpha_bar)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha))
    torch.testing.assert_close(noise_to_signal(alpha_bar), sigma / alpha)
