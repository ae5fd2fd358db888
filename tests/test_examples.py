"""The example scripts, really run, with the fastest checkpoint of this repository."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from diffusers import DPMSolverMultistepScheduler
from launching import ROOT, run_script

from cellvid_diffusers import CellVideoPipeline, UNet3DModel

CHECKPOINT = ROOT / "checkpoints" / "cellvid-tiny-4-steps"


def run(name: str, *words: object) -> str:
    done = run_script(f"examples/{name}.py", *words, "--checkpoint", CHECKPOINT)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    """A 16-bit recording twice as large as the checkpoint's clips, with a margin."""
    noise = np.random.default_rng(0).integers(20000, 30000, (12, 140, 150), dtype=np.uint16)
    path = tmp_path_factory.mktemp("recording") / "culture.tif"
    tifffile.imwrite(path, noise, metadata={"axes": "TYX"})
    return path


@pytest.mark.slow
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(
    ("name", "picture"), [("continue_first_frame", "futures.png"), ("fill_in_frames", "filled_in.png")]
)
def test_frames_given(name, picture, given, recording, tmp_path):
    run(name, *([recording, "--downscale", 2] if given else []), "--out", tmp_path)
    assert (tmp_path / picture).is_file()


@pytest.mark.slow
def test_film_a_flow_field(tmp_path):
    told = run("film_a_flow_field", "--out", tmp_path)
    assert (tmp_path / "filmed.png").is_file() and "asked for 1.08 px/frame" in told


@pytest.mark.slow
def test_long_video(tmp_path):
    run("long_video", "--num-frames", 14, "--out", tmp_path)
    assert (tmp_path / "long_video.gif").is_file()


@pytest.fixture
def app(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import app

    yield app
    del sys.modules["app"]


def test_the_page_makes_a_clip_and_files_to_take_away(app):
    pipe = CellVideoPipeline.from_pretrained(CHECKPOINT)
    frame = np.random.default_rng(0).integers(80, 100, (70, 90), dtype=np.uint8)
    video, flow, files, told = app.make_clip(pipe, {"cell_type": "u373", "density": None}, 12, 0, frame)
    assert Path(video).is_file() and Path(flow).is_file() and told.startswith("u373")
    stack = tifffile.imread(files[0])
    assert stack.shape == (12, 64, 64)
    np.testing.assert_array_equal(stack[0], frame[3:67, 13:77])
    assert np.load(files[2]).shape == (12, 64, 64, 2)
    with pytest.raises(ValueError, match=r"first frame must be at least 64 px a side, got \(10, 90\)"):
        app.make_clip(pipe, {}, 12, 0, frame[:10])


def test_the_page_shows_clips_of_a_model_of_video_alone(app):
    unet = UNet3DModel(
        sample_size=16, in_channels=1, out_channels=1, block_out_channels=[8, 16, 16], attention_head_dim=8
    )
    pipe = CellVideoPipeline(unet, DPMSolverMultistepScheduler(prediction_type="v_prediction"))
    video, flow, files, told = app.make_clip(pipe, {}, 3, 0, None)
    assert Path(video).is_file() and flow is None and len(files) == 2 and told == "classes left open"


def test_the_page_asks_for_the_checkpoints_classes():
    pytest.importorskip("gradio")
    code = """
import sys
sys.path.insert(0, sys.argv[1] + "/examples")
import app, gradio
from cellvid_diffusers import CellVideoPipeline
page = app.build_page(CellVideoPipeline.from_pretrained(sys.argv[2]))
print([block.label for block in page.blocks.values() if isinstance(block, gradio.Dropdown)])
"""
    words = [sys.executable, "-c", code, str(ROOT), str(CHECKPOINT)]
    assert subprocess.run(words, capture_output=True, text=True).stdout == "['cell type', 'density']\n"
