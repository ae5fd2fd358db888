"""The stochastic sampler, on clips whose best denoiser is known."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from cellvid_diffusers import StochasticDPMSolverScheduler

TRAINED = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
DEVIATION = 0.5


def sample(scheduler, steps=25, count=4000, deviation=DEVIATION):
    """Draws from a normal distribution of mean 1 and this deviation, by its exact v-prediction; `(count,)`."""
    generator = torch.Generator().manual_seed(0)
    scheduler.set_timesteps(steps)
    x = torch.randn(count, 1, generator=generator)
    for t in scheduler.timesteps:
        alpha, sigma = scheduler.alphas_cumprod[t].sqrt(), (1 - scheduler.alphas_cumprod[t]).sqrt()
        gain = alpha * deviation**2 / (alpha**2 * deviation**2 + sigma**2)
        clean = 1 + gain * (x - alpha)
        noise = (x - alpha * clean) / sigma
        x = scheduler.step(alpha * noise - sigma * clean, t, x, generator=generator).prev_sample
    return x.ravel()


@pytest.mark.parametrize("stochasticity", [0, 0.5, 0.7, 1])
def test_samples_have_the_distribution_that_was_learned(stochasticity):
    drawn = sample(StochasticDPMSolverScheduler(stochasticity=stochasticity, **TRAINED), steps=60)
    assert drawn.mean() == pytest.approx(1, abs=0.03)
    assert drawn.std() == pytest.approx(DEVIATION, rel=0.05)


@pytest.mark.parametrize("deviation", [0.05, 0.1, 0.5, 1])
def test_the_usual_number_of_steps_keeps_the_grain_of_a_camera(deviation):
    drawn = sample(StochasticDPMSolverScheduler(**TRAINED), deviation=deviation)
    assert drawn.std() == pytest.approx(deviation, rel=0.1)


@pytest.mark.parametrize("betas", [{"beta_schedule": "scaled_linear"}, {"beta_start": 1e-5, "beta_end": 2e-5}])
def test_training_that_ends_below_the_range_has_as_many_steps(betas):
    scheduler = StochasticDPMSolverScheduler(prediction_type="v_prediction", **betas)
    scheduler.set_timesteps(25)
    assert len(scheduler.timesteps) >= 24 and scheduler.timesteps[0] == 999
    drawn = sample(scheduler)
    assert drawn.isfinite().all()


def test_noise_levels_of_flow_matching_are_refused():
    with pytest.raises(ValueError, match="use_flow_sigmas must be False"):
        StochasticDPMSolverScheduler.from_config(DPMSolverMultistepScheduler(use_flow_sigmas=True).config)


def test_without_stochasticity_its_steps_are_those_of_dpm_solver():
    ours, theirs = StochasticDPMSolverScheduler(stochasticity=0, **TRAINED), DPMSolverMultistepScheduler(**TRAINED)
    ours.set_timesteps(10)
    timesteps = ours.timesteps.tolist()
    theirs.set_timesteps(timesteps=timesteps)
    clips = [torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))] * 2
    for t in timesteps:
        v = torch.randn(clips[0].shape, generator=torch.Generator().manual_seed(t))
        clips = [each.step(v, t, clip).prev_sample for each, clip in zip((ours, theirs), clips, strict=True)]
        torch.testing.assert_close(*clips, atol=1e-4, rtol=1e-4)


def test_at_full_stochasticity_its_steps_are_those_of_sde_dpm_solver():
    ours = StochasticDPMSolverScheduler(stochasticity=1, stochastic_range=(0.07, 1e6), **TRAINED)
    theirs = DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", **TRAINED)
    timesteps = [999, 900, 700, 400, 200]
    for scheduler in (ours, theirs):
        scheduler.set_timesteps(timesteps=timesteps)
    clips = [torch.randn(1, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))] * 2
    for t in timesteps:
        v, noise = torch.randn(2, *clips[0].shape, generator=torch.Generator().manual_seed(t))
        clips = [
            each.step(v, t, clip, variance_noise=noise).prev_sample
            for each, clip in zip((ours, theirs), clips, strict=True)
        ]
        torch.testing.assert_close(*clips, atol=1e-4, rtol=1e-4)


def test_steps_beyond_the_range_are_deterministic():
    scheduler = StochasticDPMSolverScheduler(stochasticity=1, stochastic_range=(0.5, 50), **TRAINED)
    scheduler.set_timesteps(25)
    clip = v = torch.zeros(1, 1, 1, 8, 8)
    noisy = [bool(scheduler.step(v, t, clip).prev_sample.any()) for t in scheduler.timesteps]
    inside = [
        bool(now <= 50 and then >= 0.5) for now, then in zip(scheduler.sigmas, scheduler.sigmas[1:], strict=False)
    ]
    assert noisy == inside and 10 < sum(inside) < len(inside) - 4


@pytest.mark.parametrize("steps", [1, 2, 4, 25, 100, 1000])
def test_timesteps_fall_from_the_noisiest_and_never_say_given(steps):
    scheduler = StochasticDPMSolverScheduler(**TRAINED)
    scheduler.set_timesteps(steps)
    timesteps = scheduler.timesteps.tolist()
    assert timesteps[0] == 999 and timesteps[-1] > 0 and len(timesteps) <= steps
    assert (np.diff(timesteps) < 0).all()


def test_a_number_of_steps_is_needed():
    with pytest.raises(ValueError, match="num_inference_steps or timesteps must be given"):
        StochasticDPMSolverScheduler(**TRAINED).set_timesteps()


def test_settings_are_kept(tmp_path):
    scheduler = StochasticDPMSolverScheduler(stochasticity=0.3, stochastic_range=(0.2, 90), **TRAINED)
    scheduler.save_pretrained(tmp_path)
    kept = StochasticDPMSolverScheduler.from_pretrained(tmp_path)
    settings = {name: value for name, value in scheduler.config.items() if not name.startswith("_")}
    assert {name: kept.config[name] for name in settings} == settings
    assert (kept.config.stochasticity, kept.config.stochastic_range) == (0.3, [0.2, 90])
    assert kept.config.prediction_type == "v_prediction"
    assert DPMSolverMultistepScheduler.from_config(kept.config).config.beta_schedule == "squaredcos_cap_v2"


def test_a_fresh_process_loads_a_pipeline_with_it():
    checkpoint = Path(__file__).parents[1] / "checkpoints" / "cellvid-tiny"
    code = f"""
from cellvid_diffusers import CellVideoPipeline
print(type(CellVideoPipeline.from_pretrained({str(checkpoint)!r}).scheduler).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "StochasticDPMSolverScheduler\n", done.stderr[-2000:]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stochasticity": -0.1}, "at least 0"),
        ({"stochastic_range": (2, 1)}, "rise"),
        ({"stochastic_range": (0, 1)}, "rise"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        StochasticDPMSolverScheduler(**settings, **TRAINED)


def test_settings_that_do_not_count_change_nothing():
    """Of a scheduler whose configuration is taken over."""
    expected = sample(StochasticDPMSolverScheduler(**TRAINED))
    for settings in (
        {"use_karras_sigmas": True},
        {"final_sigmas_type": "sigma_min"},
        {"thresholding": True},
    ):
        other = DPMSolverMultistepScheduler(**TRAINED, **settings)
        drawn = sample(StochasticDPMSolverScheduler.from_config(other.config))
        torch.testing.assert_close(drawn, expected)
