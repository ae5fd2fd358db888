"""The pipeline that a training run leaves behind."""

import sys
from pathlib import Path

import pytest
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler

from cellvid_diffusers import StochasticDPMSolverScheduler

sys.path.insert(0, str(Path(__file__).parents[2] / "training"))

from validation import make_sampler

TRAINED = DDPMScheduler(prediction_type="epsilon", timestep_spacing="leading", clip_sample=False)


def test_the_papers_sampler_is_ancestral_and_clips_to_grey_levels():
    sampler = make_sampler("ddpm", TRAINED, 0.5, 0.5)
    assert type(sampler) is DDPMScheduler and sampler.config.prediction_type == "epsilon"
    assert sampler.config.clip_sample and sampler.config.clip_sample_range == 1.0
    sampler.set_timesteps(1000)
    assert sampler.timesteps.tolist() == list(range(999, -1, -1))
    assert make_sampler("ddpm", TRAINED, {"a": 0.2, "b": 0.5}, {"a": 0.1, "b": 0.5}).config.clip_sample_range == 8.0


def test_the_usual_sampler_is_a_fast_one():
    assert type(make_sampler("dpmsolver++", TRAINED, 0.5, 0.5)) is DPMSolverMultistepScheduler
    stochastic = make_sampler("stochastic-dpmsolver++", TRAINED, 0.5, 0.5)
    assert type(stochastic) is StochasticDPMSolverScheduler and stochastic.config.prediction_type == "epsilon"
    with pytest.raises(ValueError, match="sampler must be"):
        make_sampler("euler", TRAINED, 0.5, 0.5)


def test_distilled_models_step_to_first_order_at_their_own_timesteps():
    sampler = make_sampler("ddim", TRAINED, 0.5, 0.5)
    sampler.set_timesteps(timesteps=[999, 700, 200])
    assert sampler.config.solver_order == 1 and sampler.timesteps.tolist() == [999, 700, 200]
