"""From a recording to new clips with the README's three commands."""

import numpy as np
import pytest
import torch
from launching import ROOT, run_script
from scipy.ndimage import gaussian_filter
from test_train import launch
from typer.testing import CliRunner

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.cli import app
from cellvid_diffusers.io import read_ome_tiff, write_ome_tiff

CONFIGS = ROOT / "training" / "configs"


def run(*words: object) -> None:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output


def moving_texture(frames: int, shape: tuple[int, int]) -> np.ndarray:
    """Blobs that move to the right by one pixel a frame, `(F, H, W)` uint8."""
    blobs = gaussian_filter(np.random.default_rng(0).normal(size=shape), 2.5, mode="wrap")
    grey = 120 + 35 * blobs / blobs.std()
    return np.clip([np.roll(grey, step, axis=1) for step in range(frames)], 0, 255).astype(np.uint8)


@pytest.mark.slow
def test_recording_to_new_clips(tmp_path):
    video = moving_texture(8, (64, 80))
    write_ome_tiff(tmp_path / "mine.ome.tif", video, pixel_size_um=0.5)

    data, model, clips = tmp_path / "data", tmp_path / "model", tmp_path / "clips"
    run("prepare", tmp_path / "mine.ome.tif", "--out", data, "--patch-size", 16, "--num-frames", 6, "--downscale", 2)
    anew = {"pretrained_model_name_or_path": "null"}  # a network of another size
    launch(model, config=CONFIGS / "own.yaml", dataset_name=data, validation_steps=100, **anew)
    run("generate", "--checkpoint", model, "--num-videos", 2, "--num-frames", 4, "--out", clips)

    made = read_ome_tiff(clips / "video_00001.ome.tif")
    assert made.video.shape == (4, 16, 16)
    assert made.pixel_size_um == pytest.approx(1.0)
    assert np.load(clips / "flow_00001.npy").shape == (4, 16, 16, 2)


@pytest.mark.slow
def test_own_recording_goes_on_from_the_embedded_weights(tmp_path):
    """Other labels than theirs: no cell type, but measured density."""
    write_ome_tiff(tmp_path / "mine.ome.tif", moving_texture(10, (96, 96)), pixel_size_um=1.3)
    run("prepare", tmp_path / "mine.ome.tif", "--out", tmp_path / "data", "--patch-size", 96)
    command = ["training/train.py", "--config", CONFIGS / "own.yaml", "--dataset_name", tmp_path / "data"]
    command += ["--output_dir", tmp_path / "run", "--max_train_steps", 1, "--train_batch_size", 1]
    done = run_script(*command)
    assert done.returncode == 0, done.stderr[-3000:]
    ours = CellVideoPipeline.from_pretrained(ROOT / "checkpoints" / "cellvid-tiny").unet.state_dict()
    started = CellVideoPipeline.from_pretrained(tmp_path / "run")
    assert started.config.class_names == {"density": ["sparse", "moderate", "dense"]}
    name = "tower.stem.weight"
    torch.testing.assert_close(started.unet.state_dict()[name], ours[name], rtol=0, atol=0.01)


@pytest.mark.slow
def test_motion_model_needs_a_data_set_with_flow(tmp_path):
    write_ome_tiff(tmp_path / "mine.ome.tif", moving_texture(6, (32, 32)))
    data = tmp_path / "data"
    run("prepare", tmp_path / "mine.ome.tif", "--out", data, "--patch-size", 16, "--num-frames", 6, "--flow", "none")
    failed = launch(tmp_path / "model", fails=True, dataset_name=data)
    assert "rows must hold flow" in failed.stderr
