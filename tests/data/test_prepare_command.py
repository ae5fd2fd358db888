"""`cellvid prepare`, the command, and the real recordings."""

import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cellvid_diffusers.cli import app
from cellvid_diffusers.data import load_patches, prepare, read_recording, read_sidecar
from cellvid_diffusers.data.patches import patch_grid, window_starts

CONFIGS = Path(__file__).parents[2] / "training" / "configs"


def cellvid(*arguments):
    return CliRunner().invoke(app, ["prepare", *map(str, arguments)])


def test_the_command_prepares_and_pushes(stacks, tmp_path, hub):
    small = ["--patch-size", 32, "--num-frames", 4, "--flow", "none"]
    result = cellvid(
        stacks / "a.tif",
        stacks / "b.tif",
        "--out",
        tmp_path / "out",
        *small,
        "--validation",
        "b",
        "--push_to_hub",
        "cellvid/prepared",
    )
    assert result.exit_code == 0, result.output
    assert "Wrote 12 train, 8 validation patches" in result.output
    assert set(load_patches("cellvid/prepared", "validation")["recording"]) == {"b"}


def test_an_interrupted_command_says_how_to_go_on(stacks, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    small = ["--patch-size", 32, "--num-frames", 4, "--flow", "none", "--out", tmp_path / "out"]
    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["cellvid_diffusers.data.prepare"], "_assemble", stop)
        result = cellvid(stacks / "a.tif", *small)
    assert result.exit_code == 130 and "the same command goes on from here" in result.output
    assert len(list(tmp_path.glob(".out.parts-*"))) == 1
    assert cellvid(stacks / "a.tif", *small, "--downscale", 1, "--overlap", 0.25).exit_code == 0  # other options
    assert not list(tmp_path.glob(".out.parts-*"))


def test_a_data_set_can_be_kept_private(stacks, tmp_path, monkeypatch):
    pushed = []
    monkeypatch.setattr("cellvid_diffusers.data.push_patches", lambda *args, **options: pushed.append((args, options)))
    small = ["--patch-size", 32, "--num-frames", 4, "--flow", "none", "--push_to_hub", "cellvid/prepared"]
    assert cellvid(stacks / "a.tif", "--out", tmp_path / "out", *small, "--private").exit_code == 0
    assert pushed == [((tmp_path / "out", "cellvid/prepared"), {"private": True})]


def test_a_failed_push_is_told_in_one_line(stacks, tmp_path, monkeypatch):
    def fail(*args, **options):
        raise KeyError("no net")

    monkeypatch.setattr("cellvid_diffusers.data.push_patches", fail)
    small = ["--patch-size", 32, "--num-frames", 4, "--flow", "none"]
    result = cellvid(stacks / "a.tif", "--out", tmp_path / "out", *small, "--push_to_hub", "cellvid/prepared")
    assert result.exit_code == 1 and "is written, but could not be pushed ('no net')" in result.output
    assert len(load_patches(tmp_path / "out")) == 12


def test_the_current_folder_is_refused_before_anything_is_cut(stacks, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = cellvid(stacks / "a.tif", "--out", ".")
    assert result.exit_code == 1 and "out must be another folder than the one that this runs in" in result.output


def test_bad_files_are_told_and_the_exit_code_says_so(stacks, tmp_path):
    (stacks / "bad.tif").write_bytes(b"no TIFF")
    small = ["--patch-size", 32, "--num-frames", 4, "--flow", "none"]
    result = cellvid(stacks / "bad.tif", stacks / "a.tif", "--out", tmp_path / "out", *small)
    assert result.exit_code == 1
    assert len([line for line in result.output.splitlines() if line.startswith("cellvid: bad.tif: ")]) == 1
    assert len(load_patches(tmp_path / "out")) == 12


def test_options_given_win_over_the_preset(stacks, tmp_path):
    result = cellvid(
        stacks / "a.tif", "--out", tmp_path / "out", "--preset", "paper", "--patch-size", 32, "--num-frames", 9
    )
    assert result.exit_code == 0, result.output
    card = (tmp_path / "out" / "README.md").read_text()
    for line in ("| patch_size | 32 |", "| num_frames | 9 |", "| flow | paper |", "| overlap | 0.25 |"):
        assert line in card
    wrong = cellvid(stacks / "a.tif", "--out", tmp_path / "two", "--preset", "mine")
    assert wrong.exit_code == 1 and "preset must be one of paper, got mine" in wrong.output


def test_configured_recordings_are_well_formed():
    for name in ("recordings_tiny.yaml", "recordings_all.yaml"):
        assert len(read_sidecar(CONFIGS / name)) >= 5


@pytest.mark.slow
def test_all_real_recordings_prepare_with_one_command(shared_data, tmp_path):
    options = {"patch_size": 64, "downscale": 2, "overlap": 0.0, "flow": "none", "reject": False, "progress": False}
    sidecar = CONFIGS / "recordings_all.yaml"
    report = prepare([], tmp_path / "out", sidecar=sidecar, root=shared_data, **options)
    assert not report.errors
    expected = 0
    for entry in yaml.safe_load(sidecar.read_text())["recordings"]:
        frames, height, width = read_recording(shared_data / entry["file"], downscale=2).frames.shape
        expected += len(window_starts(frames, 10, entry.get("stride", 1))) * len(patch_grid(height, width, 64, 0.0))
    assert report.candidates == sum(report.rows.values()) == expected
    train, held_out = (set(load_patches(tmp_path / "out", s)["recording"]) for s in ("train", "validation"))
    assert not train & held_out and len(train | held_out) == 16
