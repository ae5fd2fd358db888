"""Checks that a configuration can be trained and sampled, made before the first step."""

import math
from collections.abc import Mapping
from typing import Any

from diffusers.optimization import SchedulerType

from cellvid_diffusers.pipelines.strengths import Strengths
from validation import SAMPLERS, learned_patterns

SCHEDULES = ["linear_in_time", *(each.value for each in SchedulerType if each.value != "piecewise_constant")]
KNOWN = {
    "sampler": list(SAMPLERS),
    "lr_scheduler": SCHEDULES,
    "optimizer": ["adamw", "muon"],
    "loss_type": ["l1", "l2"],
}
"""Options with a fixed set of values."""
LEAST = {
    "num_frames": 1,
    "resolution": 1,
    "train_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "logging_steps": 1,
    "validation_clips": 1,
    "num_inference_steps": 1,
    "max_train_steps": 0,
    "lr_warmup_steps": 0,
    "dataloader_num_workers": 0,
    "checkpointing_steps": 0,
    "validation_steps": 0,
    "checkpoints_total_limit": 1,
}
"""Minimum of integer options."""
BETWEEN = {
    "learning_rate": (0, math.inf),
    "adam_weight_decay": (0, math.inf),
    "flow_weight": (0, math.inf),
    "snr_gamma": (0, math.inf),
    "max_minutes": (0, math.inf),
    "class_dropout": (0, 1),
    "ema_max_decay": (0, 1),
}
"""Minimum and maximum of real-valued options."""
POSITIVE = ("max_grad_norm", "level_shift")
"""Options above 0."""
OPTIONAL = ("checkpoints_total_limit", "snr_gamma", "max_minutes", "max_grad_norm")
"""Those of these options that may be null."""


def check_config(config: Mapping[str, Any]) -> None:
    """Raise `ValueError`, one line that states the rule first, for the first option that is out of range."""
    for name, known in KNOWN.items():
        if config[name] not in known:
            raise ValueError(f"{name} must be among {known}, got {config[name]!r}")
    for name, least in LEAST.items():
        _check_number(config, name, int, f"a whole number of at least {least}", least)
    for name, (least, most) in BETWEEN.items():
        _check_number(config, name, int | float, f"between {least} and {most}", least, most)
    for name in POSITIVE:
        _check_number(config, name, int | float, "above 0", math.ulp(0))
    _check_number(config, "seed", int, "a whole number from 0 to 2**32 - 1", 0, 2**32 - 1)
    if config["teacher_model_name_or_path"]:
        _check_number(config, "teacher_level", int, f"between 1 and {_highest(config)}", 1, _highest(config))
    if config["transform"].get("attempts", 1) < 1:
        raise ValueError(f"transform.attempts must be at least 1, got {config['transform']['attempts']}")
    _check_classes(config["class_columns"])
    _check_patterns(config)
    if config["timesteps"] is not None:
        _check_student(config)
    names = ("num_restarts", "residual_noise", "flow_strength", "motion_guidance_scale")
    Strengths(**{name: config[name] for name in names}).check(
        channels=3 if config["flow"] else 1,
        noise_patterns=learned_patterns(config),
        class_names=config["class_columns"],
        timesteps=config["timesteps"],
    )


def _highest(config: Mapping[str, Any]) -> int:
    return config["scheduler"]["num_train_timesteps"] - 1


def _check_number(
    config: Mapping[str, Any], name: str, kind: Any, rule: str, least: float, most: float = math.inf
) -> None:
    value = config[name]
    if value is None and name in OPTIONAL:
        return
    if isinstance(value, bool) or not isinstance(value, kind) or not least <= value <= most:
        raise ValueError(f"{name} must be {'null or ' if name in OPTIONAL else ''}{rule}, got {value!r}")


def _check_classes(columns: Mapping[str, Any]) -> None:
    for kind, names in columns.items():
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise ValueError(f"class_columns.{kind} must be a list of names, got {names!r}")
        if len(set(names)) < len(names):
            raise ValueError(f"class_columns.{kind} must name each class once, got {names}")


def _check_patterns(config: Mapping[str, Any]) -> None:
    patterns = config["noise_patterns"]
    shares = list(patterns.values())
    if not all(isinstance(share, int | float) and share >= 0 for share in shares) or not sum(shares) > 0:
        raise ValueError(f"noise_patterns must have shares of at least 0, one of them above, got {dict(patterns)}")
    if not learned_patterns(config):
        raise ValueError(f"noise_patterns must hold one that video alone can learn, got {dict(patterns)}")


def _check_student(config: Mapping[str, Any]) -> None:
    """Check a student: it has one noise level for all that is not given, and a batch needs a clip for each timestep."""
    count, batch = len(config["timesteps"]), config["train_batch_size"]
    if config["sampler"] != "ddim":
        raise ValueError(f"sampler must be 'ddim' with timesteps, got {config['sampler']!r}")
    if config["noise_patterns"].get("modalities", 0) > 0:
        raise ValueError("noise_patterns.modalities cannot be learned with timesteps: both modalities share a level")
    if batch < count:
        raise ValueError(f"train_batch_size must be at least {count} with {count} timesteps, got {batch}")
