"""Whether a configuration can be trained and sampled, told before the first step."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from diffusers.optimization import SchedulerType

from cellvid_diffusers.pipelines.arguments import check_strengths
from validation import SAMPLERS, learned_patterns

SCHEDULES = ["linear_in_time", *(each.value for each in SchedulerType if each.value != "piecewise_constant")]
LEAST = {
    "num_frames": 1,
    "resolution": 1,
    "train_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "logging_steps": 1,
    "validation_clips": 1,
    "num_inference_steps": 1,
    "max_train_steps": 0,
    "checkpointing_steps": 0,
    "validation_steps": 0,
}
"""Least value of options that count."""


def check_config(config: Mapping[str, Any]) -> None:
    """A `ValueError` in one line, rule first, for the first option that is out of range."""
    for name, least in LEAST.items():
        if not isinstance(config[name], int) or config[name] < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {config[name]}")
    for name, known in (("sampler", SAMPLERS), ("lr_scheduler", SCHEDULES)):
        if config[name] not in known:
            raise ValueError(f"{name} must be among {list(known)}, got {config[name]!r}")
    if not config["level_shift"] > 0:
        raise ValueError(f"level_shift must be positive, got {config['level_shift']}")
    if config["transform"].get("attempts", 1) < 1:
        raise ValueError(f"transform.attempts must be at least 1, got {config['transform']['attempts']}")
    _check_classes(config["class_columns"])
    _check_patterns(config["noise_patterns"])
    strengths = ("num_restarts", "residual_noise", "flow_strength", "motion_guidance_scale")
    check_strengths(
        SimpleNamespace(noise_patterns=learned_patterns(config), class_names=config["class_columns"]),
        channels=3 if config["flow"] else 1,
        restart_strength=1.0,
        guidance_scale=1.0,
        **{name: config[name] for name in strengths},
    )


def _check_classes(columns: Mapping[str, Any]) -> None:
    for kind, names in columns.items():
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"class_columns.{kind} must be a list of names, got {names!r}")
        if len(set(names)) < len(names):
            raise ValueError(f"class_columns.{kind} must name each class once, got {names}")


def _check_patterns(patterns: Mapping[str, Any]) -> None:
    shares = list(patterns.values())
    if not all(isinstance(share, int | float) and share >= 0 for share in shares) or not sum(shares) > 0:
        raise ValueError(f"noise_patterns must have shares of at least 0, one of them above, got {dict(patterns)}")
