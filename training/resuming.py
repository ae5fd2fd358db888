"""Checkpoints that a run can go on from: found, and written whole or not at all."""

import json
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from cellvid_diffusers.io.atomic import replacing


def find_checkpoint(config: dict[str, Any]) -> Path | None:
    """The checkpoint to resume from; one named without its folder is in `output_dir`.

    Raises:
        ValueError: If a new run would mix its checkpoints with those of another.
    """
    asked, folder = config["resume_from_checkpoint"], Path(config["output_dir"])
    found = folder.glob("checkpoint-*")
    latest = max(found, key=lambda path: int(path.name.split("-")[1]), default=None)
    if asked and asked != "latest":
        chosen = folder / asked if (folder / asked).is_dir() else Path(asked)
    else:
        chosen = latest
    if latest and (not asked or chosen.resolve().parent != folder.resolve()):
        raise ValueError(
            f"output_dir must hold no checkpoints of another run, got {latest.name} in {config['output_dir']}: "
            "go on with --resume_from_checkpoint latest, or choose another --output_dir"
        )
    return chosen


def drop_later(folder: Path, step: int) -> None:
    """Drop what a stopped run left after its checkpoint of this step: checkpoints, and lines of its log, down to one
    half written."""
    for later in folder.glob("checkpoint-*"):
        if int(later.name.split("-")[1]) > step:
            shutil.rmtree(later)
    log = folder / "train_log.jsonl"
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
        limit = config["checkpoints_total_limit"]
        for old in kept[:-limit] if limit else ():
            shutil.rmtree(old)
    accelerator.wait_for_everyone()  # no process begins the next one under the same name before this one has its own
