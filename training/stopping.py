"""Ending a run after the step in progress, so that it can be resumed: when it is interrupted, or its time is up."""

import signal
from types import FrameType

from accelerate import Accelerator

from components import main_clock


class Stop:
    """Asks a run to end after `minutes`, or on Ctrl-C or SIGTERM; a second Ctrl-C ends it at once.

    Only a run of a single process heeds signals: several would receive them at different steps, and wait for each other
    in vain.
    """

    def __init__(self, accelerator: Accelerator, minutes: float | None) -> None:
        self.minutes, self.started, self.interrupted = minutes, main_clock(), False
        if accelerator.num_processes == 1:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("\nStopping after this step; --resume_from_checkpoint latest goes on from it.", flush=True)

    def is_due(self) -> bool:
        """Whether to end now; the same in all processes."""
        late = self.minutes is not None and main_clock() - self.started > 60 * self.minutes
        return late or self.interrupted
