"""Long videos, window by window."""

import numpy as np
import pytest
from test_cell_video import make_pipe, seeded

from cellvid_diffusers.pipelines import roll_out

SMALL = {"height": 16, "width": 16, "num_inference_steps": 2}


@pytest.mark.parametrize("num_frames", [3, 5, 6, 11])
@pytest.mark.parametrize("channels", [1, 3])
def test_length(num_frames, channels):
    out = roll_out(make_pipe(channels), num_frames, window=5, overlap=2, batch_size=2, generator=seeded(), **SMALL)
    assert out.frames.shape == (2, num_frames, 16, 16)
    assert (out.flow is None) if channels == 1 else (out.flow.shape == (2, num_frames, 16, 16, 2))


def test_starts_with_what_the_pipeline_makes():
    plain = make_pipe()(num_frames=5, generator=seeded(), **SMALL)
    out = roll_out(make_pipe(), 9, window=5, overlap=2, generator=seeded(), **SMALL)
    np.testing.assert_array_equal(out.frames[:, :5], plain.frames)
    np.testing.assert_array_equal(out.flow[:, :4], plain.flow[:, :4])


def test_sampling_that_a_callback_ends_begins_no_other_window():
    seen = []

    def end(pipe, step, timestep, tensors):
        seen.append(step)
        pipe._interrupt = True
        return tensors

    out = roll_out(make_pipe(), 11, window=5, overlap=2, generator=seeded(), callback_on_step_end=end, **SMALL)
    assert seen == [0] and out.frames.shape[1] == out.flow.shape[1] == 5


def test_a_window_follows_from_the_one_before():
    frame = np.random.default_rng(0).random((16, 16), dtype=np.float32)
    one, other = (
        roll_out(make_pipe(), 8, window=5, overlap=2, first_frame=each, generator=seeded(), **SMALL).frames
        for each in (frame, 1 - frame)
    )
    assert not np.allclose(one[:, 5:], other[:, 5:])


def test_with_one_generator_a_clip_is_the_same_whatever_the_batch_size():
    one, two = (
        roll_out(make_pipe(), 11, window=5, overlap=2, batch_size=count, generator=seeded(), **SMALL).frames
        for count in (1, 2)
    )
    np.testing.assert_allclose(two[:1], one, atol=1e-5)


@pytest.mark.parametrize("overlap", [0, 5])
def test_wrong_overlap_is_named(overlap):
    with pytest.raises(ValueError, match=f"got {overlap}"):
        roll_out(make_pipe(), 8, window=5, overlap=overlap)


def test_output_types():
    arguments = {"window": 5, "overlap": 2, **SMALL}
    frames = roll_out(make_pipe(), 7, generator=seeded(), **arguments).frames
    tensors = roll_out(make_pipe(), 7, generator=seeded(), output_type="pt", **arguments)
    np.testing.assert_array_equal(tensors.frames.numpy(), frames)
    pictures = roll_out(make_pipe(), 7, generator=seeded(), output_type="pil", **arguments).frames
    np.testing.assert_array_equal(np.asarray(pictures[0][6]), (frames[0, 6] * 255).round())


@pytest.mark.parametrize("name", ["frames", "frame_mask", "flow", "return_dict"])
def test_arguments_that_belong_to_one_window_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} cannot be given"):
        roll_out(make_pipe(), 7, **{name: True}, **SMALL)
