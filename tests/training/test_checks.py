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
        ("--level_shift -1", "level_shift must be above 0, got -1"),
        ("--level_shift abc", "level_shift must be above 0, got 'abc'"),
        ("--lr_warmup_steps -5", "lr_warmup_steps must be a whole number of at least 0, got -5"),
        ("--train_batch_size true", "train_batch_size must be a whole number of at least 1, got True"),
        ("--transform.attempts 0", "transform.attempts must be at least 1, got 0"),
        ("--noise_patterns {}", "noise_patterns must have shares of at least 0, one of them above, got {}"),
        ("--noise_patterns {joint:-1}", "noise_patterns must have shares"),
        ("--class_columns {density:moderate}", "class_columns.density must be a list of names, got 'moderate'"),
        ("--class_columns {density:[a,a]}", "class_columns.density must name each class once, got ['a', 'a']"),
        ("--flow_strength 0.99 --noise_patterns {joint:1}", "flow_strength must be 0: this checkpoint was trained"),
        ("--flow false --noise_patterns {joint:1,modalities:1} --flow_strength 0.9", "flow_strength must be 0"),
        ("--motion_guidance_scale .nan", "motion_guidance_scale must be finite, got nan"),
        ("--flow false --noise_patterns {video_to_flow:1}", "noise_patterns must hold one that video alone can learn"),
        (
            "--checkpoints_total_limit -1",
            "checkpoints_total_limit must be null or a whole number of at least 1, got -1",
        ),
        ("--max_minutes -1", "max_minutes must be null or between 0 and inf, got -1"),
        ("--max_grad_norm 0", "max_grad_norm must be null or above 0, got 0"),
        ("--learning_rate abc", "learning_rate must be between 0 and inf, got 'abc'"),
        ("--class_dropout 7", "class_dropout must be between 0 and 1, got 7"),
        ("--ema_max_decay .nan", "ema_max_decay must be between 0 and 1, got nan"),
        (
            "--teacher_level 1000 --teacher_model_name_or_path teacher",
            "teacher_level must be between 1 and 999, got 1000",
        ),
        ("--optimizer sgd", "optimizer must be among ['adamw', 'muon'], got 'sgd'"),
        ("--loss_type l3", "loss_type must be among ['l1', 'l2'], got 'l3'"),
        ("--timesteps [999,909]", "sampler must be 'ddim' with timesteps, got 'dpmsolver++'"),
        (
            "--timesteps [999,909] --sampler ddim --noise_patterns {joint:1,modalities:0.1}",
            "noise_patterns.modalities cannot be learned with timesteps",
        ),
        (
            "--timesteps [999,909,800] --sampler ddim --train_batch_size 2",
            "train_batch_size must be at least 3 with 3 timesteps, got 2",
        ),
        (
            "--timesteps [999,909] --sampler ddim --residual_noise 0.1",
            "residual_noise must be 0: this checkpoint was distilled to [999, 909]",
        ),
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
