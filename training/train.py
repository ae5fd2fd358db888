"""Train a model of cell video and flow: `accelerate launch training/train.py --config training/configs/tiny.yaml`.

Every key of the configuration can be given on the command line (see `config.py`). `output_dir` ends up as a pipeline
for `CellVideoPipeline.from_pretrained`, with `train_log.jsonl`, samples and resumable checkpoints beside it. The clips
and the noise of a step depend on the seed, the process and the step alone, so a resumed run goes on as if it had never
stopped.
"""

import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers import DDPMScheduler
from diffusers.training_utils import EMAModel
from torch.utils.data import DataLoader
from tqdm import tqdm

from cellvid_diffusers.data import ClipBank, ClipDataset
from cellvid_diffusers.pipelines import CellVideoPipeline
from cellvid_diffusers.training_utils import (
    DiffusionObjective,
    draw_noise_levels,
    drop_labels,
    keep_freed_memory,
)
from checks import check_config
from components import build_lr_scheduler, build_model, build_optimizer, build_teacher, load_clips, main_clock
from config import load_config
from resuming import ScheduleState, drop_later, find_checkpoint, load_checkpoint, save_checkpoint
from validation import make_pipeline, write_samples


class Progress:
    """Optimiser steps, clips and seconds so far; saved with each checkpoint."""

    def __init__(self) -> None:
        self.step, self.clips, self.seconds = 0, 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


class Tick:
    """Losses, clips and seconds since the last line of the log."""

    def __init__(self) -> None:
        self.losses: torch.Tensor | float = 0.0
        self.batches, self.clips, self.began = 0, 0, time.monotonic()

    def add(self, losses: torch.Tensor, clips: int) -> None:
        """Count a batch: the loss of each channel, and the clips that all processes saw."""
        self.losses = self.losses + losses.detach()
        self.batches, self.clips = self.batches + 1, self.clips + clips


def batches(
    accelerator: Accelerator, config: dict[str, Any], clips: ClipDataset, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Batches of this process on its device, for the steps that are left."""
    size, processes, first = config["train_batch_size"], accelerator.num_processes, progress.clips
    left = config["max_train_steps"] - progress.step
    last = first + left * size * processes * config["gradient_accumulation_steps"]
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
    check_config(config)
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
    teacher = build_teacher(model, objective, config, accelerator.device)
    lr_scheduler = build_lr_scheduler(optimizer, config)
    progress = Progress()
    ema = EMAModel(
        model.parameters(), decay=config["ema_max_decay"], use_ema_warmup=True, foreach=True, model_cls=type(model)
    )
    accelerator.register_for_checkpointing(progress, ScheduleState(lr_scheduler, config["lr_scheduler"]), ema)
    model, optimizer = accelerator.prepare(model, optimizer)
    if checkpoint is not None:
        load_checkpoint(accelerator, checkpoint, optimizer, lr_scheduler, ema)
    ema.to(accelerator.device)  # what is loaded lies on the CPU
    if accelerator.is_main_process:
        drop_later(folder, progress.step)
    network = torch.compile(model) if config["compile"] else model

    def pipeline() -> CellVideoPipeline:
        return make_pipeline(accelerator.unwrap_model(model), ema, noise_scheduler, clips, config)

    train(accelerator, config, clips, network, objective, teacher, optimizer, lr_scheduler, progress, ema, pipeline)
    if not is_due(progress.step, config["checkpointing_steps"]):  # else it has just been saved
        save_checkpoint(accelerator, config, progress.step)
    if accelerator.is_main_process:
        pipe = pipeline()
        pipe.save_pretrained(folder)
        if config["push_to_hub"]:  # from a folder of its own: here the pipeline lies beside checkpoints and logs
            pipe.push_to_hub(config["hub_model_id"] or folder.name)


def train(accelerator, config, clips, network, objective, teacher, optimizer, lr_scheduler, progress, ema, pipeline):
    """Step until `max_train_steps` or `max_minutes`; a line of `train_log.jsonl` every `logging_steps`, before each
    checkpoint, and at the end."""
    started, before, began = main_clock(), progress.seconds, time.monotonic()
    folder = Path(config["output_dir"])
    per_batch = config["train_batch_size"] * accelerator.num_processes
    bar = tqdm(
        total=config["max_train_steps"],
        initial=progress.step,
        disable=not accelerator.is_local_main_process,
        mininterval=2,
    )
    tick = Tick()
    for micro, batch in enumerate(batches(accelerator, config, clips, progress)):
        with accelerator.accumulate(network):
            position = progress.clips + micro % config["gradient_accumulation_steps"]
            losses = step_losses(accelerator, config, network, objective, teacher, batch, position)
            accelerator.backward(objective.combine(losses))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(network.parameters(), config["max_grad_norm"])
            optimizer.step()
            optimizer.zero_grad()
        tick.add(losses, per_batch)
        if not accelerator.sync_gradients:
            continue
        lr_scheduler.step()
        ema.step(network.parameters())
        progress.step += 1
        progress.clips += per_batch * config["gradient_accumulation_steps"]
        bar.update()
        progress.seconds = before + time.monotonic() - began
        saves = is_due(progress.step, config["checkpointing_steps"])
        if saves or is_due(progress.step, config["logging_steps"]):  # nothing is saved whose loss was not looked at
            write_line(accelerator, config, progress, tick, objective, lr_scheduler)
            tick = Tick()
        if saves:
            save_checkpoint(accelerator, config, progress.step)
            if accelerator.is_main_process:
                pipeline().save_pretrained(folder)
        if is_due(progress.step, config["validation_steps"]) and accelerator.is_main_process:
            write_samples(pipeline(), config, progress.step, accelerator)
        if config["max_minutes"] is not None and main_clock() - started > 60 * config["max_minutes"]:
            break
    bar.close()
    if tick.batches:
        write_line(accelerator, config, progress, tick, objective, lr_scheduler)


def is_due(step: int, every: int) -> bool:
    """Whether something that is done every so many steps is done after this one; 0 is never."""
    return every > 0 and step % every == 0


def write_line(accelerator, config, progress, tick, objective, lr_scheduler) -> None:
    """Append what happened since the last line to `train_log.jsonl`, and to TensorBoard.

    Raises:
        FloatingPointError: If the loss is not finite.
    """
    mean = accelerator.reduce(tick.losses / tick.batches, "mean").cpu()
    line = {
        "step": progress.step,
        "clips": progress.clips,
        "loss": float(objective.combine(mean)),
        "loss_video": float(mean[0]),
        "loss_flow": float(mean[1:].mean()) if len(mean) > 1 else None,
        "learning_rate": lr_scheduler.get_last_lr()[0],
        "seconds": round(progress.seconds, 1),
        "clips_per_second": round(tick.clips / (time.monotonic() - tick.began), 2),
    }
    if not math.isfinite(line["loss"]):
        raise FloatingPointError(f"loss must be finite, got {line['loss']} at step {progress.step}")
    if accelerator.is_main_process:
        with open(Path(config["output_dir"]) / "train_log.jsonl", "a") as log:
            log.write(json.dumps(line) + "\n")
        accelerator.log({key: value for key, value in line.items() if value is not None}, progress.step)


def step_losses(accelerator, config, network, objective, teacher, batch, position: int) -> torch.Tensor:
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
    if teacher is not None:
        levels = teacher.levels(levels)
    noisy, target = objective.noise(clean, levels, epsilon)
    if teacher is not None:
        with accelerator.autocast():
            target = teacher.target(noisy, levels, labels, target)
    prediction = network(noisy, levels, labels, return_dict=False)[0]
    return objective.loss(prediction, target, levels)


if __name__ == "__main__":
    main()
