"""Train a model of cell video and flow: `accelerate launch training/train.py --config training/configs/tiny.yaml`.

Every key of the configuration can be given on the command line (see `config.py`). `output_dir` ends up as a pipeline
for `CellVideoPipeline.from_pretrained`, with `train_log.jsonl`, samples and resumable checkpoints beside it. The clips
and the noise of a step depend on the seed, the process and the step alone, so a resumed run goes on as if it had never
stopped.
"""

import copy
import json
import math
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers import DDPMScheduler
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from muon import Muon
from torch.utils.data import DataLoader
from tqdm import tqdm

from cellvid_diffusers.data import ClipBank, ClipDataset, load_patches, write_simulated
from cellvid_diffusers.distillation import Distillation
from cellvid_diffusers.io.atomic import replacing
from cellvid_diffusers.models import MotionUNet3DModel, UNet3DModel
from cellvid_diffusers.pipelines import CellVideoPipeline
from cellvid_diffusers.training_utils import (
    DiffusionObjective,
    draw_noise_levels,
    drop_labels,
    keep_freed_memory,
)
from config import load_config
from validation import make_pipeline, write_samples

MODELS = {"UNet3DModel": UNet3DModel, "MotionUNet3DModel": MotionUNet3DModel}


class Progress:
    """Optimiser steps, clips and seconds so far; saved with each checkpoint."""

    def __init__(self) -> None:
        self.step, self.clips, self.seconds = 0, 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


def load_clips(config: dict[str, Any], accelerator: Accelerator) -> ClipDataset:
    """The training split as clips; a simulated culture where no data set is named."""
    name = config["dataset_name"]
    if name is None:
        name = Path(config["output_dir"]) / "simulated"
        if accelerator.is_main_process and not name.exists():
            write_simulated(name, seed=config["seed"], **config["simulate"])
        accelerator.wait_for_everyone()
    return ClipDataset(
        load_patches(name, "train"),
        num_frames=config["num_frames"],
        size=config["resolution"],
        transform=config["transform"],
        scale_by_cell_type=config["scale_by_cell_type"],
        measure_density=config["measure_density"],
        normalization=config["normalization"],
        flow=config["flow"],
        class_columns=config["class_columns"],
        seed=config["seed"],
        balance=config["balance"],
        preload=config["preload"],
    )


def build_model(config: dict[str, Any]) -> UNet3DModel:
    """The configured model, with the weights to start from where some are named."""
    arguments = dict(config["model"])
    model_class = MODELS[arguments.pop("type")]
    channels = 3 if config["flow"] else 1
    arguments = {
        "sample_size": config["resolution"],
        "in_channels": channels,
        "out_channels": channels,
        **arguments,
    }
    if config["class_columns"]:
        arguments["num_class_embeds"] = [len(names) for names in config["class_columns"].values()]
    model = model_class(**arguments)
    if config["pretrained_model_name_or_path"]:
        start = CellVideoPipeline.from_pretrained(config["pretrained_model_name_or_path"])
        model.load_weights_from(start.unet, same_kinds(config["class_columns"], start.config.class_names or {}))
    return model


def same_kinds(columns: dict[str, list[str]], known: dict[str, list[str]]) -> list[int | None]:
    """For each label column, which of a checkpoint's kinds of label has the same classes."""
    return [list(known).index(kind) if known.get(kind) == names else None for kind, names in columns.items()]


def build_distillation(
    model: UNet3DModel, objective: DiffusionObjective, config: dict[str, Any], device: torch.device
) -> Distillation | None:
    """What teaches a student of few timesteps: the weights that it starts from. None without `timesteps`.

    Raises:
        ValueError: If there are no such weights, or they do not predict v.
    """
    if config["timesteps"] is None:
        return None
    if not config["pretrained_model_name_or_path"] or objective.prediction_type != "v_prediction":
        raise ValueError("timesteps needs a teacher: pretrained_model_name_or_path must name weights that predict v")
    teacher = copy.deepcopy(model).requires_grad_(False).eval().to(device)
    network = torch.compile(teacher) if config["compile"] else teacher
    return Distillation(network, objective.alphas_cumprod, config["timesteps"], config["teacher_steps"])


def find_checkpoint(config: dict[str, Any]) -> Path | None:
    """The checkpoint to resume from.

    Raises:
        ValueError: If a new run would mix its checkpoints with those of another.
    """
    asked = config["resume_from_checkpoint"]
    found = Path(config["output_dir"]).glob("checkpoint-*")
    latest = max(found, key=lambda path: int(path.name.split("-")[1]), default=None)
    if not asked and latest:
        raise ValueError(
            f"output_dir must hold no checkpoints of another run, got {latest.name} in {config['output_dir']}: "
            "go on with --resume_from_checkpoint latest, or choose another --output_dir"
        )
    return Path(asked) if asked and asked != "latest" else latest


def drop_later_lines(log: Path, step: int) -> None:
    """Drop what a stopped run logged after its checkpoint of this step, down to a line half written."""
    if log.exists():
        whole = log.read_text().split("\n")[:-1]
        with replacing(log) as shorter:
            shorter.write_text("".join(f"{line}\n" for line in whole if json.loads(line)["step"] <= step))


def save_checkpoint(accelerator: Accelerator, config: dict[str, Any], step: int) -> None:
    """Write `checkpoint-STEP` whole or not at all, and drop the oldest beyond the limit."""
    folder = Path(config["output_dir"])
    unfinished = folder / "checkpoint.unfinished"
    accelerator.save_state(str(unfinished))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(folder / f"checkpoint-{step}", ignore_errors=True)
        unfinished.rename(folder / f"checkpoint-{step}")
        kept = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
        for old in kept[: -config["checkpoints_total_limit"]]:
            shutil.rmtree(old)
    accelerator.wait_for_everyone()  # no process begins the next one under the same name before this one has its own


def build_optimizer(model: torch.nn.Module, config: dict[str, Any]) -> torch.optim.Optimizer:
    """AdamW, or `muon.Muon` on top of it."""
    options = {
        "lr": config["learning_rate"],
        "betas": (config["adam_beta1"], config["adam_beta2"]),
        "weight_decay": config["adam_weight_decay"],
    }
    if config["optimizer"] == "adamw":
        return torch.optim.AdamW(model.parameters(), fused=True, **options)
    if config["optimizer"] == "muon":
        return Muon(model.named_parameters(), **options)
    raise ValueError(f"optimizer must be 'adamw' or 'muon', got {config['optimizer']!r}")


def build_lr_scheduler(
    optimizer: torch.optim.Optimizer, config: dict[str, Any]
) -> torch.optim.lr_scheduler.LRScheduler:
    """One of diffusers' schedules, or a straight line to 0 as `max_minutes` pass, after the warm-up steps."""
    warmup = config["lr_warmup_steps"]
    if config["lr_scheduler"] != "linear_in_time":
        steps = config["max_train_steps"]
        return get_scheduler(config["lr_scheduler"], optimizer, num_warmup_steps=warmup, num_training_steps=steps)
    if not config["max_minutes"]:
        raise ValueError(f"lr_scheduler linear_in_time needs max_minutes, got {config['max_minutes']}")
    started = time.monotonic()

    def share(step: int) -> float:
        passed = (time.monotonic() - started) / (60 * config["max_minutes"])
        return min(1, (step + 1) / (warmup + 1)) * max(0, 1 - passed)

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)


def batches(
    accelerator: Accelerator, config: dict[str, Any], clips: ClipDataset, first: int
) -> Iterator[dict[str, Any]]:
    """Batches of this process on its device, from clip number `first` on."""
    size, processes = config["train_batch_size"], accelerator.num_processes
    last = config["max_train_steps"] * size * processes * config["gradient_accumulation_steps"]
    if config["clips_on_device"]:
        bank = ClipBank(clips, accelerator.device)
        for position in range(first + accelerator.process_index * size, last, processes * size):
            seed = hash((config["seed"], position)) % 2**62
            yield bank.draw(size, torch.Generator(accelerator.device).manual_seed(seed))
        return
    workers = config["dataloader_num_workers"]
    loader = DataLoader(clips, size, sampler=range(first, last), num_workers=workers, drop_last=True)
    yield from accelerator.prepare(loader)


def main() -> None:
    """Read the configuration, train, and leave the processes together."""
    config = load_config(sys.argv[1:])
    keep_freed_memory()
    torch.backends.cudnn.benchmark = True  # every step has the same shapes
    accelerator = Accelerator(
        mixed_precision=config["mixed_precision"],
        gradient_accumulation_steps=config["gradient_accumulation_steps"],
        log_with=config["report_to"],
        project_dir=config["output_dir"],
    )
    run(accelerator, config)
    # The distributed model goes before its process group: the last owner of a group joins its threads, and only the
    # group's own destructor lets go of the interpreter's lock for it, which those threads may be waiting for.
    accelerator.free_memory()
    accelerator.end_training()


def run(accelerator: Accelerator, config: dict[str, Any]) -> None:
    """Train, and leave a pipeline in `output_dir`."""
    folder = Path(config["output_dir"])
    checkpoint = find_checkpoint(config)
    folder.mkdir(parents=True, exist_ok=True)
    set_seed(config["seed"])
    if config["report_to"]:
        accelerator.init_trackers("tensorboard")

    clips = load_clips(config, accelerator)
    model = build_model(config)
    if config["gradient_checkpointing"]:
        model.enable_gradient_checkpointing()
    noise_scheduler = DDPMScheduler(clip_sample=False, **config["scheduler"])
    objective = DiffusionObjective(
        noise_scheduler.alphas_cumprod.to(accelerator.device),
        noise_scheduler.config.prediction_type,
        config["loss_type"],
        config["flow_weight"],
        config["snr_gamma"],
    )
    optimizer = build_optimizer(model, config)
    distillation = build_distillation(model, objective, config, accelerator.device)
    lr_scheduler = build_lr_scheduler(optimizer, config)
    progress = Progress()
    ema = EMAModel(
        model.parameters(), decay=config["ema_max_decay"], use_ema_warmup=True, foreach=True, model_cls=type(model)
    )
    ema.to(accelerator.device)
    accelerator.register_for_checkpointing(progress, lr_scheduler, ema)
    model, optimizer = accelerator.prepare(model, optimizer)
    if checkpoint is not None:
        accelerator.load_state(str(checkpoint))
    if config["resume_from_checkpoint"] and accelerator.is_main_process:
        drop_later_lines(folder / "train_log.jsonl", progress.step)
    network = torch.compile(model) if config["compile"] else model

    def pipeline() -> CellVideoPipeline:
        return make_pipeline(accelerator.unwrap_model(model), ema, noise_scheduler, clips, config)

    train(
        accelerator, config, clips, network, objective, distillation, optimizer, lr_scheduler, progress, ema, pipeline
    )
    if progress.step % config["checkpointing_steps"]:  # else it has just been saved
        save_checkpoint(accelerator, config, progress.step)
    if accelerator.is_main_process:
        pipe = pipeline()
        pipe.save_pretrained(folder)
        if config["push_to_hub"]:  # from a folder of its own: here the pipeline lies beside checkpoints and logs
            pipe.push_to_hub(config["hub_model_id"] or folder.name)


def train(
    accelerator, config, clips, network, objective, distillation, optimizer, lr_scheduler, progress, ema, pipeline
):
    """Step until `max_train_steps` or `max_minutes`; one line of `train_log.jsonl` every `logging_steps`."""
    started, folder = time.monotonic(), Path(config["output_dir"])
    per_step = config["train_batch_size"] * accelerator.num_processes * config["gradient_accumulation_steps"]
    bar = tqdm(
        total=config["max_train_steps"],
        initial=progress.step,
        disable=not accelerator.is_local_main_process,
        mininterval=2,
    )
    sums, ticks, tick_time = torch.zeros(4, device=accelerator.device), 0, time.monotonic()
    for micro, batch in enumerate(batches(accelerator, config, clips, progress.clips)):
        with accelerator.accumulate(network):
            position = progress.clips + micro % config["gradient_accumulation_steps"]
            losses = step_losses(accelerator, config, network, objective, distillation, batch, position)
            accelerator.backward(objective.combine(losses))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(network.parameters(), config["max_grad_norm"])
            optimizer.step()
            optimizer.zero_grad()
        sums[: len(losses)] += losses.detach()
        ticks += 1
        if not accelerator.sync_gradients:
            continue
        lr_scheduler.step()
        ema.step(network.parameters())
        progress.step, progress.clips = progress.step + 1, progress.clips + per_step
        bar.update()
        now = time.monotonic()
        if progress.step % config["logging_steps"] == 0:
            mean = accelerator.reduce(sums / ticks, "mean").cpu()
            seconds, progress.seconds = now - tick_time, progress.seconds + now - tick_time
            line = {
                "step": progress.step,
                "clips": progress.clips,
                "loss": float(objective.combine(mean[: len(losses)])),
                "loss_video": float(mean[0]),
                "loss_flow": float(mean[1 : len(losses)].mean()) if len(losses) > 1 else None,
                "learning_rate": lr_scheduler.get_last_lr()[0],
                "seconds": round(progress.seconds, 1),
                "clips_per_second": round(config["logging_steps"] * per_step / seconds, 2),
            }
            if not math.isfinite(line["loss"]):
                raise FloatingPointError(f"loss must be finite, got {line['loss']} at step {progress.step}")
            if accelerator.is_main_process:
                with open(folder / "train_log.jsonl", "a") as log:
                    log.write(json.dumps(line) + "\n")
                accelerator.log({key: value for key, value in line.items() if value is not None}, progress.step)
            sums, ticks, tick_time = torch.zeros_like(sums), 0, now
        if progress.step % config["checkpointing_steps"] == 0:
            save_checkpoint(accelerator, config, progress.step)
            if accelerator.is_main_process:
                pipeline().save_pretrained(folder)
        if progress.step % config["validation_steps"] == 0 and accelerator.is_main_process:
            write_samples(pipeline(), config, progress.step, accelerator)
        if time_is_up(accelerator, config, started):
            break
    bar.close()


def step_losses(accelerator, config, network, objective, distillation, batch, position: int) -> torch.Tensor:
    """Loss of each channel for one batch, at noise that depends on the seed, the process and the position alone."""
    seed = hash((config["seed"], accelerator.process_index, position)) % 2**62
    generator = torch.Generator().manual_seed(seed)
    clean, (size, _, frames) = batch["video"], batch["video"].shape[:3]
    levels = draw_noise_levels(
        config["noise_patterns"],
        size,
        frames,
        len(objective.alphas_cumprod),
        generator,
        level_shift=config["level_shift"],
    ).to(clean.device, non_blocking=True)
    labels = drop_labels(batch["class_labels"], config["class_dropout"], generator)
    on_device = torch.Generator(clean.device).manual_seed(seed)
    epsilon = torch.randn(clean.shape, generator=on_device, device=clean.device)
    labels = labels if labels.shape[1] else None
    if distillation is not None:
        levels = distillation.levels(levels)
    noisy, target = objective.noise(clean, levels, epsilon)
    if distillation is not None:
        with accelerator.autocast():
            target = distillation.target(noisy, levels, labels)
    prediction = network(noisy, levels, labels, return_dict=False)[0]
    return objective.loss(prediction, target, levels)


def time_is_up(accelerator: Accelerator, config: dict[str, Any], started: float) -> bool:
    """Whether `max_minutes` have passed on the main process; all processes agree."""
    if config["max_minutes"] is None:
        return False
    late = time.monotonic() - started > 60 * config["max_minutes"]
    if accelerator.num_processes == 1:
        return late
    return bool(accelerator.reduce(torch.tensor(float(late), device=accelerator.device), "sum") > 0)


if __name__ == "__main__":
    main()
