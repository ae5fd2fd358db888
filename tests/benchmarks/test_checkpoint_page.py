"""The page of a checkpoint's figures at a tiny size."""

import pytest
from launching import run_benchmark

from cellvid_diffusers.data import write_simulated


@pytest.mark.slow
def test_page(tmp_path):
    write_simulated(tmp_path / "data", num_videos=40, size=64, num_frames=10, seed=0)
    command = ["checkpoint.py", "--train", tmp_path / "data", "--real", tmp_path / "data"]
    run_benchmark(*command, "--out", tmp_path / "page.md", "--clips", "4", "--per-density", "2")
    page = (tmp_path / "page.md").read_text()
    assert "Training clips (4) against held-out ones" in page
    for row in ("| generated | all | 4 |", "| held out | neuron |", "| u373 |"):
        assert row in page
