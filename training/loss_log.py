"""The log of a run: a JSON line in `train_log.jsonl` every few steps, and the same values on TensorBoard."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from cellvid_diffusers.training_utils import DiffusionObjective


class Progress:
    """Optimiser steps, clips and seconds so far; saved with each checkpoint."""

    def __init__(self) -> None:
        self.step, self.clips, self.seconds = 0, 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """All three, by name."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore all three."""
        vars(self).update(state)


class LossLog:
    """Losses and clips since the last line of the log."""

    def __init__(self, accelerator: Accelerator, folder: Path, objective: DiffusionObjective) -> None:
        self.accelerator, self.path, self.objective = accelerator, folder / "train_log.jsonl", objective
        self._start_anew()

    def _start_anew(self) -> None:
        self.losses: torch.Tensor | float = 0.0
        self.batches, self.clips, self.began = 0, 0, time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that does not count as training: saving, sampling."""
        began = time.monotonic()
        yield
        self.began += time.monotonic() - began

    def add(self, losses: torch.Tensor, clips: int) -> None:
        """Count a batch: the loss of each channel, and the clips that all processes saw."""
        self.losses = self.losses + losses.detach()
        self.batches, self.clips = self.batches + 1, self.clips + clips

    def write(self, progress: Progress, learning_rate: float) -> None:
        """Append a line for what was added since the last one, if anything.

        Raises:
            FloatingPointError: If the loss is not finite.
        """
        if not self.batches:
            return
        mean = self.accelerator.reduce(self.losses / self.batches, "mean").cpu()
        line = {
            "step": progress.step,
            "clips": progress.clips,
            "loss": float(self.objective.combine(mean)),
            "loss_video": float(mean[0]),
            "loss_flow": float(mean[1:].mean()) if len(mean) > 1 else None,
            "learning_rate": learning_rate,
            "seconds": round(progress.seconds, 1),
            "clips_per_second": round(self.clips / (time.monotonic() - self.began), 2),
        }
        if not math.isfinite(line["loss"]):
            raise FloatingPointError(f"loss must be finite, got {line['loss']} at step {progress.step}")
        if self.accelerator.is_main_process:
            with open(self.path, "a") as log:
                log.write(json.dumps(line) + "\n")
            self.accelerator.log({key: value for key, value in line.items() if value is not None}, progress.step)
        self._start_anew()
