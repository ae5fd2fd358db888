"""Which checkpoint a run goes on from."""

import sys
from pathlib import Path

import pytest
from diffusers import DDPMScheduler

sys.path.insert(0, str(Path(__file__).parents[2] / "training"))

from resuming import FixedState, find_checkpoint


@pytest.fixture
def runs(tmp_path):
    for name in ("mine/checkpoint-500", "mine/checkpoint-20000", "other/checkpoint-700", "empty"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def find(folder, asked):
    return find_checkpoint({"output_dir": str(folder), "resume_from_checkpoint": asked})


def test_a_checkpoint_is_named_with_its_folder_or_without(runs):
    assert find(runs / "mine", "latest") == runs / "mine" / "checkpoint-20000"
    assert find(runs / "mine", "checkpoint-500") == runs / "mine" / "checkpoint-500"
    assert find(runs / "mine", str(runs / "mine" / "checkpoint-500")) == runs / "mine" / "checkpoint-500"


def test_without_a_name_it_is_the_latest_and_copies_are_none(runs):
    (runs / "mine" / "checkpoint-best").mkdir()
    assert find(runs / "mine", True) == find(runs / "mine", "latest") == runs / "mine" / "checkpoint-20000"


@pytest.mark.parametrize("folder", ["mine", "empty"])
def test_a_checkpoint_that_is_not_there_is_named(runs, folder):
    for asked in ("checkpoint-99", str(runs / "mine" / "checkpoint-99")):
        with pytest.raises(ValueError, match=r"resume_from_checkpoint must be a checkpoint, got .*checkpoint-99"):
            find(runs / folder, asked)


def test_another_runs_checkpoint_starts_a_run_in_an_empty_folder_only(runs):
    asked = str(runs / "other" / "checkpoint-700")
    assert find(runs / "empty", asked) == runs / "other" / "checkpoint-700"
    with pytest.raises(ValueError, match="must hold no checkpoints of another run, got checkpoint-20000"):
        find(runs / "mine", asked)


def test_a_resumed_run_has_the_checkpoints_classes_in_their_order():
    kept = FixedState(DDPMScheduler(), {"cell_type": ["neuron", "glia"]}).state_dict()
    FixedState(DDPMScheduler(), {"cell_type": ["neuron", "glia"]}).load_state_dict(kept)
    with pytest.raises(ValueError, match=r"class_columns must be the checkpoint's {'cell_type': \['neuron', 'glia'\]}"):
        FixedState(DDPMScheduler(), {"cell_type": ["glia", "neuron"]}).load_state_dict(kept)
