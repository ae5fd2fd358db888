"""Training configurations: a YAML file over the defaults, the command line over both.

    load_config(["--config", "training/configs/tiny.yaml", "--max_minutes", "9", "--model.layers_per_block", "2"])

Every key of `DEFAULTS` is an option of the same name; keys of the nested groups are reached with a dot. A file may name
another in `base`, which is read first.
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
    # What is trained on
    "dataset_name": None,  # folder or Hub id; without one a small culture is simulated (group "simulate")
    "simulate": {"num_videos": 24, "size": 64, "num_frames": 16, "density": "moderate", "maturity": "mature"},
    "num_frames": 10,
    "resolution": 64,
    "flow": True,  # train on video and flow; False: video only
    "scale_by_cell_type": False,  # video of each cell type to zero mean and unit variance of its own
    "measure_density": False,  # label density by how crowded a clip is among those of its cell type (data.crowding)
    "normalization": "fixed",  # or "paper": each channel of each sample to its own extremes
    "transform": {},  # options of data.ClipTransform
    "class_columns": {},  # label column (cell_type, density, maturity) -> class names
    "balance": None,  # label column whose classes are drawn equally often
    "preload": True,
    "dataloader_num_workers": 0,
    "clips_on_device": False,  # draw whole batches in the accelerator's memory (data.ClipBank), which never waits
    # What is trained
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
    "timesteps": None,  # learn to step at these alone, as far as the weights started from get in many steps
    "teacher_steps": 8,  # (cellvid_diffusers.distillation): so many for each of the student's
    "teacher_model_name_or_path": None,  # pipeline whose predictions are the targets of clips whose noise level is
    "teacher_level": 880,  # so high or higher (cellvid_diffusers.distillation)
    # How
    "train_batch_size": 8,  # of each process
    "gradient_accumulation_steps": 1,
    "optimizer": "adamw",  # or "muon" (muon.py)
    "learning_rate": 1.0e-3,
    "lr_scheduler": "constant_with_warmup",  # one of diffusers', or "linear_in_time": to 0 as max_minutes pass
    "lr_warmup_steps": 200,
    "adam_beta1": 0.9,
    "adam_beta2": 0.99,
    "adam_weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "use_ema": True,
    "ema_max_decay": 0.9995,
    "mixed_precision": None,  # "no", "fp16" or "bf16"; null: as accelerate was launched
    "gradient_checkpointing": False,
    "compile": False,
    "seed": 0,
    # How long, and what is kept
    "output_dir": "runs/smoke",
    "max_train_steps": 1000,
    "max_minutes": None,
    "logging_steps": 10,
    "checkpointing_steps": 500,  # 0: at the end only
    "checkpoints_total_limit": 2,  # null keeps them all
    "resume_from_checkpoint": None,  # a folder, or "latest"; one from before drops those after it
    "validation_steps": 500,  # 0: never
    "validation_clips": 4,
    "num_inference_steps": 25,
    "sampler": "dpmsolver++",  # of the pipeline that is left (`validation.make_sampler`); "ddpm" is the paper's
    "num_restarts": 0,  # of the pipeline that is left (CellVideoPipeline)
    "residual_noise": 0.0,  # likewise
    "flow_strength": 0.0,  # likewise
    "motion_guidance_scale": 1.0,  # likewise
    "report_to": None,  # "tensorboard"
    "push_to_hub": False,
    "hub_model_id": None,
}

OPEN_GROUPS = ("transform", "class_columns", "model", "scheduler", "noise_patterns")
"""Groups whose keys belong to the class that takes them, which checks them itself."""

PATHS = (
    "dataset_name",
    "output_dir",
    "pretrained_model_name_or_path",
    "teacher_model_name_or_path",
    "resume_from_checkpoint",
    "hub_model_id",
)
"""Options that name a folder, or something on the Hub."""

REPLACED_GROUPS = ("noise_patterns", "class_columns")
"""Groups that a later source replaces whole."""


def list_options() -> str:
    """All options with their defaults, as YAML."""
    return f"Options and their defaults ({Path(__file__).name} says what they mean):\n\n" + yaml.safe_dump(
        DEFAULTS, sort_keys=False, default_flow_style=None, width=100
    )


def load_config(argv: Sequence[str]) -> dict[str, Any]:
    """Read `--config FILE` (the smoke configuration without it) and the other options.

    Raises:
        ValueError: If a key or a label column is unknown, an option has no value, `push_to_hub` has a name, or
            `report_to` a tracker that is not there.
    """
    options = _parse(argv)
    config = copy.deepcopy(DEFAULTS)
    for source in _files(Path(options.pop("config", CONFIGS / "smoke.yaml"))):
        for key, value in source.items():
            _set(config, [key], value)
    for key, value in options.items():
        _set(config, key.split("."), value)
    if config["mixed_precision"] is False:  # YAML's reading of no
        config["mixed_precision"] = "no"
    if not isinstance(config["push_to_hub"], bool):
        raise ValueError(
            f"push_to_hub must be true or false (--hub_model_id takes a name), got {config['push_to_hub']}"
        )
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
    """Label columns in the order of the network's embeddings."""
    unknown = sorted(set(columns) - set(KINDS))
    if unknown:
        raise ValueError(f"class_columns must be among {KINDS}, got {unknown[0]!r}")
    return {kind: columns[kind] for kind in KINDS if kind in columns}


def _parse(argv: Sequence[str]) -> dict[str, Any]:
    """`--key value`, `--key=value` and `--flag` -> values read as YAML."""
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
    """YAML, with the scientific notation that YAML 1.1 takes for a string (1e-3), whole numbers as such (1e5 steps)."""
    return _with_numbers(yaml.safe_load(text))


def _with_numbers(value: Any) -> Any:
    """What was read, strings that are numbers in scientific notation made those numbers."""
    if isinstance(value, dict):
        return {key: _with_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_numbers(each) for each in value]
    if isinstance(value, str) and SCIENTIFIC.fullmatch(value):
        number = float(value)
        return int(number) if number.is_integer() else number
    return value


def _files(path: Path) -> list[dict[str, Any]]:
    """The file's content, after that of the files it is based on."""
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
