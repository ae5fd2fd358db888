"""The command line, as a user types it."""

import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from PIL import Image
from typer.testing import CliRunner

from cellvid_diffusers import CellVideoPipeline, simulate
from cellvid_diffusers.cli import app
from cellvid_diffusers.data import decode_frames, load_patches, motion, simulated
from cellvid_diffusers.data.motion import video_flow
from cellvid_diffusers.generation import generate_clips, overlay_flow
from cellvid_diffusers.io import read_ctc, read_ome_tiff, write_ome_tiff
from cellvid_diffusers.pipelines import roll_out

ROOT = Path(__file__).parents[1]


def run(*words: object, exit_code: int = 0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == exit_code, (result.output, result.exception)
    return result


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A small untrained pipeline."""
    sys.path.insert(0, str(ROOT / "tests" / "pipelines"))
    from test_cell_video import make_pipe

    folder = tmp_path_factory.mktemp("checkpoint") / "pipe"
    make_pipe(pixel_size_um=0.5, frame_interval_min=3.0).save_pretrained(folder)
    return folder


def generate(out: Path, checkpoint: Path, *more: object) -> None:
    sizes = ("--num-frames", 4, "--height", 32, "--width", 32, "--num-inference-steps", 2)
    run("generate", "--checkpoint", checkpoint, "--out", out, *sizes, *more)


class TestGenerate:
    def test_files(self, checkpoint, tmp_path):
        generate(tmp_path, checkpoint, "--num-videos", 3, "--batch-size", 2, "--annotate")
        for index in range(3):
            video = read_ome_tiff(tmp_path / f"video_{index:05d}.ome.tif")
            assert video.video.shape == (4, 32, 32) and video.video.dtype == np.uint8
            assert (video.pixel_size_um, video.frame_interval_min) == (0.5, 3.0)
            flow = np.load(tmp_path / f"flow_{index:05d}.npy")
            assert flow.shape == (4, 32, 32, 2) and flow.dtype == np.float32
            assert read_ctc(tmp_path / f"masks_{index:05d}")[0].shape == (4, 32, 32)
            for name in ("cells", "neurites", "tracks"):
                assert (tmp_path / f"{name}_{index:05d}.csv").is_file()
        assert (tmp_path / "contact_sheet.png").is_file() and (tmp_path / "video_00000.gif").is_file()
        table = pd.read_csv(tmp_path / "metadata.csv")
        assert table["file_name"].tolist() == [f"video_{index:05d}.ome.tif" for index in range(3)]
        assert table["seed"].tolist() == [0, 1, 2]

    def test_clips_longer_than_the_training_clips_are_rolled_out(self, tmp_path):
        from test_cell_video import make_pipe

        make_pipe(num_frames=6).save_pretrained(tmp_path / "pipe")
        sizes = {"height": 32, "width": 32, "num_inference_steps": 2}
        generate_clips(tmp_path / "out", checkpoint=tmp_path / "pipe", num_videos=1, num_frames=9, **sizes)
        pipe = CellVideoPipeline.from_pretrained(tmp_path / "pipe")
        rolled = roll_out(pipe, 9, generator=[torch.Generator().manual_seed(0)], **sizes)
        np.testing.assert_array_equal(np.load(tmp_path / "out" / "flow_00000.npy"), rolled.flow[0])

    @pytest.mark.parametrize("longest", [1, 4])
    def test_short_windows_are_no_obstacle(self, longest, tmp_path):
        from test_cell_video import make_pipe

        make_pipe(num_frames=longest).save_pretrained(tmp_path / "pipe")
        generate(tmp_path / "out", tmp_path / "pipe", "--num-frames", 6)
        assert np.load(tmp_path / "out" / "flow_00000.npy").shape == (6, 32, 32, 2)

    def test_a_clip_that_an_interrupted_run_left_does_not_stop_the_next(self, checkpoint, tmp_path):
        generate(tmp_path, checkpoint)
        (tmp_path / "metadata.csv").unlink()
        generate(tmp_path, checkpoint)
        assert pd.read_csv(tmp_path / "metadata.csv")["file_name"].tolist() == ["video_00000.ome.tif"]

    def test_what_is_no_earlier_run_is_not_removed(self, checkpoint, tmp_path):
        told = run("simulate", "--out", tmp_path / "s", "--size", 32, "--num-frames", 2).stdout
        assert "Wrote 1 simulated clip" in told
        before = sorted(tmp_path.rglob("*"))
        told = run("generate", "--checkpoint", checkpoint, "--out", tmp_path / "s", exit_code=1).stderr
        assert "out must be new, or hold clips of an earlier run" in told and sorted(tmp_path.rglob("*")) == before

    def test_each_cell_type_has_its_calibration(self, tmp_path):
        from test_cell_video import make_pipe

        names = {"cell_type": ["a", "b"], "density": ["x", "y", "z"]}
        sizes, minutes = {"a": 0.5, "b": 2.0}, {"a": 3.0, "b": 4.0}
        make_pipe(class_names=names, pixel_size_um=sizes, frame_interval_min=minutes).save_pretrained(tmp_path / "pipe")
        generate(tmp_path / "out", tmp_path / "pipe", "--cell-type", "b")
        video = read_ome_tiff(tmp_path / "out" / "video_00000.ome.tif")
        assert (video.pixel_size_um, video.frame_interval_min) == (2.0, 4.0)

    def test_clips_of_an_earlier_run_do_not_stay(self, checkpoint, tmp_path):
        generate(tmp_path, checkpoint, "--num-videos", 2, "--annotate")
        (tmp_path / "video_notes.txt").write_text("mine")
        generate(tmp_path, checkpoint)
        left = {path.name for path in tmp_path.iterdir()}
        assert {"video_00000.ome.tif", "video_notes.txt"} < left
        assert not any("00001" in name or name.startswith(("masks", "rois", "cells")) for name in left)

    def test_without_the_repositorys_checkpoint_it_says_so(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert "say --checkpoint" in run("generate", "--out", tmp_path / "out", exit_code=1).stderr

    def test_a_clip_depends_on_its_seed_alone(self, checkpoint, tmp_path):
        generate(tmp_path / "a", checkpoint, "--num-videos", 3, "--seed", 5)
        generate(tmp_path / "b", checkpoint, "--num-videos", 1, "--seed", 7)
        last, alone = (np.load(tmp_path / name) for name in ("a/flow_00002.npy", "b/flow_00000.npy"))
        np.testing.assert_allclose(last, alone, atol=1e-4)

    def test_lists_that_are_no_classes_are_for_each_clip(self, checkpoint, tmp_path):
        pipe = CellVideoPipeline.from_pretrained(checkpoint)
        size = pipe.unet.config.sample_size
        video, mask = np.random.default_rng(0).random((4, size, size)).astype(np.float32), [1, 0, 0, 1]
        options = {"num_frames": 4, "frames": video, "frame_mask": mask, "num_inference_steps": 2}
        generate_clips(tmp_path, checkpoint=checkpoint, num_videos=2, batch_size=1, **options)
        assert len(list(tmp_path.glob("video_*.ome.tif"))) == 2

    @pytest.mark.parametrize(
        "more, message",
        [
            (["--cell-type", "neuron"], "cell_type must be None"),
            (["--height", 33], "multiples of 4"),
            (["--device", "gpu"], "device must be one that torch can use here, got gpu"),
        ],
    )
    def test_mistakes_take_one_line_and_leave_nothing(self, checkpoint, tmp_path, more, message):
        out = tmp_path / "out"
        words = ["generate", "--checkpoint", checkpoint, "--out", out, *more]
        result = run(*words, exit_code=1)
        assert message in result.stderr and "Traceback" not in result.output
        assert result.stderr.strip().splitlines()[-1].startswith("cellvid: ")
        assert not out.exists() or not any(out.iterdir())


def test_overlay_leaves_still_clips_grey():
    video = np.full((2, 16, 16), 60, np.uint8)
    noise = np.random.default_rng(0).normal(0, 0.001, (2, 16, 16, 2))
    assert np.abs(overlay_flow(video, noise).astype(int) - 60).max() < 5
    assert overlay_flow(video, noise + 1).std() > 20


def test_simulate(tmp_path):
    run("simulate", "--out", tmp_path / "sim", "--num-videos", 2, "--size", 32, "--num-frames", 3, "--density", "dense")
    assert (tmp_path / "sim" / "video_00001.ome.tif").is_file()
    assert len(list((tmp_path / "sim" / "data").glob("*.parquet"))) == 2


def test_simulate_refuses_a_folder_that_is_full_before_it_simulates(tmp_path, monkeypatch):
    monkeypatch.setattr(simulated, "simulate", None)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "out must be a new or empty folder" in run("simulate", "--out", tmp_path / "full", exit_code=1).stderr
    assert "seed must be at least 0" in run("simulate", "--out", tmp_path / "new", "--seed", -1, exit_code=1).stderr
    assert not (tmp_path / "new").exists()


def test_options_that_would_do_nothing_are_refused(tmp_path):
    write_ome_tiff(tmp_path / "a.ome.tif", np.zeros((2, 16, 16), np.uint8))
    recording, out = tmp_path / "a.ome.tif", ["--out", tmp_path / "out"]
    for words, message in (
        (["flow", recording, *out, "--mode", "dis", "--stillness", 7], "stillness is an option of pyramid"),
        (["prepare", recording, *out, "--target-speed", 3], "target_speed needs --frame-stride auto"),
        (["prepare", recording, *out, "--scheduler", "tcp://a:1"], "scheduler needs --engine dask"),
    ):
        assert message in run(*words, exit_code=1).stderr


def test_prepare_of_a_chosen_channel_and_plane(tmp_path):
    stack = np.random.default_rng(0).integers(0, 255, (3, 2, 2, 32, 32), dtype=np.uint8)  # time, plane, channel
    tifffile.imwrite(tmp_path / "stack.tif", stack, imagej=True, metadata={"axes": "TZCYX"})
    options = ["--patch-size", 32, "--num-frames", 3, "--flow", "none", "--no-reject", "--no-equalize"]
    run("prepare", tmp_path / "stack.tif", "--out", tmp_path / "set", "--channel", 1, "--z", 0, *options)
    frames = decode_frames(load_patches(tmp_path / "set")[0]["frames"])
    np.testing.assert_array_equal(frames, stack[:, 0, 1])


def test_segment(tmp_path):
    """Three dark discs with halos that move by 2 px a frame, 0.5 um a pixel, 10 min a frame."""
    rows, columns = np.mgrid[:96, :96]
    video = np.full((4, 96, 96), 128.0)
    for t, frame in enumerate(video):
        for y, x in ((24, 20), (60, 28), (40, 64)):
            r = np.hypot(rows - y, columns - x - 2 * t)
            frame += 60 * np.exp(-((r - 11) ** 2) / 4) - 50 * (r < 10)
    write_ome_tiff(
        tmp_path / "c.ome.tif", video.clip(0, 255).astype(np.uint8), pixel_size_um=1.0, frame_interval_min=10
    )
    result = run("segment", tmp_path / "c.ome.tif", "--out", tmp_path / "out")
    masks, tracks = read_ctc(tmp_path / "out" / "masks")
    assert f"Wrote {len(tracks)} tracks" in result.stdout and masks.shape == video.shape
    cells, table = (pd.read_csv(tmp_path / "out" / f"{name}.csv") for name in ("cells", "tracks"))
    assert len(table) == len(tracks) == 3 and len(cells) == 12
    assert set(cells["track"]) == set(table["track"]) == set(tracks[:, 0])
    np.testing.assert_allclose(table["speed_um_per_min"], 0.2, atol=0.05)
    np.testing.assert_allclose(cells["area_um2"], cells["area_px2"])
    assert sorted(set(cells["time_min"])) == [0, 10, 20, 30]
    assert cells["contrast"].max() < 1  # of full range
    neurites = pd.read_csv(tmp_path / "out" / "neurites.csv")
    assert {"frame", "track", "length_px", "length_um", "tip_x_px", "time_min"} <= set(neurites)
    assert (tmp_path / "out" / "rois.zip").stat().st_size > 0
    assert (tmp_path / "out" / "outlines.mp4").stat().st_size > 0
    run("segment", tmp_path / "c.ome.tif", "--out", tmp_path / "out", "--pixel-size-um", 0.9)
    again = pd.read_csv(tmp_path / "out" / "cells.csv")
    np.testing.assert_allclose(again["area_um2"], 0.81 * again["area_px2"])
    assert (
        "pixel_size_um must be positive"
        in run("segment", tmp_path / "c.ome.tif", "--out", tmp_path / "no", "--pixel-size-um", -1, exit_code=1).stderr
    )


def test_flow_takes_flicker_out(tmp_path):
    still = np.asarray(simulate(num_frames=1, size=64, seed=0).video[0], np.float32)
    video = np.stack([np.clip(still * gain, 0, 255) for gain in (1, 1.08, 0.95, 1.1)]).astype(np.uint8)
    write_ome_tiff(tmp_path / "lamp.ome.tif", video)
    speed = {}
    for word in ("--equalize", "--no-equalize"):
        run("flow", tmp_path / "lamp.ome.tif", "--out", tmp_path / word, word, "--stillness", 0)
        speed[word] = np.linalg.norm(np.load(tmp_path / word / "flow.npy"), axis=-1).mean()
    assert speed["--equalize"] < 0.2 * speed["--no-equalize"]


def test_flow_names_frames_that_show_nothing(tmp_path):
    video = np.array(simulate(num_frames=5, size=64, seed=1).video)
    write_ome_tiff(tmp_path / "whole.ome.tif", video[:2])
    video[2:] = np.random.default_rng(0).integers(2, 6, video[2:].shape)
    write_ome_tiff(tmp_path / "dark.ome.tif", video)
    said = {name: run("flow", tmp_path / f"{name}.ome.tif", "--out", tmp_path / name) for name in ("whole", "dark")}
    assert said["whole"].stderr == "" and "frames [2, 3, 4] show nothing" in said["dark"].stderr
    fields = [np.load(tmp_path / name / "flow.npy")[0] for name in said]
    np.testing.assert_allclose(fields[0], fields[1], atol=1e-3)  # pixels apart if their level were the recording's


def test_a_recording_that_shows_nothing_at_all_is_named(tmp_path):
    write_ome_tiff(tmp_path / "flat.ome.tif", np.full((3, 32, 32), 90, np.uint8))
    assert "frames [0, 1, 2] show nothing" in run("flow", tmp_path / "flat.ome.tif", "--out", tmp_path / "out").stderr


def test_a_folder_of_other_files_is_refused_before_cells_are_sought(tmp_path, monkeypatch):
    monkeypatch.setattr("cellvid_diffusers.evaluation.annotation.segment_cells", lambda *_, **__: pytest.fail("sought"))
    write_ome_tiff(tmp_path / "a.ome.tif", np.full((2, 32, 32), 90, np.uint8))
    (tmp_path / "out" / "masks").mkdir(parents=True)
    (tmp_path / "out" / "masks" / "notes.txt").touch()
    said = run("segment", tmp_path / "a.ome.tif", "--out", tmp_path / "out", exit_code=1)
    assert "with notes.txt in it" in said.stderr


def test_flow_of_a_faint_picture_that_shifts_as_a_whole(tmp_path):
    scene = cv2.GaussianBlur(np.random.default_rng(0).normal(128, 30, (96, 120)).astype(np.float32), (0, 0), 2.0)
    frames = np.rint([scene[:, 20 - 3 * t : 84 - 3 * t] for t in range(3)]).astype(np.uint8)
    write_ome_tiff(tmp_path / "faint.ome.tif", frames)
    run("flow", tmp_path / "faint.ome.tif", "--out", tmp_path / "flow", "--stillness", 0)
    measured = np.load(tmp_path / "flow" / "flow.npy")[:, 12:-12, 12:-12]
    np.testing.assert_allclose(measured.mean((0, 1, 2)), [3, 0], atol=0.1)


@pytest.mark.parametrize("mode", ["pyramid", "paper", "dis"])
def test_flow_is_the_data_sets_and_read_in_pieces(tmp_path, monkeypatch, mode):
    video = np.random.default_rng(0).integers(0, 255, (6, 24, 32), dtype=np.uint8)
    write_ome_tiff(tmp_path / "clip.ome.tif", video)
    expected = video_flow(video, mode)
    monkeypatch.setattr(motion, "PIXELS_PER_FLOW_CALL", 2 * 24 * 32)
    run("flow", tmp_path / "clip.ome.tif", "--out", tmp_path / "flow", "--mode", mode, "--no-equalize")
    measured = np.load(tmp_path / "flow" / "flow.npy")
    assert measured.shape == (5, 24, 32, 2) and measured.dtype == np.float32
    np.testing.assert_allclose(measured, expected, atol=2e-3, rtol=2e-3)  # stored flow is float16
    with Image.open(tmp_path / "flow" / "flow.gif") as preview:
        assert preview.n_frames == 5 and preview.size == (32, 24)


def test_flow_of_a_chosen_channel_and_plane(tmp_path):
    stack = np.random.default_rng(0).integers(0, 255, (3, 2, 2, 16, 16), dtype=np.uint8)  # time, plane, channel
    tifffile.imwrite(tmp_path / "stack.tif", stack, imagej=True, metadata={"axes": "TZCYX"})
    chosen = "--channel", "1", "--z"
    for z, frames in (("max", stack[:, :, 1].max(1)), ("0", stack[:, 0, 1])):
        run("flow", tmp_path / "stack.tif", "--out", tmp_path / z, "--mode", "paper", "--no-equalize", *chosen, z)
        measured = np.load(tmp_path / z / "flow.npy")
        np.testing.assert_allclose(measured, video_flow(frames, "paper"), atol=2e-3, rtol=2e-3)
    result = run("flow", tmp_path / "stack.tif", "--out", tmp_path / "none", exit_code=1)
    assert "channel must be chosen from 0..1" in result.stderr


def test_the_preview_of_flow_is_reduced(tmp_path, monkeypatch):
    write_ome_tiff(tmp_path / "clip.ome.tif", np.zeros((2, 20, 1100), np.uint8))
    run("flow", tmp_path / "clip.ome.tif", "--out", tmp_path / "flow", "--mode", "paper")
    with Image.open(tmp_path / "flow" / "flow.gif") as preview:
        assert preview.size == (512, 9)
    write_ome_tiff(tmp_path / "long.ome.tif", np.random.default_rng(0).integers(0, 255, (12, 16, 16), dtype=np.uint8))
    monkeypatch.setattr(motion, "PREVIEW_FRAMES", 4)
    monkeypatch.setattr(motion, "PIXELS_PER_FLOW_CALL", 2 * 16 * 16)
    run("flow", tmp_path / "long.ome.tif", "--out", tmp_path / "long", "--mode", "paper")
    with Image.open(tmp_path / "long" / "flow.gif") as preview:
        assert preview.n_frames == 4 and len(np.load(tmp_path / "long" / "flow.npy")) == 11
    result = run("flow", tmp_path / "clip.ome.tif", "--out", tmp_path / "none", "--mode", "none", exit_code=1)
    assert "mode must be one of pyramid, paper, dis, got none" in result.stderr


@pytest.mark.parametrize(
    "words, message",
    [
        (("flow", "missing.tif"), "missing.tif"),
        (("simulate", "--density", "full"), "density must be one of"),
        (("prepare", "missing.tif"), "missing.tif"),
    ],
)
def test_mistakes_take_one_line(tmp_path, words, message):
    result = run(*words, "--out", tmp_path / "out", exit_code=1)
    assert message in result.stderr and "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_help_and_import_are_quick():
    for code, limit in (
        ("import cellvid_diffusers", 0.3),
        ("from cellvid_diffusers.cli import app; app(['--help'])", 0.5),
    ):
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=ROOT)
            seconds.append(time.perf_counter() - start)
        assert min(seconds) < 3 * limit, f"{code}: {min(seconds):.2f} s"  # three times: the machine may be busy
