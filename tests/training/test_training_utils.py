"""Noise levels and the objective."""

import pytest
import torch
from diffusers import DDPMScheduler

from cellvid_diffusers.noise_schedule import expand_levels
from cellvid_diffusers.training_utils import (
    NOISE_PATTERNS,
    DiffusionObjective,
    draw_noise_levels,
    drop_labels,
)

SCHEDULER = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")


def objective(**arguments) -> DiffusionObjective:
    return DiffusionObjective(SCHEDULER.alphas_cumprod, **arguments)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class TestNoiseLevels:
    @pytest.mark.parametrize("name", NOISE_PATTERNS)
    def test_range(self, name):
        levels = draw_noise_levels({name: 1.0}, 64, 6, 1000, seeded())
        assert levels.shape == (64, 6, 2)
        assert levels.min() >= 0 and levels.max() < 1000
        assert (levels != 0).any(dim=(1, 2)).all(), "something is always unknown"

    @pytest.mark.parametrize(
        "name, video_given, flow_given",
        [
            ("joint", 0, 0),
            ("modalities", 0, 0),
            ("first_frame", 1, 0),
            ("flow_to_video", 0, 6),
            ("video_to_flow", 6, 0),
        ],
    )
    def test_what_is_given(self, name, video_given, flow_given):
        given = (draw_noise_levels({name: 1.0}, 32, 6, 1000, seeded()) == 0).sum(dim=1)
        assert (given[:, 0] == video_given).all() and (given[:, 1] == flow_given).all()

    def test_interpolation_gives_both_ends(self):
        given = draw_noise_levels({"interpolation": 1.0}, 64, 7, 1000, seeded())[..., 0] == 0
        assert given[:, 0].all() and given[:, -1].all() and not given[:, 3].any()

    def test_prediction_gives_the_past(self):
        given = (draw_noise_levels({"prediction": 1.0}, 64, 7, 1000, seeded())[..., 0] == 0).int()
        assert given[:, 0].all() and (given.diff(dim=1) <= 0).all() and not given[:, -1].any()

    def test_weights_are_kept(self):
        levels = draw_noise_levels({"joint": 3.0, "video_to_flow": 1.0}, 2000, 2, 1000, seeded())
        share = (levels[:, 0, 0] == 0).float().mean()
        assert abs(share - 0.25) < 0.04

    @pytest.mark.parametrize("shift", [1.0, 2.0])
    def test_shift_divides_the_signal_to_noise_ratio(self, shift):
        levels = draw_noise_levels({"joint": 1.0}, 4000, 1, 1000, seeded(), level_shift=shift)[:, 0, 0]
        median = SCHEDULER.alphas_cumprod[int(levels.median())]
        assert median / (1 - median) * shift**2 == pytest.approx(1, rel=0.15)

    def test_a_batch_covers_the_range_evenly(self):
        for seed in range(5):
            levels = draw_noise_levels({"joint": 1.0}, 8, 1, 1001, torch.Generator().manual_seed(seed))[:, 0, 0]
            assert ((levels - 1) * 8 // 1000).tolist() == list(range(8))

    def test_unknown_pattern(self):
        with pytest.raises(ValueError, match="among"):
            draw_noise_levels({"jiont": 1.0}, 1, 2, 1000)


class TestObjective:
    def test_noising_agrees_with_diffusers(self):
        clean, epsilon = torch.randn(2, 5, 3, 4, 4, 4).unbind()
        timesteps = torch.tensor([3, 400, 700, 900, 999])
        levels = timesteps[:, None, None].expand(5, 4, 2)
        noisy, target = objective().noise(clean, levels, epsilon)
        torch.testing.assert_close(noisy, SCHEDULER.add_noise(clean, epsilon, timesteps))
        torch.testing.assert_close(target, SCHEDULER.get_velocity(clean, epsilon, timesteps))

    def test_given_values_are_untouched(self):
        clean, epsilon = torch.randn(2, 8, 3, 5, 4, 4).unbind()
        levels = draw_noise_levels({"interpolation": 0.5, "flow_to_video": 0.5}, 8, 5, 1000, seeded())
        noisy, _ = objective().noise(clean, levels, epsilon)
        given = expand_levels(levels == 0, 3).expand_as(clean)
        assert given.any() and torch.equal(noisy[given], clean[given])
        assert not torch.isclose(noisy[~given], clean[~given], rtol=0, atol=1e-7).all()

    def test_nothing_is_learned_where_given(self):
        target = torch.randn(4, 3, 5, 4, 4)
        levels = draw_noise_levels({"first_frame": 0.5, "video_to_flow": 0.5}, 4, 5, 1000, seeded())
        wrong_where_given = target + 100 * expand_levels(levels == 0, 3)
        assert (objective().loss(wrong_where_given, target, levels) == 0).all()

    @pytest.mark.parametrize("loss_type, expected", [("l1", 2.0), ("l2", 4.0)])
    def test_loss_is_the_mean_error(self, loss_type, expected):
        target, levels = torch.zeros(2, 3, 5, 4, 4), torch.full((2, 5, 2), 10)
        levels[0, :3] = 0
        losses = objective(loss_type=loss_type).loss(target + 2, target, levels)
        torch.testing.assert_close(losses, torch.full((3,), expected))

    @pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
    def test_min_snr_weight_means_the_same_for_every_target(self, prediction_type):
        """An error of x0 weighs min(SNR, gamma), whichever quantity was predicted."""
        goal = objective(prediction_type=prediction_type, snr_gamma=5.0)
        clean, error, epsilon = torch.randn(3, 1, 1, 2, 8, 8, generator=seeded()).unbind()
        for step in (20, 300, 800):
            levels = torch.full((1, 2, 2), step)
            alpha_bar = SCHEDULER.alphas_cumprod[step]
            alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
            _, target = goal.noise(clean, levels, epsilon)
            in_target = {"epsilon": -alpha / sigma, "v_prediction": -1 / sigma, "sample": 1.0}[prediction_type]
            loss = goal.loss(target + in_target * error, target, levels)
            snr = alpha_bar / (1 - alpha_bar)
            torch.testing.assert_close(loss[0], snr.clamp(max=5) * error.square().mean(), rtol=1e-3, atol=1e-6)

    def test_flow_weight(self):
        losses = torch.tensor([1.0, 4.0, 4.0])
        assert objective(flow_weight=0.0).combine(losses) == 1
        assert objective(flow_weight=1.0).combine(losses) == 3
        assert objective(flow_weight=0.5).combine(losses[:1]) == 1

    @pytest.mark.parametrize("arguments", [{"prediction_type": "flow"}, {"loss_type": "huber"}])
    def test_unknown_choice(self, arguments):
        with pytest.raises(ValueError, match="must be one of"):
            objective(**arguments)


def test_dropped_labels_are_unknown():
    labels = torch.ones(4000, 2, dtype=torch.long)
    dropped = drop_labels(labels, 0.3, seeded())
    assert set(dropped.unique().tolist()) == {-1, 1}
    assert abs((dropped == -1).float().mean() - 0.3) < 0.03
    assert torch.equal(drop_labels(labels, 0.0), labels)
    assert (drop_labels(labels, 1.0) == -1).all()


@pytest.mark.parametrize("kinds", [1, 2, 3])
def test_clips_without_any_label_are_seen_whatever_the_number_of_kinds(kinds):
    """What guidance asks for: no label at all."""
    dropped = drop_labels(torch.ones(4000, kinds, dtype=torch.long), 0.2, seeded()) == -1
    assert dropped.all(dim=1).float().mean() > 0.1
    assert abs(dropped.float().mean() - 0.2) < 0.03
