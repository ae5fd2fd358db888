"""What `CellVideoPipeline` promises, on a small untrained network."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from accelerate import cpu_offload
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from PIL import Image

from cellvid_diffusers import CellVideoPipeline, MotionUNet3DModel, StochasticDPMSolverScheduler, UNet3DModel
from cellvid_diffusers.pipelines.classes import video_scale
from cellvid_diffusers.pipelines.finishing import expected_flow, level_of_noise, without_residue
from cellvid_diffusers.training_utils import NOISE_PATTERNS

SMALL = {"block_out_channels": [8, 16], "spatial_attention": [False, True], "temporal_layers": ["conv", "both"]}
SHORT = {"num_frames": 4, "height": 16, "width": 24, "num_inference_steps": 3}
FOUR = np.full((4, 16, 24), 0.5, np.float32)
SCHEDULERS = (
    DDPMScheduler,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
    StochasticDPMSolverScheduler,
)


def make_pipe(channels: int = 3, model_class: type = UNet3DModel, **config) -> CellVideoPipeline:
    torch.manual_seed(0)
    model = model_class(
        sample_size=16,
        in_channels=channels,
        out_channels=channels,
        attention_head_dim=8,
        num_class_embeds=[2, 3] if "class_names" in config else None,
        **SMALL,
    ).eval()
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        timestep_spacing="trailing",
    )
    config = {"noise_patterns": list(NOISE_PATTERNS), "flow_scale": 2.0, **config}
    pipe = CellVideoPipeline(model, scheduler, **config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("model_class", [UNet3DModel, MotionUNet3DModel])
def test_shapes_and_ranges(model_class):
    out = make_pipe(model_class=model_class)(**SHORT, batch_size=2, generator=seeded())
    assert out.frames.shape == (2, 4, 16, 24) and out.flow.shape == (2, 4, 16, 24, 2)
    assert out.frames.min() >= 0 and out.frames.max() <= 1
    assert np.isfinite(out.flow).all()


def test_size_defaults_to_the_models():
    assert make_pipe()(num_frames=1, num_inference_steps=1).frames.shape == (1, 1, 16, 16)


def test_clips_are_as_long_as_those_of_training():
    arguments = {name: value for name, value in SHORT.items() if name != "num_frames"}
    assert make_pipe(num_frames=3)(**arguments).frames.shape[1] == 3
    assert make_pipe()(**arguments).frames.shape[1] == 10


@pytest.mark.parametrize("name", ["num_frames", "height", "batch_size", "num_inference_steps"])
def test_counts_must_be_whole(name):
    with pytest.raises(ValueError, match="whole number"):
        make_pipe()(**SHORT | {name: 16.0})


def test_a_callback_may_return_nothing():
    seen = []
    make_pipe()(**SHORT, callback_on_step_end=lambda pipe, step, timestep, tensors: seen.append(step))
    assert seen == list(range(SHORT["num_inference_steps"]))


def test_longer_clips_than_those_of_training_are_warned_of(caplog):
    pipe = make_pipe(num_frames=4)
    pipe(**SHORT)
    assert not caplog.records
    pipe(**SHORT | {"num_frames": 5})
    assert "roll_out makes them window by window" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weights": {"cell_type": [1.0]}}, r"class_weights.cell_type must have one for each of \['a', 'b'\]"),
        ({"class_weights": {"maturity": [1.0]}}, "class_weights.maturity must have one for each of None"),
        ({"video_std": {"a": 0.1}}, r"video_std must be a number or have one for each cell type, \['a', 'b'\]"),
    ],
)
def test_settings_by_class_fit_the_classes(options, message):
    with pytest.raises(ValueError, match=message):
        make_pipe(class_names={"cell_type": ["a", "b"], "density": ["x", "y", "z"]}, **options)


def test_scales_by_cell_type_want_cell_types():
    with pytest.raises(ValueError, match=r"video_mean must be a number or have one for each cell type, \[\]"):
        make_pipe(video_mean={"a": 0.5})


def test_components_alone_make_no_pipeline_of_classes():
    pipe = make_pipe(class_names={"cell_type": ["a", "b"], "density": ["x", "y", "z"]})
    with pytest.raises(ValueError, match=r"class_names must name the classes that the model knows, \[2, 3\], got \[\]"):
        CellVideoPipeline(**pipe.components)
    assert CellVideoPipeline.from_pipe(pipe).config.class_names == pipe.config.class_names


def test_flow_that_is_given_is_not_predicted_once_more(monkeypatch):
    pipe, seen = make_pipe(flow_strength=0.9), []
    monkeypatch.setattr(pipe.unet, "forward", _counting(pipe.unet.forward, seen))
    for flow, evaluations in ((None, 4), (np.zeros((4, 16, 24, 2), np.float32), 3)):
        seen.clear()
        pipe(**SHORT, flow=flow)
        assert len(seen) == evaluations


def _counting(function, seen):
    def counted(*args, **kwargs):
        seen.append(None)
        return function(*args, **kwargs)

    return counted


def test_video_only_model_has_no_flow():
    out = make_pipe(channels=1)(**SHORT)
    assert out.frames.shape == (1, 4, 16, 24) and out.flow is None


@pytest.mark.parametrize("output_type", ["np", "pt", "pil"])
def test_output_types(output_type):
    expected = make_pipe()(**SHORT, generator=seeded())
    frames, flow = make_pipe()(**SHORT, generator=seeded(), output_type=output_type, return_dict=False)
    if output_type == "pil":
        assert frames[0][1].mode == "L" and frames[0][1].size == (24, 16)
        frames = np.asarray([[np.asarray(frame) for frame in clip] for clip in frames]) / 255
    np.testing.assert_allclose(np.asarray(frames), expected.frames, atol=0.5 / 255 + 1e-6)
    np.testing.assert_array_equal(np.asarray(flow), expected.flow)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_seed_makes_the_clip_with_every_scheduler(scheduler):
    pipe = make_pipe()
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    first, again = (pipe(**SHORT, generator=seeded()).frames for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, pipe(**SHORT, generator=seeded(1)).frames)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("as_list", [False, True])
def test_a_clip_is_the_same_whatever_the_batch_size(scheduler, as_list):
    pipe = make_pipe(class_names={"cell_type": ["a", "b"], "density": ["x", "y", "z"]})
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
    three = [seeded(i) for i in range(3)] if as_list else seeded()
    one = [seeded(0)] if as_list else seeded()
    many = pipe(**SHORT, batch_size=3, generator=three)
    single = pipe(**SHORT, batch_size=1, generator=one)
    np.testing.assert_allclose(many.frames[:1], single.frames, atol=1e-4)
    np.testing.assert_allclose(many.flow[:1], single.flow, atol=1e-3)
    assert not np.allclose(many.frames[0], many.frames[1])


class TestTimesteps:
    """A distilled model steps at timesteps of its own."""

    def test_no_other_number_of_steps_is_taken(self):
        pipe = make_pipe(timesteps=[999, 900, 400])
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, solver_order=1)
        clips = [pipe(num_frames=4, num_inference_steps=n, generator=seeded()).frames for n in (2, 25)]
        assert pipe.scheduler.timesteps.tolist() == [999, 900, 400]
        np.testing.assert_array_equal(*clips)

    def test_its_steps_are_those_of_ddim(self):
        """At the timesteps that DDIM would take itself."""
        plain = make_pipe()
        asked = plain(num_frames=4, num_inference_steps=4, generator=seeded()).frames
        distilled = make_pipe(timesteps=[999, 749, 499, 249])
        distilled.scheduler = DPMSolverMultistepScheduler.from_config(distilled.scheduler.config, solver_order=1)
        np.testing.assert_allclose(distilled(num_frames=4, generator=seeded()).frames, asked, atol=2e-3)

    def test_a_scheduler_that_cannot_is_refused(self):
        with pytest.raises(ValueError, match=r"distilled to \[999, 500\], got DDIMScheduler"):
            make_pipe(timesteps=[999, 500])(num_frames=4)


def test_zero_in_the_model_is_no_motion():
    pipe = make_pipe(video_mean=0.4, video_std=0.2)
    video, flow = pipe._decode(torch.zeros(1, 3, 2, 4, 4), video_scale(pipe.config, None))
    assert torch.all(flow == 0) and torch.allclose(video, torch.tensor(0.4))


class TestFlowRefinement:
    def test_frames_stay_and_flow_changes(self):
        plain = make_pipe()(**SHORT, generator=seeded())
        refined = make_pipe()(**SHORT, flow_strength=0.9, generator=seeded())
        np.testing.assert_array_equal(plain.frames, refined.frames)
        assert np.abs(plain.flow - refined.flow).max() > 0.01

    def test_the_least_strength_hardly_changes_the_flow(self):
        """Level 0 would say that the flow is given, and -1 is the strongest of all."""
        plain = make_pipe()(**SHORT, generator=seeded()).flow
        change = [
            np.abs(make_pipe()(**SHORT, flow_strength=by, generator=seeded()).flow - plain).mean()
            for by in (1e-6, 0.002, 0.9)
        ]
        assert change[0] == change[1] < 0.1 * change[2]

    def test_given_flow_stays(self):
        flow = np.full((4, 16, 24, 2), 0.5, np.float32)
        np.testing.assert_array_equal(
            make_pipe()(**SHORT, flow=flow, flow_strength=0.9, generator=seeded()).flow[0], flow
        )

    def test_the_checkpoint_says_how_strong(self):
        own = make_pipe(flow_strength=0.9)(**SHORT, generator=seeded()).flow
        np.testing.assert_array_equal(own, make_pipe()(**SHORT, flow_strength=0.9, generator=seeded()).flow)

    @pytest.mark.parametrize("prediction_type", ["v_prediction", "epsilon", "sample"])
    def test_a_perfect_network_gives_the_flow_back(self, prediction_type):
        scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type=prediction_type)
        clip, noise = torch.randn(2, 2, 3, 4, 8, 8).unbind()
        signal, spread = scheduler.alphas_cumprod[700].sqrt(), (1 - scheduler.alphas_cumprod[700]).sqrt()
        truth = {"v_prediction": signal * noise - spread * clip, "epsilon": noise, "sample": clip}[prediction_type]

        def predict(noisy: torch.Tensor) -> torch.Tensor:
            torch.testing.assert_close(noisy[:, 0], clip[:, 0])  # the video is clean
            torch.testing.assert_close(noisy[:, 1:], (signal * clip + spread * noise)[:, 1:])
            return truth

        torch.testing.assert_close(expected_flow(predict, clip, noise, 700, scheduler), clip)

    def test_what_cannot_be(self):
        with pytest.raises(ValueError, match="flow_strength must be in"):
            make_pipe()(**SHORT, flow_strength=1.2)
        with pytest.raises(ValueError, match="flow_strength must be 0: this checkpoint was trained without"):
            make_pipe(noise_patterns=["joint"])(**SHORT, flow_strength=0.9)


class TestResidualNoise:
    def test_a_perfect_denoiser_takes_off_what_is_left(self):
        """The best one for Gaussian clips shrinks them by their share of what it sees."""
        scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample")
        level = level_of_noise(scheduler, 0.3)
        ratio = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod).sqrt()
        assert ratio[level - 1] < 0.3 <= ratio[level]
        clip = torch.randn(2, 3, 4, 32, 32)
        kept = 1 / (1 + ratio[level] ** 2)

        def predict(scaled: torch.Tensor) -> torch.Tensor:
            return kept * scaled / scheduler.alphas_cumprod[level].sqrt()

        worse = clip + 0.3 * torch.randn(clip.shape)
        better = without_residue(predict, worse, level, scheduler)
        assert (better - clip).std() < 0.97 * (worse - clip).std()

    def test_given_frames_stay_and_the_rest_changes(self):
        frame = np.random.default_rng(0).random((16, 24)).astype(np.float32)
        plain = make_pipe()(**SHORT, first_frame=frame, generator=seeded())
        rid = make_pipe()(**SHORT, first_frame=frame, residual_noise=0.2, generator=seeded())
        np.testing.assert_array_equal(rid.frames[0, 0], frame)
        assert 0 < np.abs(rid.frames - plain.frames).max() < 0.5

    def test_the_checkpoint_says_how_much(self):
        own = make_pipe(residual_noise=0.2)(**SHORT, generator=seeded()).frames
        np.testing.assert_array_equal(own, make_pipe()(**SHORT, residual_noise=0.2, generator=seeded()).frames)
        with pytest.raises(ValueError, match="residual_noise must be at least 0"):
            make_pipe()(**SHORT, residual_noise=-0.1)


class TestVideoScaleOfEachCellType:
    @staticmethod
    def make(**config) -> CellVideoPipeline:
        return make_pipe(class_names={"cell_type": ["flat", "high"], "density": ["a", "b", "c"]}, **config)

    def test_a_cell_types_clip_has_its_mean_and_contrast(self):
        pipe = self.make(video_mean={"flat": 0.3, "high": 0.6}, video_std={"flat": 0.01, "high": 0.02})
        plain = self.make(video_mean=0.6, video_std=0.02)
        high = [p(**SHORT, density="a", cell_type="high", generator=seeded()).frames for p in (pipe, plain)]
        np.testing.assert_allclose(*high)
        flat = pipe(**SHORT, density="a", cell_type="flat", generator=seeded()).frames
        assert abs(flat.mean() - 0.3) < 0.1

    def test_given_frames_enter_in_it_and_come_back(self):
        pipe = self.make(video_mean={"flat": 0.3, "high": 0.6}, video_std={"flat": 0.01, "high": 0.02})
        frame = np.random.default_rng(0).random((16, 24)).astype(np.float32)
        kinds = ["flat", "high", "flat", "high"]
        out = pipe(**SHORT, batch_size=4, cell_type=kinds, first_frame=frame, generator=seeded())
        np.testing.assert_array_equal(out.frames[:, 0], np.stack([frame] * 4))

    @pytest.mark.parametrize(
        ("mean", "std", "expected"), [(0.3, 0.01, "flat"), (0.6, 0.02, "high"), (0.4, 0.1, "high")]
    )
    def test_given_frames_have_the_cell_type_that_they_look_like(self, mean, std, expected):
        pipe = self.make(video_mean={"flat": 0.3, "high": 0.5}, video_std={"flat": 0.01, "high": 0.1})
        frame = np.random.default_rng(0).normal(mean, std, (16, 24)).clip(0, 1)
        video = np.stack([frame] * 4)
        for given in ({"first_frame": frame}, {"frames": video}, {"frames": video, "frame_mask": [1, 0, 0, 1]}):
            out = pipe(**SHORT, batch_size=3, **given, generator=seeded())
            assert [each["cell_type"] for each in out.classes] == [expected] * 3
        asked = pipe(**SHORT, cell_type="flat", first_frame=frame, generator=seeded())
        assert asked.classes[0]["cell_type"] == "flat"
        again = pipe(**SHORT, batch_size=3, cell_type=expected, first_frame=frame, generator=seeded())
        found = pipe(**SHORT, batch_size=3, first_frame=frame, generator=seeded())
        np.testing.assert_array_equal(again.frames, found.frames)

    def test_a_cell_type_left_open_among_others_is_the_one_that_frames_look_like(self):
        pipe = self.make(video_mean={"flat": 0.3, "high": 0.5}, video_std={"flat": 0.01, "high": 0.1})
        frame = np.random.default_rng(0).normal(0.5, 0.1, (16, 24)).clip(0, 1)
        asked = ["flat", None, None, None, None, None]
        out = pipe(**{**SHORT, "batch_size": 6}, cell_type=asked, first_frame=frame, generator=seeded())
        assert [each["cell_type"] for each in out.classes] == ["flat"] + ["high"] * 5


def test_float16_begins_with_noise_that_it_cannot_hold():
    pipe = make_pipe().to(torch.float16)
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    assert pipe.scheduler.init_noise_sigma > 1000
    out = pipe(**SHORT, generator=seeded())
    assert np.isfinite(out.frames).all() and np.isfinite(out.flow).all() and out.frames.dtype == np.float32


@pytest.mark.parametrize("sigmas", ["karras", "exponential"])
@pytest.mark.parametrize("scheduler", [DPMSolverMultistepScheduler, UniPCMultistepScheduler])
def test_timesteps_that_come_twice(scheduler, sigmas):
    pipe = make_pipe()
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config, **{f"use_{sigmas}_sigmas": True})
    out = pipe(**{**SHORT, "num_inference_steps": 8}, generator=seeded())
    assert np.isfinite(out.frames).all()


@pytest.mark.parametrize("scheduler", [EDMEulerScheduler, FlowMatchEulerDiscreteScheduler])
def test_schedulers_of_other_noise_are_refused(scheduler):
    pipe = make_pipe()
    pipe.scheduler = scheduler()
    with pytest.raises(ValueError, match=f"scheduler must be one of noise levels alphas_cumprod.*{scheduler.__name__}"):
        pipe(**SHORT, generator=seeded())


def test_schedulers_whose_first_step_is_too_long_are_refused():
    pipe = make_pipe()
    pipe.scheduler = HeunDiscreteScheduler.from_config(pipe.scheduler.config)
    with pytest.raises(ValueError, match="scheduler must be a multistep or a first-order one, got HeunDiscrete"):
        pipe(**SHORT, generator=seeded())
    pipe.scheduler = HeunDiscreteScheduler(prediction_type="v_prediction")  # ends at 14 times as much noise as signal
    assert np.isfinite(pipe(**SHORT, generator=seeded()).frames).all()


def test_guidance_with_weights_that_are_loaded_layer_by_layer():
    arguments = {**SHORT, "guidance_scale": 2.0, "cell_type": "a", "density": "x"}
    pipe, offloaded = (make_pipe(class_names={"cell_type": ["a", "b"], "density": ["x", "y", "z"]}) for _ in range(2))
    cpu_offload(offloaded.unet, "cpu")
    expected = pipe(**arguments, generator=seeded()).frames
    np.testing.assert_allclose(offloaded(**arguments, generator=seeded()).frames, expected, atol=1e-6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"guidance_scale": float("nan")}, "guidance_scale must be finite, got nan"),
        ({"guidance_scale": "2"}, "guidance_scale must be a number, got '2'"),
        ({"num_restarts": 1.5}, "num_restarts must be a whole number, got 1.5"),
        ({"motion_guidance_scale": float("inf")}, "motion_guidance_scale must be finite, got inf"),
        ({"residual_noise": float("nan")}, "residual_noise must be at least 0, got nan"),
        ({"first_frame": "a.png"}, "first_frame must be a picture or an array .*, got 'a.png'"),
        ({"frames": ["a.png"] * 4}, "frames must be a picture or an array .*, got 'a.png'"),
        ({"generator": 3}, "generator must be a torch.Generator, or one for each clip, got 3"),
    ],
)
def test_what_no_clip_can_be_made_of_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_pipe()(**SHORT, **arguments)


@pytest.mark.parametrize("arguments", [{"flow_strength": 0.9}, {"motion_guidance_scale": 2.0}, {"frames": FOUR}])
def test_what_needs_flow_is_refused_by_a_model_of_video_alone(arguments):
    with pytest.raises(ValueError, match=r"(flow_strength|motion_guidance_scale) must be|frames cannot all be given"):
        make_pipe(channels=1)(**SHORT, **arguments)


def test_flow_as_a_list_of_tensors():
    flow = torch.rand(4, 16, 24, 2)
    out = make_pipe()(**SHORT, flow=list(flow))
    np.testing.assert_array_equal(out.flow[0], flow)


def test_a_given_video_is_not_pushed_towards_its_flow():
    """Motion guidance changes the video alone: where that is given, or finished, no prediction is spent on it."""
    calls, frames = [], np.random.default_rng(0).random((4, 16, 24), np.float32)
    pipe = make_pipe()
    pipe.unet.register_forward_hook(lambda *_: calls.append(1))
    pipe(**SHORT, frames=frames, motion_guidance_scale=2.0)
    assert len(calls) == SHORT["num_inference_steps"]
    calls.clear()
    pipe(**SHORT, motion_guidance_scale=2.0, flow_strength=0.9)
    assert len(calls) == 2 * SHORT["num_inference_steps"] + 1


class TestCallbacks:
    def test_each_step_is_told(self):
        seen = []

        def look(pipe, step, timestep, handed):
            seen.append((step, int(timestep), handed["latents"].shape))
            return handed

        pipe = make_pipe()
        clip = pipe(**SHORT, callback_on_step_end=look, generator=seeded()).frames
        assert seen == [(n, int(t), (1, 3, 4, 16, 24)) for n, t in enumerate(pipe.scheduler.timesteps)]
        np.testing.assert_array_equal(clip, pipe(**SHORT, generator=seeded()).frames)

    def test_what_it_returns_is_gone_on_with_and_what_is_given_stays(self):
        def empty(pipe, step, timestep, handed):
            return {"latents": torch.zeros_like(handed["latents"])}

        frame = np.random.default_rng(0).random((16, 24), np.float32)
        seen = []

        def look(pipe, step, timestep, handed):
            seen.append(handed["latents"].clone())
            return empty(pipe, step, timestep, handed)

        out = make_pipe()(**SHORT, first_frame=frame, callback_on_step_end=look, generator=seeded())
        np.testing.assert_array_equal(out.frames[0, 0], frame)
        np.testing.assert_allclose(out.frames[0, 1:], 0.5)
        assert seen[1][0, 0, 0].any()

    def test_sampling_can_be_ended(self):
        steps = []

        def end(pipe, step, timestep, handed):
            steps.append(step)
            pipe._interrupt = step == 1
            return {"latents": torch.zeros_like(handed["latents"])}

        pipe = make_pipe()
        out = pipe(**SHORT, num_restarts=1, flow_strength=0.5, callback_on_step_end=end)
        assert steps == [0, 1] and pipe.interrupt
        np.testing.assert_array_equal(out.frames, np.full_like(out.frames, 0.5))
        np.testing.assert_array_equal(out.flow, np.zeros_like(out.flow))
        pipe(**SHORT)
        assert not pipe.interrupt

    def test_sampling_that_is_ended_in_a_restart_begins_no_other(self):
        calls = []

        def end(pipe, step, timestep, handed):
            calls.append(step)
            pipe._interrupt = len(calls) > SHORT["num_inference_steps"]
            return handed

        make_pipe()(**SHORT, num_restarts=3, callback_on_step_end=end)
        assert len(calls) == SHORT["num_inference_steps"] + 1

    def test_those_of_diffusers_say_what_they_want(self):
        class Cutoff(PipelineCallback):
            tensor_inputs: ClassVar = ["latents"]
            steps: ClassVar = []

            def callback_fn(self, pipeline, step_index, timesteps, callback_kwargs):
                self.steps.append((step_index, pipeline.num_timesteps, list(callback_kwargs)))
                return callback_kwargs

        make_pipe()(**SHORT, callback_on_step_end=MultiPipelineCallbacks([Cutoff()]))
        assert Cutoff.steps == [(n, 3, ["latents"]) for n in range(3)]

    @pytest.mark.parametrize("names", [["prompt_embeds"], "latents"])
    def test_what_there_is_not_is_named(self, names):
        with pytest.raises(ValueError, match="callback_on_step_end_tensor_inputs must be among"):
            make_pipe()(**SHORT, callback_on_step_end_tensor_inputs=names)


class TestRestarts:
    @pytest.mark.parametrize("scheduler", [*SCHEDULERS, EulerDiscreteScheduler])
    def test_stronger_restarts_change_more(self, scheduler):
        pipe = make_pipe()
        pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
        arguments = {**SHORT, "num_inference_steps": 20}
        clip = pipe(**arguments, generator=seeded()).frames
        change = [
            np.abs(pipe(**arguments, num_restarts=1, restart_strength=by, generator=seeded()).frames - clip).mean()
            for by in (0.1, 0.9)
        ]
        assert 0 < change[0] < change[1]

    def test_given_frames_and_flow_stay(self):
        frame, flow = np.random.default_rng(0).random((16, 24)), np.full((4, 16, 24, 2), 0.5, np.float32)
        out = make_pipe()(**SHORT, first_frame=frame, num_restarts=2, generator=seeded())
        np.testing.assert_array_equal(out.frames[0, 0], frame.astype(np.float32))
        out = make_pipe()(**SHORT, flow=flow, num_restarts=2, generator=seeded())
        np.testing.assert_array_equal(out.flow[0], flow)

    def test_the_checkpoint_says_how_many(self):
        one = make_pipe(num_restarts=1)(**SHORT, generator=seeded()).frames
        np.testing.assert_array_equal(one, make_pipe()(**SHORT, num_restarts=1, generator=seeded()).frames)
        none = make_pipe(num_restarts=1)(**SHORT, num_restarts=0, generator=seeded()).frames
        np.testing.assert_array_equal(none, make_pipe()(**SHORT, generator=seeded()).frames)
        assert np.abs(one - none).max() > 0

    @pytest.mark.parametrize("arguments", [{"num_restarts": -1}, {"restart_strength": 0}, {"restart_strength": 1.1}])
    def test_wrong_numbers_are_named(self, arguments):
        with pytest.raises(ValueError, match="num_restarts must be at least 0 and restart_strength in"):
            make_pipe()(**SHORT, **arguments)


class TestConditions:
    def test_a_mirrored_mask_is_taken(self):
        video = np.random.default_rng(0).random((4, 16, 24)).astype(np.float32)
        mask = np.array([True, False, False, False])[::-1]
        out = make_pipe()(**SHORT, frames=video, frame_mask=mask, generator=seeded())
        np.testing.assert_array_equal(out.frames[0, 3], video[3])

    def test_mirrored_frames_are_taken(self):
        frame = np.random.default_rng(0).random((16, 24)).astype(np.float32)
        out = make_pipe()(**SHORT, first_frame=frame[:, ::-1], generator=seeded())
        np.testing.assert_array_equal(out.frames[0, 0], frame[:, ::-1])

    def test_pictures_are_taken(self):
        pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 16, 24), dtype=np.uint8)
        clips = [[Image.fromarray(frame) for frame in clip] for clip in pixels]
        grey = pixels.astype(np.float32) / 255
        for given, expected in (
            ({"first_frame": clips[0][0].convert("RGB")}, grey[:1, :1].repeat(2, 0)),
            ({"first_frame": [clip[0] for clip in clips]}, grey[:, :1]),
            ({"frames": clips[0], "frame_mask": [True, True, False, True]}, grey[:1, [0, 1, 3]].repeat(2, 0)),
            ({"frames": clips, "frame_mask": [True, True, False, True]}, grey[:, [0, 1, 3]]),
        ):
            out = make_pipe()(**SHORT, batch_size=2, **given, generator=seeded())
            np.testing.assert_array_equal(out.frames[:, given.get("frame_mask", [True, False, False, False])], expected)
        given = [torch.from_numpy(frame) for frame in grey[:, 0]]
        out = make_pipe()(**SHORT, batch_size=2, first_frame=given, generator=seeded())
        np.testing.assert_array_equal(out.frames[:, 0], grey[:, 0])
        with pytest.raises(ValueError, match="first_frame must be of one size"):
            make_pipe()(**SHORT, batch_size=2, first_frame=[clips[0][0], clips[1][0].resize((8, 8))])
        with pytest.raises(ValueError, match="first_frame must be an 8-bit picture"):
            make_pipe()(**SHORT, first_frame=Image.fromarray(pixels[0, 0].astype(np.uint16)))

    def test_first_frame_comes_back_exactly(self):
        frame = np.random.default_rng(0).random((2, 16, 24), dtype=np.float32)
        out = make_pipe()(**SHORT, batch_size=2, first_frame=frame, generator=seeded())
        np.testing.assert_array_equal(out.frames[:, 0], frame)

    def test_given_frames_steer_the_rest(self):
        frames = np.random.default_rng(0).random((4, 16, 24), dtype=np.float32)
        mask = np.array([True, False, False, True])
        pipe = make_pipe()
        out = pipe(**SHORT, frames=frames, frame_mask=mask, generator=seeded())
        np.testing.assert_array_equal(out.frames[0, mask], frames[mask])
        other = pipe(**SHORT, frames=1 - frames, frame_mask=mask, generator=seeded())
        assert not np.allclose(out.frames[0, 1], other.frames[0, 1])

    def test_values_outside_the_mask_do_not_matter(self):
        frames = np.full((4, 16, 24), 0.5, dtype=np.float32)
        other = frames.copy()
        other[1:] = 0.9
        mask = [True, False, False, False]
        pipe = make_pipe()
        first, second = (pipe(**SHORT, frames=f, frame_mask=mask, generator=seeded()).frames for f in (frames, other))
        np.testing.assert_array_equal(first, second)

    def test_flow_comes_back_exactly_and_steers_the_video(self):
        flow = np.random.default_rng(0).normal(size=(4, 16, 24, 2)).astype(np.float32)
        pipe = make_pipe()
        out = pipe(**SHORT, flow=flow, generator=seeded())
        np.testing.assert_array_equal(out.flow[0], flow)
        assert not np.allclose(out.frames, pipe(**SHORT, flow=-flow, generator=seeded()).frames)

    def test_the_model_sees_no_flow_faster_than_it_was_trained_with(self):
        flow = np.random.default_rng(0).normal(size=(4, 16, 24, 2)).astype(np.float32)
        pipe = make_pipe(flow_clip=0.5)
        out = pipe(**SHORT, flow=flow, generator=seeded())
        np.testing.assert_array_equal(out.flow[0], flow)
        slower = pipe(**SHORT, flow=flow.clip(-0.5, 0.5), generator=seeded())
        np.testing.assert_array_equal(out.frames, slower.frames)

    def test_flow_of_a_video(self):
        frames = np.random.default_rng(0).random((4, 16, 24), dtype=np.float32)
        out = make_pipe()(**SHORT, frames=frames, generator=seeded())
        np.testing.assert_array_equal(out.frames[0], frames)
        assert out.flow.std() > 0

    @pytest.mark.parametrize(
        "arguments, message",
        [
            ({"first_frame": np.zeros((16, 24)), "frames": np.zeros((4, 16, 24))}, "not both"),
            ({"first_frame": np.zeros((16, 16))}, r"first_frame must have shape"),
            ({"first_frame": np.full((16, 24), 255.0)}, r"in \[0, 1\]"),
            ({"first_frame": np.full((16, 24), np.nan)}, "finite"),
            ({"frame_mask": [True] * 4}, "give frames too"),
            ({"frames": np.zeros((4, 16, 24)), "frame_mask": [True]}, "frame_mask must have"),
            ({"frames": np.zeros((4, 16, 24)), "frame_mask": [False] * 4}, "frame_mask must be true for the given"),
            ({"frames": np.zeros((4, 16, 24)), "frame_mask": range(4)}, "frame_mask must be true for the given"),
            ({"frames": np.zeros((30, 16, 24))}, r"got \(30, 16, 24\)"),
            ({"flow": np.zeros((2, 16, 24, 2))}, r"got \(2, 16, 24, 2\)"),
            ({"flow": np.zeros((4, 16, 24))}, "flow must have shape"),
        ],
    )
    def test_wrong_conditions_are_named(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            make_pipe()(**SHORT, **arguments)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"first_frame": np.zeros((16, 24))},
            {"frames": np.zeros((4, 16, 24))},
            {"frames": np.zeros((4, 16, 24)), "frame_mask": [1, 0, 0, 0]},
            {"flow": np.zeros((4, 16, 24, 2))},
        ],
    )
    def test_what_a_checkpoint_cannot_do_is_named(self, arguments):
        with pytest.raises(ValueError, match=r"trained for \['joint'\]"):
            make_pipe(noise_patterns=["joint"])(**SHORT, **arguments)

    def test_all_frames_with_their_flow_leave_nothing_to_sample(self):
        given = {"frames": np.zeros((4, 16, 24)), "flow": np.zeros((4, 16, 24, 2))}
        with pytest.raises(ValueError, match="nothing is left"):
            make_pipe(noise_patterns=["flow_to_video", "video_to_flow"])(**SHORT, **given)

    def test_flow_between_frames_is_enough(self):
        flow = np.random.default_rng(0).normal(size=(3, 16, 24, 2)).astype(np.float32)  # as estimated from four frames
        out = make_pipe()(**SHORT, flow=flow, generator=seeded())
        np.testing.assert_array_equal(out.flow[0], np.concatenate([flow, flow[-1:]]))

    def test_flow_beyond_that_of_training_is_reported(self, caplog):
        pipe = make_pipe(flow_clip=2.0)
        pipe(**SHORT, flow=np.ones((4, 16, 24, 2)), generator=seeded())
        assert not caplog.records
        pipe(**SHORT, flow=np.full((4, 16, 24, 2), 5.0), generator=seeded())
        assert "trained up to 2" in caplog.text

    def test_flow_for_a_video_only_model(self):
        with pytest.raises(ValueError, match="video only"):
            make_pipe(channels=1)(**SHORT, flow=np.zeros((4, 16, 24, 2)))


class TestClasses:
    NAMES: ClassVar = {"cell_type": ["a", "b"], "density": ["x", "y", "z"]}

    def test_asked_class_is_used(self):
        pipe = make_pipe(class_names=self.NAMES)
        a, b = (pipe(**SHORT, cell_type=name, density="x", generator=seeded()).frames for name in "ab")
        assert not np.allclose(a, b)

    def test_nothing_asked_draws_from_the_training_mix(self):
        pipe = make_pipe(class_names=self.NAMES, class_weights={"cell_type": [0.0, 1.0], "density": [0.0, 0.0, 1.0]})
        out = pipe(**{**SHORT, "batch_size": 5}, generator=seeded())
        assert out.classes == [{"cell_type": "b", "density": "z"}] * 5

    def test_classes_that_were_drawn_and_asked_for_again_make_the_clip_again(self):
        pipe = make_pipe(class_names=self.NAMES)
        drawn = pipe(**{**SHORT, "batch_size": 3}, generator=seeded())
        asked = {kind: [each[kind] for each in drawn.classes] for kind in self.NAMES}
        again = pipe(**{**SHORT, "batch_size": 3}, **asked, generator=seeded())
        np.testing.assert_array_equal(again.frames, drawn.frames)

    def test_each_clip_can_have_a_class_of_its_own(self):
        pipe = make_pipe(class_names=self.NAMES)
        asked = {"cell_type": ["a", "b", None], "density": "x"}
        out = pipe(**{**SHORT, "batch_size": 3}, **asked, generator=[seeded(4)] * 2 + [seeded(1)])
        assert [each["density"] for each in out.classes] == ["x"] * 3
        assert [each["cell_type"] for each in out.classes[:2]] == ["a", "b"]
        alone = pipe(**{**SHORT, "batch_size": 1}, cell_type="a", density="x", generator=[seeded(4)])
        again = pipe(**{**SHORT, "batch_size": 2}, cell_type=["a", "b"], density="x", generator=(seeded(4), seeded(5)))
        np.testing.assert_allclose(again.frames[:1], alone.frames, atol=1e-5)
        with pytest.raises(ValueError, match="cell_type must be one name or a list of one for each of the 3 clips"):
            pipe(**{**SHORT, "batch_size": 3}, cell_type=["a", "b"], generator=seeded())

    def test_given_frames_leave_density_open(self, monkeypatch):
        pipe, seen = make_pipe(class_names=self.NAMES), []
        forward = pipe.unet.forward
        monkeypatch.setattr(
            pipe.unet,
            "forward",
            lambda clip, levels, labels, **k: seen.append(labels) or forward(clip, levels, labels, **k),
        )
        frame = np.full((16, 24), 0.5, np.float32)
        pipe(**SHORT, cell_type="b", first_frame=frame, generator=seeded())
        assert all(labels.tolist() == [[1, -1]] for labels in seen) and seen
        seen.clear()
        pipe(**SHORT, cell_type="b", density="z", first_frame=frame, generator=seeded())
        assert all(labels.tolist() == [[1, 2]] for labels in seen) and seen

    def test_guidance_moves_away_from_the_unlabelled_clip(self):
        pipe = make_pipe(class_names=self.NAMES)
        arguments = {**SHORT, "cell_type": "a", "density": "x"}
        plain, guided = (pipe(**arguments, guidance_scale=g, generator=seeded()).frames for g in (1.0, 3.0))
        assert not np.allclose(plain, guided)

    @pytest.mark.parametrize(
        "arguments, message",
        [({"cell_type": "c"}, r"one of \['a', 'b'\]"), ({"maturity": "mature"}, "not trained with it")],
    )
    def test_unknown_class_is_named(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            make_pipe(class_names=self.NAMES)(**SHORT, **arguments)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_frames": 0}, "num_frames must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"num_inference_steps": 0}, "num_inference_steps must be at least 1"),
        ({"height": 17}, "multiples of 4, got 17 x 24"),
        ({"width": 0}, "positive multiples of 4, got 16 x 0"),
        ({"output_type": "gif"}, "output_type must be"),
        ({"generator": [torch.Generator()]}, "one for each of the 2 clips"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_pipe()(**{**SHORT, "batch_size": 2, **arguments})


def test_save_and_load(tmp_path):
    pipe = make_pipe(class_names={"cell_type": ["a", "b"], "density": ["x", "y", "z"]}, pixel_size_um=0.65)
    expected = pipe(**SHORT, generator=seeded())
    pipe.save_pretrained(tmp_path)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".json", ".safetensors"}
    loaded = CellVideoPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    np.testing.assert_array_equal(loaded(**SHORT, generator=seeded()).frames, expected.frames)
    assert loaded.config.pixel_size_um == 0.65
