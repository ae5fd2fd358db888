"""The embedded checkpoint keeps what the README says of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.data.crowding import structured_share
from cellvid_diffusers.flow import dis_flow

FOLDER = Path(__file__).parents[1] / "checkpoints" / "cellvid-tiny"


CELL_TYPES = ("u373", "t98g")


@pytest.fixture(scope="module")
def pipe():
    pipe = CellVideoPipeline.from_pretrained(FOLDER)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def clips(pipe):
    """Two clips of either cell type, made with the README's call."""
    return [
        pipe(batch_size=2, cell_type=name, density="dense", generator=torch.Generator().manual_seed(0))
        for name in CELL_TYPES
    ]


def test_is_small():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 12e6


def test_frames_and_flow(clips):
    for out in clips:
        assert out.frames.shape == (2, 10, 64, 64) and out.flow.shape == (2, 10, 64, 64, 2)
        assert 0 <= out.frames.min() < out.frames.max() <= 1
        assert np.isfinite(out.flow).all()


@pytest.mark.parametrize("cell_type", CELL_TYPES)
def test_dense_clips_hold_more_structure_than_sparse_ones(pipe, cell_type):
    asked = ["sparse"] * 4 + ["dense"] * 4
    out = pipe(batch_size=8, cell_type=cell_type, density=asked, generator=torch.Generator().manual_seed(1))
    shares = [structured_share(video, pipe.config.video_std[cell_type]) for video in out.frames]
    assert np.mean(shares[4:]) > np.mean(shares[:4]) + 0.05


def test_another_seed_gives_another_video(clips):
    for out in clips:
        assert np.abs(out.frames[0] - out.frames[1]).mean() > 0.01


def test_the_video_moves_and_hangs_together(clips):
    """Frames differ, but less than frames of different clips."""
    frames = np.concatenate([out.frames for out in clips])
    step = np.abs(np.diff(frames, axis=1)).mean()
    assert 0.002 < step < 0.7 * np.abs(frames[::2] - frames[1::2]).mean()


@pytest.fixture(scope="module")
def flows(clips):
    """Generated flow, and flow measured from the generated frames by an estimator that training did not use."""
    frames = np.concatenate([out.frames for out in clips])
    generated = np.concatenate([out.flow for out in clips])[:, :-1]
    return generated, dis_flow(frames).permute(0, 2, 3, 4, 1).numpy()


def test_generated_flow_goes_where_the_frames_go(flows):
    generated, measured = flows
    assert np.corrcoef(generated.ravel(), measured.ravel())[0, 1] > 0.25


def test_generated_flow_agrees_with_the_frames_better_than_no_flow(flows):
    generated, measured = flows
    error = np.linalg.norm(generated - measured, axis=-1).mean()
    assert error < np.linalg.norm(measured, axis=-1).mean()


class TestBase:
    """The larger checkpoint beside it."""

    FOLDER = FOLDER.parent / "cellvid-base"

    def test_shards_are_small_and_safe(self):
        weights = list((self.FOLDER / "unet").glob("*.safetensors"))
        assert len(weights) > 1 and all(path.stat().st_size <= 15e6 for path in weights)
        others = [path for path in self.FOLDER.rglob("*") if path.is_file() and path not in weights]
        assert {path.suffix for path in others} == {".json"}

    def test_parts_of_a_clip_are_given_and_come_back(self):
        pipe = CellVideoPipeline.from_pretrained(self.FOLDER)
        pipe.set_progress_bar_config(disable=True)
        assert 5e6 < sum(each.numel() for each in pipe.unet.parameters()) < 20e6
        assert pipe.unet.config.sample_size == 128
        frame = np.full((64, 64), pipe.config.video_mean["u373"], np.float32)
        generator = torch.Generator().manual_seed(0)
        out = pipe(first_frame=frame, num_frames=4, height=64, width=64, num_inference_steps=3, generator=generator)
        np.testing.assert_array_equal(out.frames[0, 0], frame)
        assert out.classes[0]["cell_type"] == "u373" and np.isfinite(out.flow).all()


class TestStudent:
    """The embedded checkpoint in 4 steps."""

    FOLDER = FOLDER.parent / "cellvid-tiny-4-steps"

    def test_its_clips_are_those_of_its_teacher(self, pipe):
        """Far nearer than the teacher itself in as few steps, without noise on the way: so it was taught."""
        student = CellVideoPipeline.from_pretrained(self.FOLDER)
        scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, use_lu_lambdas=True)
        teacher = CellVideoPipeline.from_pipe(pipe, scheduler=scheduler)
        for each in (student, teacher):
            each.set_progress_bar_config(disable=True)
        for name in CELL_TYPES:
            asked = {"batch_size": 2, "cell_type": name, "density": "dense"}
            out = teacher(**asked, generator=torch.Generator().manual_seed(0))
            distilled = student(**asked, generator=torch.Generator().manual_seed(0))
            hurried = teacher(**asked, num_inference_steps=4, generator=torch.Generator().manual_seed(0))
            errors = [np.sqrt(np.mean((each.frames - out.frames) ** 2)) for each in (distilled, hurried)]
            assert errors[0] < 0.7 * errors[1]
            assert np.corrcoef(distilled.frames.ravel(), out.frames.ravel())[0, 1] > 0.7
        assert len(student.scheduler.timesteps) == 4
