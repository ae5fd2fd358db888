import numpy as np
import pytest

from cellvid_diffusers.evaluation.motion import (
    estimate_flow,
    flow_agreement,
    motion_measures,
    root_mean_square,
    warp_error,
)


@pytest.fixture(scope="module")
def drifting():
    """A texture that moves by (u, v) = (1, -0.5) px/frame, exactly, and its flow."""
    rng, size, frames = np.random.default_rng(0), 64, 6
    y, x = np.mgrid[:size, :size]
    clip = np.zeros((frames, size, size), np.float32)
    for fy, fx, phase in zip(*rng.uniform(-0.1, 0.1, (2, 12)), rng.uniform(0, 6.3, 12), strict=True):
        for k in range(frames):
            clip[k] += np.cos(2 * np.pi * (fy * (y + 0.5 * k) + fx * (x - k)) + phase)
    clip = 128 + 12 * clip
    flow = np.zeros((frames, size, size, 2), np.float32)
    flow[..., 0], flow[..., 1] = 1, -0.5
    return clip.astype(np.float32), flow


def test_true_flow_agrees_and_its_opposite_does_not(drifting):
    clip, flow = drifting
    right, wrong, none = (flow_agreement([clip], [sign * flow]) for sign in (1, -1, 0))
    assert right["explained"] > 0.9 and right["cosine"] > 0.95
    assert right["endpoint_error"] < 0.25 < right["endpoint_error_of_no_motion"]
    assert wrong["cosine"] < -0.95
    assert none["explained"] == pytest.approx(0, abs=1e-3)
    assert right["warp_error"] < 0.3 * none["warp_error"]


def test_measures_of_a_drift(drifting):
    clip, _ = drifting
    found = motion_measures(clip)
    assert found["speed"] == pytest.approx(np.hypot(1, 0.5), rel=0.15)
    assert found["warp_error"] < 0.4 * found["frame_difference"]


def test_a_still_clip_has_no_motion(drifting):
    still = np.repeat(drifting[0][:1], 5, axis=0)
    assert np.abs(estimate_flow(still)).max() < 0.05
    assert motion_measures(still)["frame_difference"] == 0


def test_warp_error_of_the_true_flow_is_small_inside(drifting):
    clip, flow = drifting
    error = warp_error(clip, np.moveaxis(flow[:-1], -1, 1))[:, 4:-4, 4:-4]
    assert np.sqrt(np.mean(error**2)) < 1.5


def test_a_flow_that_leaves_the_frame_is_no_good_one(drifting):
    clip, flow = drifting
    fields = np.moveaxis(flow[:-1], -1, 1)
    right, none, far = (root_mean_square(warp_error(clip, each)) for each in (fields, 0 * fields, fields + 1000))
    assert right < 0.3 * none and np.isnan(far)
    assert np.isnan(warp_error(clip, fields)[0, :, -1]).all()


def test_a_still_clip_does_not_outweigh_those_that_move(drifting):
    clip, flow = drifting
    still = np.repeat(clip[:1], len(clip), axis=0) + np.random.default_rng(0).normal(0, 1, clip.shape)
    alone, beside = flow_agreement([clip], [flow]), flow_agreement([clip] * 9 + [still], [flow] * 9 + [0.3 * flow])
    assert beside["explained"] == pytest.approx(alone["explained"], abs=0.05)
    assert beside["cosine"] == pytest.approx(alone["cosine"], abs=0.05)


def test_eight_bit_clips_agree_as_floats_do_and_fractions_are_refused(drifting):
    clip, flow = np.rint(drifting[0]).clip(0, 255), drifting[1]
    assert flow_agreement([clip.astype(np.uint8)], [flow]) == flow_agreement([clip], [flow])
    with pytest.raises(ValueError, match="clip must be in grey levels, 0 to 255"):
        flow_agreement([clip / 255], [flow])


def test_flow_of_another_size_is_refused(drifting):
    with pytest.raises(ValueError, match=r"flow must have shape \(6, 64, 64, 2\), got"):
        flow_agreement(drifting[:1], np.zeros((1, 6, 32, 32, 2)))
