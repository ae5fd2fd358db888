"""Finding checkpoints to resume from, and writing them completely or not at all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from diffusers import DDPMScheduler, DiffusionPipeline
from diffusers.training_utils import EMAModel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cellvid_diffusers.io.atomic import replacing
from components import check_schedule


def checkpoints_of(folder: Path) -> list[Path]:
    """The checkpoints `checkpoint-STEP` in an `output_dir`, oldest first; copies under other names do not count."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdecimal()]
    return sorted(found, key=_step_of)


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def find_checkpoint(config: dict[str, Any]) -> Path | None:
    """The checkpoint to resume from: a folder, a name in `output_dir`, or `True` for the latest.

    Raises:
        ValueError: If there is no such checkpoint, or a new run would mix its checkpoints with another run's.
    """
    asked, folder = config["resume_from_checkpoint"], Path(config["output_dir"])
    found = checkpoints_of(folder)
    chosen = latest = found[-1] if found else None
    if asked and asked not in (True, "latest"):
        chosen = folder / asked if (folder / asked).is_dir() else Path(asked)
        if not chosen.is_dir():
            there = [path.name for path in found]
            raise ValueError(f"resume_from_checkpoint must be a checkpoint, got {asked}; {folder} holds {there}")
    if asked and chosen is None:
        print(f"No checkpoint in {folder} yet: a new run begins.")
    if latest and (not asked or chosen.resolve().parent != folder.resolve()):
        raise ValueError(
            f"output_dir must hold no checkpoints of another run, got {latest.name} in {config['output_dir']}: "
            "go on with --resume_from_checkpoint latest, or choose another --output_dir"
        )
    return chosen


class ScheduleState:
    """A learning rate schedule's state in checkpoints; a different schedule takes over only the number of steps."""

    def __init__(self, schedule: LRScheduler, name: str) -> None:
        self.schedule, self.name = schedule, name

    def state_dict(self) -> dict[str, Any]:
        """Name and state."""
        return {"name": self.name, "state": self.schedule.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the schedule, or start this one at the step where the other stopped."""
        if state_dict["name"] == self.name:
            self.schedule.load_state_dict(state_dict["state"])
            return
        self.schedule.last_epoch = state_dict["state"]["last_epoch"]


class FixedState:
    """What a run's checkpoints hold and a resumed run must share: noise schedule, prediction type and classes."""

    def __init__(self, scheduler: DDPMScheduler, class_columns: dict[str, list[str]]) -> None:
        self.scheduler, self.class_columns = dict(scheduler.config), class_columns

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's configuration and the classes."""
        return dict(vars(self))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Raise `ValueError` unless they match those of this run."""
        check_schedule("the checkpoint", state_dict["scheduler"], self.scheduler)
        if state_dict["class_columns"] != self.class_columns:  # their order is that of the embeddings
            raise ValueError(
                f"class_columns must be the checkpoint's {state_dict['class_columns']}, got {self.class_columns}"
            )


def load_checkpoint(
    accelerator: Accelerator, checkpoint: Path, optimizer: Optimizer, lr_scheduler: LRScheduler, ema: EMAModel
) -> None:
    """Load the state of a run, but keep this run's options: the learning rate and its schedule, the optimiser's other
    settings, and the decay of the averaged weights."""
    own = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    decay = ema.decay
    try:
        accelerator.load_state(str(checkpoint))
    except (ValueError, RuntimeError) as error:  # torch lists every mismatch in many lines
        reason = " ".join(str(error).split("\n")[:2])
        raise ValueError(
            f"checkpoint must be of the same model and optimizer, {checkpoint.name} is not: {reason}"
        ) from None
    accelerator.step = 0  # checkpoints lie between steps, whatever gradient_accumulation_steps was
    ema.decay = decay
    lr_scheduler.base_lrs = [options["initial_lr"] for options in own]
    for group, options, rate in zip(optimizer.param_groups, own, lr_scheduler.get_lr(), strict=True):
        group.update(options | {"lr": rate})


def drop_later(folder: Path, step: int) -> None:
    """Delete what an earlier run wrote after its checkpoint of this step: later checkpoints and lines of its log, and
    a last line that is incomplete."""
    for checkpoint in checkpoints_of(folder):
        if _step_of(checkpoint) > step:
            shutil.rmtree(checkpoint)
    log = folder / "train_log.jsonl"
    if log.exists():
        whole = log.read_text().split("\n")[:-1]
        with replacing(log) as shorter:
            shorter.write_text("".join(f"{line}\n" for line in whole if json.loads(line)["step"] <= step))


def save_checkpoint(
    accelerator: Accelerator, config: dict[str, Any], step: int, make_pipeline: Callable[[], DiffusionPipeline]
) -> None:
    """Write `checkpoint-STEP` completely or not at all, and delete the oldest ones beyond the limit.

    It holds the state of the run and a pipeline with the weights of this step.
    """
    folder = Path(config["output_dir"])
    unfinished = folder / "checkpoint.unfinished"
    accelerator.save_state(str(unfinished))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        make_pipeline().save_pretrained(unfinished)
        shutil.rmtree(folder / f"checkpoint-{step}", ignore_errors=True)
        unfinished.rename(folder / f"checkpoint-{step}")
        limit = config["checkpoints_total_limit"]
        for old in checkpoints_of(folder)[:-limit] if limit else ():
            shutil.rmtree(old)
    accelerator.wait_for_everyone()  # no process may start the next `unfinished` before this one is renamed
