"""Training configurations: a YAML file overrides the defaults, the command line overrides both.

    load_config(["--config", "training/configs/tiny.yaml", "--max_minutes", "9", "--model.layers_per_block", "2"])

Every key of `DEFAULTS` is an option of the same name; keys of nested groups are written with a dot. A file may name
another one in `base`, which is read first.
"""

import copy
import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from accelerate.utils import is_tensorboard_available

from cellvid_diffusers.pipelines.classes import KINDS

CONFIGS = Path(__file__).parent / "configs"

SCIENTIFIC = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")

DEFAULTS: dict[str, Any] = {
    # Data
    "dataset_name": None,  # folder or Hub id; without one a small culture is simulated (group "simulate")
    "simulate": {"num_videos": 24, "size": 64, "num_frames": 16, "density": "moderate", "maturity": "mature"},
    "num_frames": 10,
    "resolution": 64,
    "flow": True,  # train on video and flow; False: video only
    "scale_by_cell_type": False,  # normalise the video of each cell type separately to zero mean, unit variance
    "measure_density": False,  # label density by how crowded a clip is among those of its cell type (data.crowding)
    "normalization": "fixed",  # or "paper": each channel of each sample scaled to its own extremes
    "transform": {},  # options of data.ClipTransform
    "class_columns": {},  # label column (cell_type, density, maturity) -> class names
    "balance": None,  # label column whose classes are drawn equally often
    "preload": True,
    "dataloader_num_workers": 0,
    "clips_on_device": False,  # draw whole batches in the accelerator's memory (data.ClipBank), without waiting
    # Model and objective
    "model": {"type": "UNet3DModel"},  # and the arguments of that class
    "pretrained_model_name_or_path": None,  # pipeline whose weights to start from
    "scheduler": {
        "num_train_timesteps": 1000,
        "beta_schedule": "squaredcos_cap_v2",
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing",
    },
    "loss_type": "l2",
    "flow_weight": 1.0,
    "snr_gamma": None,
    "noise_patterns": {"joint": 1.0},
    "level_shift": 1.0,  # above 1, more training clips are noisy (training_utils.draw_noise_levels)
    "class_dropout": 0.1,
    "timesteps": None,  # distil the initial weights to steps at these alone (cellvid_diffusers.distillation)
    "teacher_steps": 8,  # steps of the teacher for each of the student's
    "teacher_model_name_or_path": None,  # pipeline whose predictions are the targets of the noisiest clips
    "teacher_level": 880,  # lowest noise level of those clips (cellvid_diffusers.distillation)
    # Optimisation
    "train_batch_size": 8,  # per process
    "gradient_accumulation_steps": 1,
    "optimizer": "adamw",  # or "muon" (muon.py)
    "learning_rate": 1.0e-3,
    "lr_scheduler": "constant_with_warmup",  # one of diffusers', or "linear_in_time": to 0 over max_minutes
    "lr_warmup_steps": 200,
    "adam_beta1": 0.9,
    "adam_beta2": 0.99,
    "adam_weight_decay": 0.01,
    "max_grad_norm": 1.0,  # null: gradients are not clipped
    "use_ema": True,
    "ema_max_decay": 0.9995,
    "mixed_precision": None,  # "no", "fp16" or "bf16" (where not emulated); null: the setting of accelerate launch
    "gradient_checkpointing": False,
    "compile": False,
    "seed": 0,
    # Duration and output
    "output_dir": "runs/smoke",
    "max_train_steps": 1000,
    "max_minutes": None,
    "logging_steps": 10,
    "checkpointing_steps": 500,  # 0: at the end only
    "checkpoints_total_limit": 2,  # null keeps them all
    "resume_from_checkpoint": None,  # a folder, or "latest"; an earlier one deletes the later ones
    "validation_steps": 500,  # 0: never
    "validation_clips": 4,
    "num_inference_steps": 25,
    "sampler": "dpmsolver++",  # of the saved pipeline (`validation.make_sampler`); "ddpm" is the paper's
    "num_restarts": 0,  # of the saved pipeline (CellVideoPipeline)
    "residual_noise": 0.0,  # likewise
    "flow_strength": 0.0,  # likewise
    "motion_guidance_scale": 1.0,  # likewise
    "report_to": None,  # "tensorboard"
    "push_to_hub": False,
    "hub_model_id": None,
    "hub_private_repo": False,
}

OPEN_GROUPS = ("transform", "class_columns", "model", "scheduler", "noise_patterns")
"""Groups whose keys are arguments of a class, which checks them itself."""

PATHS = (
    "dataset_name",
    "output_dir",
    "pretrained_model_name_or_path",
    "teacher_model_name_or_path",
    "resume_from_checkpoint",
    "hub_model_id",
)
"""Options that name a folder or a Hub repository."""

REPLACED_GROUPS = ("noise_patterns", "class_columns")
"""Groups that a later source replaces as a whole."""


def list_options() -> str:
    """List all options with their defaults, as YAML."""
    return f"Options and their defaults ({Path(__file__).name} says what they mean):\n\n" + yaml.safe_dump(
        DEFAULTS, sort_keys=False, default_flow_style=None, width=100
    )


def load_config(argv: Sequence[str]) -> dict[str, Any]:
    """Read `--config FILE` (by default the smoke configuration) and the other options.

    Raises:
        ValueError: If a key or a label column is unknown, an option is not `--key value`, a switch is neither
            true nor false, or `report_to` names a tracker that is unknown or not installed.
    """
    options = _parse(argv)
    config = copy.deepcopy(DEFAULTS)
    for source in _files(Path(options.pop("config", CONFIGS / "smoke.yaml"))):
        for key, value in source.items():
            _set(config, [key], value)
    for key, value in options.items():
        _set(config, key.split("."), value)
    if config["mixed_precision"] is False:  # YAML reads no as false
        config["mixed_precision"] = "no"
    for name, default in DEFAULTS.items():
        if isinstance(default, bool) and not isinstance(config[name], bool):
            hint = " (--hub_model_id takes a name)" if name == "push_to_hub" else ""
            raise ValueError(f"{name} must be true or false{hint}, got {config[name]}")
    if config["report_to"] not in (None, "tensorboard"):
        raise ValueError(f"report_to must be null or tensorboard, got {config['report_to']}")
    if config["report_to"] and not is_tensorboard_available():
        raise ValueError("report_to tensorboard needs TensorBoard: pip install -e '.[train]'")
    for name in ("validation_steps", "checkpointing_steps"):
        config[name] = config[name] or 0
    for name in PATHS:  # a folder may be called 8, or 2026-11-29
        config[name] = config[name] if config[name] is None or isinstance(config[name], bool) else str(config[name])
    config["class_columns"] = _in_order(config["class_columns"])
    return config


def _in_order(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Sort label columns into the order of the network's embeddings."""
    unknown = sorted(set(columns) - set(KINDS))
    if unknown:
        raise ValueError(f"class_columns must be among {KINDS}, got {unknown[0]!r}")
    return {kind: columns[kind] for kind in KINDS if kind in columns}


def _parse(argv: Sequence[str]) -> dict[str, Any]:
    """Parse `--key value`, `--key=value` and `--flag`, with values read as YAML."""
    options: dict[str, Any] = {}
    words = list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            raise ValueError(f"options must look like --key value, got {word!r}")
        key, equals, value = word[2:].partition("=")
        if not equals:
            value = words.pop(0) if words and not words[0].startswith("--") else "true"
        options[key] = value if key == "config" else _read_value(value)
    return options


def _read_value(text: str) -> Any:
    """Read YAML, including numbers that YAML 1.1 takes for strings (1e-3); whole ones become integers (1e5 steps)."""
    return _with_numbers(yaml.safe_load(text))


def _with_numbers(value: Any) -> Any:
    """Convert strings in scientific notation to numbers, in nested values too."""
    if isinstance(value, dict):
        return {key: _with_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_numbers(each) for each in value]
    if isinstance(value, str) and SCIENTIFIC.fullmatch(value):
        number = float(value)
        return int(number) if number.is_integer() else number
    return value


def _files(path: Path) -> list[dict[str, Any]]:
    """Content of the file, preceded by that of the files it is based on."""
    if not path.is_file():
        raise ValueError(f"--config must be an existing YAML file, got {path}")
    content = _read_value(path.read_text()) or {}
    base = content.pop("base", None)
    return [*(_files(path.parent / base) if base else []), content]


def _set(config: dict[str, Any], path: list[str], value: Any) -> None:
    """Set `config[path]`, merging groups."""
    key, *rest = path
    if key not in config:
        near = difflib.get_close_matches(key, config, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown configuration key {key!r}{hint}")
    group = config[key]
    if not isinstance(group, dict):
        if rest:
            raise ValueError(f"{key} must be given as --{key} VALUE, got --{key}.{'.'.join(rest)}")
        config[key] = value
        return
    new = {".".join(rest): value} if rest else value or {}
    if not isinstance(new, dict):
        raise ValueError(f"{key} must be a group of keys and values, got {value!r}")
    if key in REPLACED_GROUPS and not rest:
        group.clear()
    for name, each in new.items():
        if key in OPEN_GROUPS:
            group[name] = each
        else:
            _set(group, [name], each)
