"""Configurations of training/train.py."""

import re
import sys
from pathlib import Path

import pytest

TRAINING = Path(__file__).parents[2] / "training"
sys.path.insert(0, str(TRAINING))

from config import CONFIGS, load_config  # noqa: E402


def test_the_hub_takes_a_name_elsewhere():
    with pytest.raises(ValueError, match=r"push_to_hub must be true or false .*got user/cells"):
        load_config(["--push_to_hub", "user/cells"])


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_builds_its_model(path):
    if path.stem.startswith("recordings"):
        pytest.skip("a list of recordings, not a training configuration")
    import torch

    from cellvid_diffusers.models import MotionUNet3DModel, UNet3DModel

    config = load_config(["--config", str(path)])
    arguments = dict(config["model"])
    model_class = {"UNet3DModel": UNet3DModel, "MotionUNet3DModel": MotionUNet3DModel}[arguments.pop("type")]
    channels = 3 if config["flow"] else 1
    with torch.device("meta"):
        model = model_class(in_channels=channels, out_channels=channels, **arguments)
    assert config["resolution"] % model.size_multiple == 0


def test_smoke_is_the_default():
    assert load_config([]) == load_config(["--config", str(CONFIGS / "smoke.yaml")])


def test_command_line_wins():
    words = ["--learning_rate", "1e-3", "--model.layers_per_block=2", "--use_ema", "false", "--push_to_hub"]
    config = load_config(words)
    assert config["learning_rate"] == 1e-3 and config["model"]["layers_per_block"] == 2
    assert config["use_ema"] is False and config["push_to_hub"] is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed.x", "1"], "seed must be given as --seed VALUE, got --seed.x"),
        (["--simulate.size.x", "1"], "unknown configuration key 'size.x'"),
        (["--transform", "true"], "transform must be a group of keys and values, got True"),
        (["--noise_patterns", "joint"], "noise_patterns must be a group of keys and values, got 'joint'"),
        (["--model", "[1]"], "model must be a group"),
    ],
)
def test_a_value_for_a_group_and_a_group_for_a_value_are_refused(words, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_config(words)


def test_no_is_a_precision():
    assert load_config([])["mixed_precision"] is None
    assert load_config(["--mixed_precision", "no"])["mixed_precision"] == "no"


def test_label_columns_come_in_the_order_of_the_embeddings():
    config = load_config(["--class_columns", "{density: [sparse, dense], cell_type: [a, b]}"])
    assert list(config["class_columns"].items()) == [("cell_type", ["a", "b"]), ("density", ["sparse", "dense"])]


def test_base_is_read_first(tmp_path):
    (tmp_path / "base.yaml").write_text(
        "seed: 1\nmodel: {patch_size: 1}\nnoise_patterns: {joint: 0.5, prediction: 0.5}"
    )
    (tmp_path / "top.yaml").write_text("base: base.yaml\nseed: 2\nnoise_patterns: {joint: 1.0}")
    config = load_config(["--config", str(tmp_path / "top.yaml")])
    assert config["seed"] == 2 and config["model"]["patch_size"] == 1
    assert config["noise_patterns"] == {"joint": 1.0}


@pytest.mark.parametrize(
    "words, message",
    [
        (["--learning_rat", "1"], "did you mean 'learning_rate'"),
        (["--simulate.sise", "1"], "did you mean 'size'"),
        (["learning_rate"], "--key value"),
        (["--config", "none.yaml"], "existing YAML file"),
        (["--class_columns", "{culture: [a, b]}"], "class_columns must be among"),
    ],
)
def test_mistakes_are_named(words, message):
    with pytest.raises(ValueError, match=message):
        load_config(words)


def test_a_whole_number_in_scientific_notation_counts_steps():
    config = load_config(["--max_train_steps", "1e5", "--learning_rate", "2e-3"])
    assert config["max_train_steps"] == 100_000 and isinstance(config["max_train_steps"], int)
    assert config["learning_rate"] == 2e-3


def test_scientific_notation_in_a_file_is_a_number(tmp_path):
    (tmp_path / "own.yaml").write_text("learning_rate: 1e-4\nmax_train_steps: 2e4\nnoise_patterns: {joint: 5E-1}\n")
    config = load_config(["--config", str(tmp_path / "own.yaml")])
    assert (config["learning_rate"], config["noise_patterns"]) == (1e-4, {"joint": 0.5})
    assert config["max_train_steps"] == 20000 and isinstance(config["max_train_steps"], int)


def test_a_tracker_that_is_not_there_is_named_before_training(monkeypatch):
    with pytest.raises(ValueError, match="report_to must be null or tensorboard, got wandb"):
        load_config(["--report_to", "wandb"])
    monkeypatch.setattr("config.is_tensorboard_available", lambda: False)
    with pytest.raises(ValueError, match=r"pip install -e '.\[train\]'"):
        load_config(["--report_to", "tensorboard"])
