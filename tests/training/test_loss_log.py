import json
import sys
import time
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from launching import ROOT

from cellvid_diffusers.training_utils import DiffusionObjective

sys.path.insert(0, str(ROOT / "training"))

from loss_log import LossLog, Progress


@pytest.fixture
def log(tmp_path) -> LossLog:
    return LossLog(Accelerator(cpu=True), tmp_path, DiffusionObjective(torch.ones(10)))


def lines(log: LossLog) -> list[dict]:
    return [json.loads(line) for line in Path(log.path).read_text().splitlines()]


def test_a_line_counts_what_came_since_the_last(log):
    progress = Progress()
    log.began -= 2
    for losses in ([1.0, 2.0, 4.0], [3.0, 2.0, 2.0]):  # two of the ten steps of a line: the run was resumed at 18
        log.add(torch.tensor(losses), 3)
    progress.step = 20
    log.write(progress, 0.5)
    log.add(torch.tensor([7.0, 8.0, 8.0]), 3)
    log.write(progress, 0.25)
    first, second = lines(log)
    assert (first["loss_video"], first["loss_flow"], first["learning_rate"]) == (2, 2.5, 0.5)
    assert 2.5 < first["clips_per_second"] <= 3
    assert (second["loss_video"], second["loss_flow"], second["learning_rate"]) == (7, 8, 0.25)


def test_saving_does_not_count_as_training(log):
    log.began -= 2
    log.add(torch.ones(3), 8)
    with log.paused():
        time.sleep(1.5)
    log.write(Progress(), 0.5)
    assert 3 < lines(log)[0]["clips_per_second"] <= 4


def test_nothing_new_is_no_line(log):
    log.write(Progress(), 0.5)
    assert not log.path.exists()


def test_a_loss_that_is_not_finite_ends_the_run(log):
    log.add(torch.tensor([float("nan")]), 1)
    with pytest.raises(FloatingPointError, match="loss must be finite, got nan at step 0"):
        log.write(Progress(), 0.5)
