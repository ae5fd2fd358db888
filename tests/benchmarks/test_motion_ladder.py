"""The ladder climbs from end to end at a tiny size, and does not climb a finished rung again."""

import argparse
import json
import sys

import pytest
from launching import ROOT, run_benchmark

sys.path.insert(0, str(ROOT / "benchmarks"))

from motion_ladder import result_of


@pytest.mark.slow
def test_first_rung_and_a_warm_started_one(patches, tmp_path):
    work, page = tmp_path / "work", tmp_path / "ladder.md"
    command = ["motion_ladder.py", "--real", patches, "--work", work, "--out", page]
    command += ["--figure", tmp_path / "ladder.png", "--rungs", "1_video", "6_weights", "9_joint", "--clips", "16"]
    command += ["--samples", "4", "--ancestral-samples", "4", "--steps", "2"]
    command += ["--dataset_name", patches, "--class_columns", "{}", "--balance", "null", "--logging_steps", "1"]
    command += ["--scale_by_cell_type", "false", "--mixed_precision", "no"]
    page.write_text("# Old\n\n## Notes\n\nWhat somebody wrote.\n")
    for _ in range(2):
        run_benchmark(*command)
        finished = {path: path.stat().st_mtime_ns for path in work.glob("*/ladder.json")}
        assert len(finished) == 3
    assert (work / "5_video-0" / "model_index.json").exists()
    asked = argparse.Namespace(real=patches, samples=4, ancestral_samples=4, steps=2, clips=17)
    with pytest.raises(SystemExit, match="was trained on 16 clips, got --clips 17: name a new --work"):
        result_of(work / "1_video-0", "", asked, 0.0)
    log = (work / "6_weights-0" / "train_log.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["clips"] == 8  # the other half went into the video-only model
    table, _, notes = page.read_text().partition("\n## Notes\n")
    assert notes == "\nWhat somebody wrote.\n" and "Old" not in table
    assert (tmp_path / "ladder.png").stat().st_size > 1000
    video, *others = table.splitlines()[-6:]
    assert video.startswith("| 1_video | 1 |") and video.endswith("| — |")
    names = ["1_video, ancestral", "6_weights", "9_joint", "9_joint, finished", "9_joint, guided"]
    assert [line.split(" | 1 | ")[0] for line in others] == [f"| {name}" for name in names]
    assert not any(line.endswith("| — |") for line in others[1:])
