"""Distillation, against a teacher whose way is known in closed form."""

import pytest
import torch
from diffusers import DDPMScheduler

from cellvid_diffusers.distillation import Distillation, NoisyTeacher

ALPHAS = torch.cos(torch.linspace(0.01, torch.pi / 2 - 1e-4, 1000)) ** 2
TIMESTEPS = [999, 950, 700]
SPREAD = 0.5
"""Standard deviation of the clips that the teacher has learned: independent normal values."""


class GaussianTeacher(torch.nn.Module):
    """The best prediction of v for clips of independent normal values."""

    def forward(self, clip, levels, labels, return_dict):
        assert not return_dict
        alpha_bar = torch.where(levels == 0, 1, ALPHAS[levels])[:, None, :, :1, None]  # one level for all channels
        alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
        clean = alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2) * clip
        noise = (clip - alpha * clean) / sigma.clamp(min=1e-6)
        return (alpha * noise - sigma * clean,)


def spread_at(alpha_bar):
    return (alpha_bar * SPREAD**2 + 1 - alpha_bar).sqrt()


def arrive(noisy, target, start, end):
    """Where one step with v = target ends."""
    turn = torch.acos(start.sqrt()) - torch.acos(end.sqrt())
    return torch.cos(turn) * noisy - torch.sin(turn) * target


@pytest.fixture
def noisy():
    return torch.randn(3, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def test_one_step_leads_where_the_way_of_the_teacher_ends(noisy):
    """The deterministic way keeps each value at its share of the spread."""
    distillation = Distillation(GaussianTeacher(), ALPHAS, TIMESTEPS, teacher_steps=32)
    levels = distillation.levels(torch.ones(3, 4, 2, dtype=torch.long))
    target = distillation.target(noisy, levels, None, noisy)
    for k, end in enumerate([*TIMESTEPS[1:], None]):
        start, end = ALPHAS[TIMESTEPS[k]], ALPHAS[end] if end else torch.tensor(1.0)
        expected = noisy[k] * spread_at(end) / spread_at(start)
        torch.testing.assert_close(arrive(noisy[k], target[k], start, end), expected, atol=0.02, rtol=0.02)


def test_more_steps_of_the_teacher_end_nearer(noisy):
    errors = []
    for steps in (2, 4, 16):
        distillation = Distillation(GaussianTeacher(), ALPHAS, TIMESTEPS, teacher_steps=steps)
        target = distillation.target(noisy, distillation.levels(torch.ones(3, 4, 2, dtype=torch.long)), None, noisy)
        found = arrive(noisy[2], target[2], ALPHAS[TIMESTEPS[2]], torch.tensor(1.0))
        errors.append(float((found - noisy[2] * SPREAD / spread_at(ALPHAS[TIMESTEPS[2]])).abs().mean()))
    assert errors[0] > errors[1] > errors[2]


def test_levels_share_the_steps_and_leave_what_is_given():
    drawn = torch.full((6, 4, 2), 17)
    drawn[:, 0, 0] = 0
    levels = Distillation(GaussianTeacher(), ALPHAS, TIMESTEPS).levels(drawn)
    assert (levels[:, 0, 0] == 0).all()
    assert levels[:, 1, 0].tolist() == levels[:, 0, 1].tolist() == TIMESTEPS * 2


def test_a_batch_holds_a_clip_of_each_timestep():
    drawn = torch.full((len(TIMESTEPS) - 1, 4, 2), 17)
    with pytest.raises(ValueError, match="at least one clip for each of"):
        Distillation(GaussianTeacher(), ALPHAS, TIMESTEPS).levels(drawn)


def test_given_frames_stand_still_for_the_teacher(noisy):
    seen = []

    class Spy(GaussianTeacher):
        def forward(self, clip, levels, labels, return_dict):
            seen.append((clip[:, 0, 0].clone(), levels[:, 0, 0].clone()))
            return super().forward(clip, levels.clamp(min=1), labels, return_dict)

    drawn = torch.ones(3, 4, 2, dtype=torch.long)
    drawn[:, 0, 0] = 0
    distillation = Distillation(Spy(), ALPHAS, TIMESTEPS, teacher_steps=4)
    distillation.target(noisy, distillation.levels(drawn), None, noisy)
    assert len(seen) == 4
    for frame, level in seen:
        assert torch.equal(frame, noisy[:, 0, 0]) and (level == 0).all()


@pytest.mark.parametrize("timesteps", [[], [500, 500], [400, 700], [1000, 5], [900, 0]])
def test_timesteps_that_do_not_fall_are_refused(timesteps):
    with pytest.raises(ValueError, match="timesteps must fall"):
        Distillation(GaussianTeacher(), ALPHAS, timesteps)


def test_a_teacher_takes_several_steps():
    with pytest.raises(ValueError, match="teacher_steps must be at least 2, got 1"):
        Distillation(GaussianTeacher(), ALPHAS, TIMESTEPS, teacher_steps=1)


def test_a_teacher_of_noise_is_asked_where_a_clip_is_noisy():
    seen = []

    def teacher(clip, levels, labels, return_dict):
        seen.append((clip, levels, labels))
        return (torch.full_like(clip, 7, dtype=torch.bfloat16),)

    noisy, labels = torch.randn(4, 3, 2, 8, 8), torch.arange(4)[:, None]
    target = torch.randn_like(noisy)
    drawn = torch.tensor([600, 880, 300, 990])[:, None, None].repeat(1, 2, 2)
    drawn[3, 0, 0] = 0  # given
    drawn[2, :, 1] = 900  # flow alone is noisy
    learner = NoisyTeacher(teacher, 880)
    found = learner.target(noisy, learner.levels(drawn), labels, target)
    assert found.dtype == target.dtype and torch.equal(found[0], target[0]) and (found[1:] == 7).all()
    (clip, levels, of_clip), *more = seen
    assert not more and torch.equal(clip, noisy[1:]) and torch.equal(levels, drawn[1:])
    assert of_clip.flatten().tolist() == [1, 2, 3]
    assert torch.equal(learner.target(noisy[:1], drawn[:1], None, target[:1]), target[:1]) and len(seen) == 1


@pytest.mark.parametrize("timesteps", [[999, 996, 909], [999, 997, 990, 900]])
def test_the_teacher_never_goes_back(timesteps):
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    ways = Distillation(GaussianTeacher(), scheduler.alphas_cumprod, timesteps).ways
    assert (ways.diff(dim=1) <= 0).all()
