"""Building what a configuration describes: clips, network, teacher, optimiser and learning rate schedule."""

import copy
import hashlib
import json
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast
from diffusers import DDPMScheduler
from diffusers.optimization import get_scheduler
from torch.optim.lr_scheduler import LRScheduler

from cellvid_diffusers.data import ClipDataset, Scales, load_patches, write_simulated
from cellvid_diffusers.distillation import Distillation, NoisyTeacher
from cellvid_diffusers.models import MotionUNet3DModel, UNet3DModel
from cellvid_diffusers.pipelines import CellVideoPipeline
from cellvid_diffusers.training_utils import DiffusionObjective
from muon import Muon

MODELS = {"UNet3DModel": UNet3DModel, "MotionUNet3DModel": MotionUNet3DModel}


def load_clips(config: dict[str, Any], accelerator: Accelerator) -> ClipDataset:
    """Load the training split as clips; simulate a culture if no data set is named.

    Raises:
        ValueError: If no row has any of the classes of a label column, or the teacher knows other cell types.
    """
    name = config["dataset_name"]
    if name is None:
        options = {"seed": config["seed"], **config["simulate"]}
        digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:8]
        name = Path(config["output_dir"]) / f"simulated-{digest}"  # other options make another culture
        if accelerator.is_main_process and not name.exists():
            write_simulated(name, **options)
        accelerator.wait_for_everyone()
    scales = scales_of_teacher(config)
    if isinstance(scales, dict) and sorted(config["class_columns"].get("cell_type", ())) != sorted(scales):
        raise ValueError(
            f"a teacher must know the classes of class_columns, this one has the cell types {sorted(scales)}, "
            f"got {config['class_columns'].get('cell_type')}"
        )
    clips = ClipDataset(
        load_patches(name, "train"),
        num_frames=config["num_frames"],
        size=config["resolution"],
        transform=config["transform"],
        scales=scales,
        scale_by_cell_type=config["scale_by_cell_type"] and not isinstance(scales, Scales),
        measure_density=config["measure_density"],
        normalization=config["normalization"],
        flow=config["flow"],
        class_columns=config["class_columns"],
        seed=config["seed"],
        balance=config["balance"],
        preload=config["preload"],
    )
    for column, shares in clips.class_weights().items():
        if not any(shares):
            names = config["class_columns"][column]
            raise ValueError(f"class_columns must name classes of the rows, got {names}: no row has such a {column}")
    return clips


def scales_of_teacher(config: dict[str, Any]) -> Scales | dict[str, Scales] | None:
    """The scales of the teacher's clips, which a student must share; `None` without a teacher."""
    teacher = config["teacher_model_name_or_path"] or (config["timesteps"] and config["pretrained_model_name_or_path"])
    if not teacher:
        return None
    known = CellVideoPipeline.load_config(teacher)
    if known.get("timesteps"):
        raise ValueError(f"a teacher must know all noise levels, {teacher} was distilled to {known['timesteps']}")
    if known.get("flow_clip") is None:
        raise ValueError(f"a teacher must say the flow_clip that it was trained with, {teacher} does not")
    mean, std, flow = known["video_mean"], known["video_std"], (known["flow_scale"], known["flow_clip"])
    if isinstance(mean, dict):
        return {name: Scales(mean[name], std[name], *flow) for name in mean}
    return Scales(mean, std, *flow)


def build_model(config: dict[str, Any]) -> UNet3DModel:
    """Build the configured model, and load the weights to start from, if any are named.

    Raises:
        ValueError: If the type of model is unknown, its channels do not fit `flow`, or the weights have another
            configuration.
    """
    arguments = dict(config["model"])
    kind = arguments.pop("type")
    if kind not in MODELS:
        raise ValueError(f"model.type must be among {list(MODELS)}, got {kind!r}")
    model_class = MODELS[kind]
    channels = 3 if config["flow"] else 1
    arguments = {
        "sample_size": config["resolution"],
        "in_channels": channels,
        "out_channels": channels,
        **arguments,
    }
    if config["class_columns"]:
        arguments["num_class_embeds"] = [len(names) for names in config["class_columns"].values()]
    if (arguments["in_channels"], arguments["out_channels"]) != (channels, channels):
        raise ValueError(
            f"model.in_channels and model.out_channels must be {channels} with flow {str(config['flow']).lower()}, "
            f"got {arguments['in_channels']} and {arguments['out_channels']}"
        )
    model = model_class(**arguments)
    if config["pretrained_model_name_or_path"]:
        start = CellVideoPipeline.from_pretrained(config["pretrained_model_name_or_path"])
        check_schedule(config["pretrained_model_name_or_path"], start.scheduler.config, config["scheduler"])
        model.load_weights_from(start.unet, *shared_labels(config["class_columns"], start.config.class_names or {}))
    return model


def shared_labels(
    columns: dict[str, list[str]], known: dict[str, list[str]]
) -> tuple[list[int | None], list[list[int | None]]]:
    """For each label column, the index of the checkpoint's kind of label of that name, and the index of each class
    among that kind's; `None` for new ones."""

    def index(name: str, names: Collection[str]) -> int | None:
        return list(names).index(name) if name in names else None

    kinds = [index(kind, known) for kind in columns]
    return kinds, [[index(name, known.get(kind, ())) for name in names] for kind, names in columns.items()]


def build_teacher(
    model: UNet3DModel, objective: DiffusionObjective, config: dict[str, Any], device: torch.device
) -> Distillation | NoisyTeacher | None:
    """Build the model's teacher: the weights that it starts from for few `timesteps`, or other weights at high noise.

    Raises:
        ValueError: If `timesteps` has no weights to start from, or they do not predict v; if the teacher knows other
            classes, was trained to predict something else, or at other noise levels; or if both teachers are requested.
    """
    other, start = config["teacher_model_name_or_path"], config["pretrained_model_name_or_path"]
    columns = config["class_columns"]
    if config["timesteps"] is None:
        if other is None:
            return None
        pipe = CellVideoPipeline.from_pretrained(other)
        if (pipe.config.class_names or {}) != columns:
            raise ValueError(f"a teacher must know the classes of class_columns, {other} has {pipe.config.class_names}")
        check_schedule(other, pipe.scheduler.config, config["scheduler"])
        return NoisyTeacher(pipe.unet.requires_grad_(False).eval().to(device), config["teacher_level"])
    if other is not None:
        raise ValueError("timesteps are learned from the weights started from, not from teacher_model_name_or_path")
    if not start or objective.prediction_type != "v_prediction":
        raise ValueError("timesteps needs a teacher: pretrained_model_name_or_path must name weights that predict v")
    known = CellVideoPipeline.load_config(start).get("class_names") or {}
    if any(known.get(kind) != names for kind, names in columns.items()):
        raise ValueError(f"a teacher must know the classes of class_columns, {start} has {known}")
    check_schedule(start, DDPMScheduler.load_config(start, subfolder="scheduler"), config["scheduler"])
    teacher = copy.deepcopy(model).requires_grad_(False).eval().to(device)
    network = torch.compile(teacher) if config["compile"] else teacher
    return Distillation(network, objective.alphas_cumprod, config["timesteps"], config["teacher_steps"])


def check_schedule(name: str, teacher: Mapping[str, Any], student: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless predictions and noise levels mean the same for the scheduler of other weights as for
    this run's."""
    for key in ("prediction_type", "num_train_timesteps", "beta_schedule"):
        if teacher[key] != student[key]:
            raise ValueError(
                f"weights to learn from must have this run's {key} {student[key]}, {name} has {teacher[key]}"
            )
    theirs, own = (DDPMScheduler.from_config(dict(each)).alphas_cumprod for each in (teacher, student))
    if not torch.allclose(theirs, own):
        raise ValueError(f"weights must have been trained at this run's noise levels, those of {name} were not")


def build_optimizer(model: torch.nn.Module, config: dict[str, Any]) -> torch.optim.Optimizer:
    """Build AdamW, or `muon.Muon`, which is based on it."""
    options = {
        "lr": config["learning_rate"],
        "betas": (config["adam_beta1"], config["adam_beta2"]),
        "weight_decay": config["adam_weight_decay"],
    }
    if config["optimizer"] == "muon":
        return Muon(model.named_parameters(), **options)
    return torch.optim.AdamW(model.parameters(), fused=True, **options)


def main_clock() -> float:
    """Seconds on the clock of the main process, the same value in all processes."""
    state = PartialState()
    if state.num_processes == 1:
        return time.monotonic()
    return float(broadcast(torch.tensor(time.monotonic(), dtype=torch.float64, device=state.device)))


class LinearInTime(LRScheduler):
    """Linear decay to 0 over `minutes` of time, with a linear warm-up over the first `warmup` steps.

    A run that was interrupted continues from the rate it had reached, and decays to 0 over another `minutes`; one that
    had finished starts over. All processes use the main process's clock: with different learning rates their weights
    would diverge.
    """

    ENDED = 0.02
    """Share of the learning rate below which a run counts as finished: its last step is slightly before the end."""

    def __init__(self, optimizer: torch.optim.Optimizer, minutes: float, warmup: int) -> None:
        self.minutes, self.warmup, self.started = minutes, warmup, main_clock()
        self.first = self.share = 1.0
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        """Learning rate of each group of parameters."""
        passed = (main_clock() - self.started) / (60 * self.minutes)
        self.share = self.first * max(0.0, 1 - passed)
        return [rate * min(1, (self.last_epoch + 1) / (self.warmup + 1)) * self.share for rate in self.base_lrs]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where another run stopped, with this run's `minutes` and `warmup`."""
        share = state_dict["share"]
        own = {"minutes": self.minutes, "warmup": self.warmup, "started": main_clock()}
        super().load_state_dict(state_dict | own | {"first": share if share > self.ENDED else 1.0})


def build_lr_scheduler(optimizer: torch.optim.Optimizer, config: dict[str, Any]) -> LRScheduler:
    """Build one of diffusers' schedules, or `LinearInTime` over `max_minutes`."""
    warmup = config["lr_warmup_steps"]
    if config["lr_scheduler"] != "linear_in_time":
        steps = config["max_train_steps"]
        return get_scheduler(config["lr_scheduler"], optimizer, num_warmup_steps=warmup, num_training_steps=steps)
    if not config["max_minutes"]:
        raise ValueError(f"lr_scheduler linear_in_time needs max_minutes, got {config['max_minutes']}")
    return LinearInTime(optimizer, config["max_minutes"], warmup)
