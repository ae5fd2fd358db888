"""What a run refuses before its first step, instead of after thousands."""

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "training"))

from checks import check_config
from config import CONFIGS, load_config
from validation import learned_patterns


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_passes(path):
    if path.stem.startswith("recordings"):
        pytest.skip("a list of recordings, not a training configuration")
    check_config(load_config(["--config", str(path)]))


@pytest.mark.parametrize(
    "options, message",
    [
        ("--sampler dpmsolver", "sampler must be among ['dpmsolver++', "),
        ("--lr_scheduler piecewise_constant", "lr_scheduler must be among ['linear_in_time', "),
        ("--validation_clips 0", "validation_clips must be a whole number of at least 1, got 0"),
        ("--logging_steps 0", "logging_steps must be a whole number of at least 1, got 0"),
        ("--level_shift -1", "level_shift must be positive, got -1"),
        ("--transform.attempts 0", "transform.attempts must be at least 1, got 0"),
        ("--noise_patterns {}", "noise_patterns must have shares of at least 0, one of them above, got {}"),
        ("--noise_patterns {joint:-1}", "noise_patterns must have shares"),
        ("--class_columns {density:moderate}", "class_columns.density must be a list of names, got 'moderate'"),
        ("--class_columns {density:[a,a]}", "class_columns.density must name each class once, got ['a', 'a']"),
        ("--flow_strength 0.99 --noise_patterns {joint:1}", "flow_strength must be 0: this checkpoint was trained"),
        ("--flow false --noise_patterns {modalities:1} --flow_strength 0.9", "flow_strength must be 0"),
        ("--motion_guidance_scale .nan", "motion_guidance_scale must be finite, got nan"),
    ],
)
def test_what_cannot_be_trained_or_sampled_is_named(options, message):
    words = [word.replace(":", ": ") for word in options.split()]
    with pytest.raises(ValueError, match=re.escape(message)):
        check_config(load_config(words))


def test_samples_and_checkpoints_can_be_left_out():
    config = load_config(["--validation_steps", "null", "--checkpointing_steps", "0"])
    check_config(config)
    assert config["validation_steps"] == config["checkpointing_steps"] == 0


def test_patterns_that_are_never_drawn_are_not_learned():
    options = ["--noise_patterns", "{joint: 1, prediction: 0, modalities: 0.1, video_to_flow: 0.1}"]
    assert learned_patterns(load_config(options)) == ["joint", "modalities", "video_to_flow"]
    assert learned_patterns(load_config([*options, "--flow", "false"])) == ["joint"]


def test_folders_keep_their_names():
    config = load_config(["--output_dir", "2026-11-29", "--resume_from_checkpoint", "8"])
    assert config["output_dir"] == "2026-11-29" and config["resume_from_checkpoint"] == "8"
    assert load_config(["--resume_from_checkpoint"])["resume_from_checkpoint"] is True
