"""Train a model of cell video and flow: `accelerate launch training/train.py --config training/configs/tiny.yaml`.

Every key of the configuration can be given on the command line (see `config.py`). The run leaves a pipeline for
`CellVideoPipeline.from_pretrained` in `output_dir`, with `train_log.jsonl`, samples and resumable checkpoints. The
clips and the noise of a step depend only on the seed, the process and the step, so a resumed run continues as if it had
never stopped.
"""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers import DDPMScheduler
from diffusers.training_utils import EMAModel
from huggingface_hub import create_repo
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader
from tqdm import tqdm

from cellvid_diffusers.cpu_memory import keep_freed_memory
from cellvid_diffusers.data import ClipBank, ClipDataset
from cellvid_diffusers.distillation import Distillation, NoisyTeacher
from cellvid_diffusers.pipelines import CellVideoPipeline
from cellvid_diffusers.training_utils import (
    DiffusionObjective,
    draw_noise_levels,
    drop_labels,
)
from checks import check_config
from components import build_lr_scheduler, build_model, build_optimizer, build_teacher, load_clips
from config import list_options, load_config
from loss_log import LossLog, Progress
from precision import usable_precision
from resuming import FixedState, ScheduleState, drop_later, find_checkpoint, load_checkpoint, save_checkpoint
from stopping import Stop
from validation import learned_patterns, make_pipeline, write_samples


@dataclass
class Run:
    """What the steps of a training run need and change."""

    accelerator: Accelerator
    config: dict[str, Any]
    clips: ClipDataset
    model: torch.nn.Module
    network: torch.nn.Module
    """The model as each step calls it: compiled, if the configuration says so."""
    ema: EMAModel
    objective: DiffusionObjective
    noise_scheduler: DDPMScheduler
    teacher: Distillation | NoisyTeacher | None
    optimizer: torch.optim.Optimizer
    lr_scheduler: LRScheduler
    progress: Progress

    @property
    def folder(self) -> Path:
        """`output_dir`."""
        return Path(self.config["output_dir"])

    @property
    def batch_of_all(self) -> int:
        """Clips per batch, over all processes."""
        return self.config["train_batch_size"] * self.accelerator.num_processes

    @cached_property
    def noise_patterns(self) -> dict[str, float]:
        """Weights of the noise patterns that the model can learn."""
        return {name: self.config["noise_patterns"][name] for name in learned_patterns(self.config)}

    def pipeline(self) -> CellVideoPipeline:
        """A pipeline with the current weights."""
        model = self.accelerator.unwrap_model(self.model)
        return make_pipeline(model, self.ema, self.noise_scheduler, self.clips, self.config)


def main() -> None:
    """Read the configuration, train, and shut down all processes together."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(f"{__doc__}\n{list_options()}")
        return
    config = load_config(sys.argv[1:])
    keep_freed_memory()
    torch.backends.cudnn.benchmark = True  # every step has the same shapes
    accelerator = Accelerator(
        mixed_precision=usable_precision(config["mixed_precision"]),
        gradient_accumulation_steps=config["gradient_accumulation_steps"],
        log_with=config["report_to"],
        project_dir=config["output_dir"],
    )
    note_idle_cores(accelerator)
    run(accelerator, config)
    # Free the distributed model before its process group: the last owner of a group joins its threads, which may be
    # waiting for the interpreter lock, and only the group's own destructor releases that lock.
    accelerator.free_memory()
    accelerator.end_training()


def note_idle_cores(accelerator: Accelerator) -> None:
    """Say so where one process on a CPU leaves the other cores idle: `accelerate launch` gives it a single thread."""
    cores = os.cpu_count() or 1
    if accelerator.device.type == "cpu" and accelerator.num_processes == 1 and torch.get_num_threads() == 1 < cores:
        print(
            f"Training on one of {cores} cores. To use all: python training/train.py, or "
            f"accelerate launch --num_cpu_threads_per_process {cores} training/train.py"
        )


def run(accelerator: Accelerator, config: dict[str, Any]) -> None:
    """Train, and leave a pipeline in `output_dir`."""
    check_config(config)
    checkpoint = find_checkpoint(config)
    Path(config["output_dir"]).mkdir(parents=True, exist_ok=True)
    set_seed(config["seed"])
    repo_id = None
    if accelerator.is_main_process:
        (Path(config["output_dir"]) / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        if config["push_to_hub"]:  # now, so that a name or a token that the Hub refuses costs no training
            name = config["hub_model_id"] or Path(config["output_dir"]).resolve().name
            repo_id = create_repo(name, private=config["hub_private_repo"] or None, exist_ok=True).repo_id
    if config["report_to"]:
        accelerator.init_trackers("tensorboard")
    run = build(accelerator, config)
    if checkpoint is not None:
        load_checkpoint(accelerator, checkpoint, run.optimizer, run.lr_scheduler, run.ema)
    run.ema.to(accelerator.device)  # loaded weights are on the CPU
    if accelerator.is_main_process:
        drop_later(run.folder, run.progress.step)
    train(run)
    if not is_due(run.progress.step, config["checkpointing_steps"]):  # else it has just been saved
        save_checkpoint(accelerator, config, run.progress.step, run.pipeline)
    if accelerator.is_main_process:
        pipe = run.pipeline()
        pipe.save_pretrained(run.folder)
        if repo_id is not None:  # not the folder itself, which also holds checkpoints and logs
            pipe.push_to_hub(repo_id)


def build(accelerator: Accelerator, config: dict[str, Any]) -> Run:
    """Build everything that the first step needs, and register what checkpoints keep."""
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
    schedule = ScheduleState(lr_scheduler, config["lr_scheduler"])
    fixed = FixedState(noise_scheduler, config["class_columns"])
    accelerator.register_for_checkpointing(progress, schedule, fixed, ema)
    model, optimizer = accelerator.prepare(model, optimizer)
    network = torch.compile(model) if config["compile"] else model
    return Run(
        accelerator,
        config,
        clips,
        model,
        network,
        ema,
        objective,
        noise_scheduler,
        teacher,
        optimizer,
        lr_scheduler,
        progress,
    )


def train(run: Run) -> None:
    """Train until `max_train_steps` or `stopping.Stop`, and log every `logging_steps`, before each checkpoint and at
    the end."""
    config, accelerator, progress = run.config, run.accelerator, run.progress
    stop, before, began = Stop(accelerator, config["max_minutes"]), progress.seconds, time.monotonic()
    bar = tqdm(
        total=config["max_train_steps"],
        initial=progress.step,
        disable=not accelerator.is_local_main_process,
        mininterval=2,
    )
    log = LossLog(accelerator, run.folder, run.objective)
    for micro, batch in enumerate(batches(run)):
        with accelerator.accumulate(run.network):
            losses = step_losses(run, batch, progress.clips + micro % config["gradient_accumulation_steps"])
            accelerator.backward(run.objective.combine(losses))
            if accelerator.sync_gradients and config["max_grad_norm"] is not None:
                accelerator.clip_grad_norm_(run.network.parameters(), config["max_grad_norm"])
            run.optimizer.step()
            run.optimizer.zero_grad()
        log.add(losses, run.batch_of_all)
        if not accelerator.sync_gradients:
            continue
        run.lr_scheduler.step()
        run.ema.step(run.network.parameters())
        progress.step += 1
        progress.clips += run.batch_of_all * config["gradient_accumulation_steps"]
        progress.seconds = before + time.monotonic() - began
        bar.update()
        saves = is_due(progress.step, config["checkpointing_steps"])
        if saves or is_due(progress.step, config["logging_steps"]):  # checks the loss before anything is saved
            log.write(progress, run.lr_scheduler.get_last_lr()[0])
        with log.paused():
            if saves:
                save_checkpoint(accelerator, config, progress.step, run.pipeline)
                if accelerator.is_main_process:
                    run.pipeline().save_pretrained(run.folder)
            if is_due(progress.step, config["validation_steps"]) and accelerator.is_main_process:
                write_samples(run.pipeline(), config, progress.step, accelerator)
        if stop.is_due():
            break
    bar.close()
    log.write(progress, run.lr_scheduler.get_last_lr()[0])


def is_due(step: int, every: int) -> bool:
    """Whether something that is done every `every` steps is due after this one; 0 is never."""
    return every > 0 and step % every == 0


def seeded(device: str | torch.device, *key: int) -> torch.Generator:
    """Generator whose numbers depend on the key alone, on any machine."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))


def batches(run: Run) -> Iterator[dict[str, Any]]:
    """Batches of this process, on its device, for the remaining steps."""
    config, accelerator, first = run.config, run.accelerator, run.progress.clips
    left = config["max_train_steps"] - run.progress.step
    last = first + left * run.batch_of_all * config["gradient_accumulation_steps"]
    size = config["train_batch_size"]
    if config["clips_on_device"]:
        bank = ClipBank(run.clips, accelerator.device)
        for position in range(first + accelerator.process_index * size, last, run.batch_of_all):
            yield bank.draw(size, seeded(accelerator.device, config["seed"], position))
        return
    workers = config["dataloader_num_workers"]
    loader = DataLoader(run.clips, size, sampler=range(first, last), num_workers=workers, drop_last=True)
    yield from accelerator.prepare(loader)


def step_losses(run: Run, batch: dict[str, Any], position: int) -> torch.Tensor:
    """Loss `(C,)` of each channel for one batch, with noise that depends only on seed, process and position."""
    config, clean, labels = run.config, batch["video"], batch["class_labels"]
    size, _, frames = clean.shape[:3]
    where = (config["seed"], run.accelerator.process_index, position)
    generator = seeded("cpu", *where)
    levels = draw_noise_levels(
        run.noise_patterns,
        size,
        frames,
        len(run.objective.alphas_cumprod),
        generator,
        level_shift=config["level_shift"],
    ).to(clean.device, non_blocking=True)
    labels = drop_labels(labels, config["class_dropout"], generator) if labels.shape[1] else None
    on_device = seeded(clean.device, *where, 1)  # independent of the levels
    epsilon = torch.randn(clean.shape, generator=on_device, device=clean.device)
    if run.teacher is not None:
        levels = run.teacher.levels(levels)
    noisy, target = run.objective.noise(clean, levels, epsilon)
    if run.teacher is not None:
        with run.accelerator.autocast():
            target = run.teacher.target(noisy, levels, labels, target)
    prediction = run.network(noisy, levels, labels, return_dict=False)[0]
    return run.objective.loss(prediction, target, levels)


if __name__ == "__main__":
    main()
