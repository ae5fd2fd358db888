"""The ladder climbs from end to end at a tiny size, and does not climb a finished rung again."""

import argparse
import json
import sys

import pytest
from launching import ROOT, run_benchmark

from cellvid_diffusers.data import write_simulated

sys.path.insert(0, str(ROOT / "benchmarks"))

from motion_ladder import result_of


@pytest.mark.slow
def test_first_rung_and_a_warm_started_one(tmp_path):
    data, work, page = tmp_path / "data", tmp_path / "work", tmp_path / "ladder.md"
    write_simulated(data, num_videos=40, size=48, num_frames=10, seed=0)
    command = ["motion_ladder.py", "--real", data, "--work", work, "--out", page]
    command += ["--figure", tmp_path / "ladder.png", "--rungs", "1_video", "6_weights", "9_joint", "--clips", "16"]
    command += ["--samples", "4", "--ancestral-samples", "4", "--steps", "2"]
    command += ["--dataset_name", data, "--class_columns", "{}", "--balance", "null", "--logging_steps", "1"]
    command += ["--scale_by_cell_type", "false"]
    page.write_text("# Old\n\n## Notes\n\nWhat somebody wrote.\n")
    for _ in range(2):
        run_benchmark(*command)
        finished = {path: path.stat().st_mtime_ns for path in work.glob("*/ladder.json")}
        assert len(finished) == 3
    assert (work / "5_video-0" / "model_index.json").exists()
    asked = argparse.Namespace(real=data, samples=4, ancestral_samples=4, steps=2, clips=17)
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
