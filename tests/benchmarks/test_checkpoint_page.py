"""The page of a checkpoint's figures at a tiny size."""

import pytest
from launching import run_benchmark


@pytest.mark.slow
def test_page(patches, checkpoint, tmp_path):
    command = ["checkpoint.py", "--checkpoint", checkpoint, "--train", patches, "--real", patches]
    run_benchmark(*command, "--out", tmp_path / "page.md", "--clips", "4", "--per-density", "2")
    page = (tmp_path / "page.md").read_text()
    assert "Training clips (4) against held-out ones" in page
    for row in ("| generated | all | 4 |", "| held out | neuron |", "| u373 |"):
        assert row in page
