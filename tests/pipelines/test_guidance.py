"""Predictions are pushed away from those of a network that knows less."""

import numpy as np
import pytest
import torch
from test_cell_video import SHORT, make_pipe, seeded

from cellvid_diffusers.pipelines.guidance import Guidance

CLIP = torch.arange(2 * 3 * 4 * 2 * 2, dtype=torch.float32).reshape(2, 3, 4, 2, 2)
LEVELS = torch.full((2, 4, 2), 500)
LABELS = torch.tensor([[1], [2]])
NOISE = torch.full((2, 2, 4, 2, 2), -7.0)


def network(clip, levels, labels):
    """Adds up what it is told: the flow, unless that is at the highest level, and the class."""
    flow = torch.where(levels[..., 1] < 999, 1.0, 0.0)[:, None, :, None, None] * clip[:, 1:].sum(dim=1, keepdim=True)
    known = 0 if labels is None else 100 * labels[:, :, None, None, None]
    return clip[:, :1] + torch.cat([flow + known, clip[:, 1:] * 0], dim=1)


def test_no_guidance_is_one_plain_prediction():
    calls = []
    plain = Guidance(LABELS, 1.0, 1.0, None, 999).predict(
        lambda *given: calls.append(given) or network(*given), CLIP, LEVELS
    )
    torch.testing.assert_close(plain, network(CLIP, LEVELS, LABELS))
    assert len(calls) == 1


@pytest.mark.parametrize("classes, motion", [(1.0, 1.5), (3.0, 1.0), (2.0, 1.5), (1.0, 0.0)])
def test_each_scale_multiplies_what_its_knowledge_adds(classes, motion):
    guided = Guidance(LABELS, classes, motion, NOISE, 999).predict(network, CLIP, LEVELS)
    of_class, of_flow = 100 * LABELS[:, :, None, None, None], CLIP[:, 1:].sum(dim=1, keepdim=True)
    torch.testing.assert_close(guided[:, :1], CLIP[:, :1] + classes * of_class + motion * of_flow)
    torch.testing.assert_close(guided[:, 1:], network(CLIP, LEVELS, LABELS)[:, 1:])  # the flow is not pushed


def test_without_flow_the_network_sees_noise_at_the_highest_level():
    seen = []
    Guidance(LABELS, 1.0, 2.0, NOISE, 999).predict(lambda *given: seen.append(given) or network(*given), CLIP, LEVELS)
    clip, levels, labels = seen[1]
    torch.testing.assert_close(clip, torch.cat([CLIP[:, :1], NOISE], dim=1))
    assert (levels[..., 0] == 500).all() and (levels[..., 1] == 999).all() and labels is LABELS
    assert (LEVELS == 500).all()


def test_motion_guidance_changes_the_clip_and_a_checkpoint_has_its_own():
    plain, guided = (make_pipe()(**SHORT, motion_guidance_scale=g, generator=seeded()).frames for g in (1.0, 2.0))
    assert np.abs(plain - guided).max() > 0.01
    own = make_pipe(motion_guidance_scale=2.0)(**SHORT, generator=seeded()).frames
    np.testing.assert_array_equal(own, guided)
    np.testing.assert_array_equal(make_pipe()(**SHORT, generator=seeded()).frames, plain)


def test_a_guided_clip_is_the_same_whatever_the_batch_size():
    many = make_pipe()(**SHORT, motion_guidance_scale=2.0, batch_size=3, generator=[seeded(k) for k in range(3)])
    one = make_pipe()(**SHORT, motion_guidance_scale=2.0, generator=[seeded(0)])
    np.testing.assert_allclose(many.frames[:1], one.frames, atol=1e-4)


def test_given_flow_and_frames_come_back_as_they_are():
    flow, frame = np.full((4, 16, 24, 2), 0.5, np.float32), np.full((16, 24), 0.25, np.float32)
    out = make_pipe()(**SHORT, flow=flow, first_frame=frame, motion_guidance_scale=2.0, generator=seeded())
    np.testing.assert_array_equal(out.flow[0], flow)
    np.testing.assert_array_equal(out.frames[0, 0], frame)


def test_a_network_without_flow_has_nothing_to_be_guided_by():
    with pytest.raises(ValueError, match=r"motion_guidance_scale must be 1: .* or without flow, got 2"):
        make_pipe(channels=1)(**SHORT, motion_guidance_scale=2.0)


def test_a_checkpoint_without_levels_for_each_modality_refuses():
    with pytest.raises(ValueError, match="motion_guidance_scale must be 1: this checkpoint was trained without"):
        make_pipe(noise_patterns=["joint"])(**SHORT, motion_guidance_scale=1.5)


@pytest.mark.parametrize(("labels", "calls"), [([[0], [-1]], 2), ([[-1], [-1]], 1)])
def test_clips_without_classes_cost_no_guidance(labels, calls):
    seen = []

    def network(clip, levels, labels):
        seen.append(labels)
        return clip

    guidance = Guidance(torch.tensor(labels), 2.0, 1.0, None, 999)
    guidance.predict(network, torch.zeros(2, 1, 3, 4, 4), torch.full((2, 3, 2), 500))
    assert len(seen) == calls


def test_a_checkpoint_without_classes_refuses_guidance_by_them():
    with pytest.raises(ValueError, match="guidance_scale must be 1: this checkpoint knows no classes, got 2"):
        make_pipe()(**SHORT, guidance_scale=2.0)
