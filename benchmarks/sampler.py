"""How many denoising steps a checkpoint needs, and how closely its video should follow its flow.

    python benchmarks/sampler.py --real data/tiny_validation --student checkpoints/cellvid-tiny-4-steps \\
        --out docs/sampler.md

The same seeds and classes at each number of steps, with the cell-type mix of the held-out clips: seconds per clip and
the three distances to held-out clips in units of the real-vs-real floor, with 95 % intervals in brackets. Each clip
takes up to two predictions more than its steps if the checkpoint is configured for them (`residual_noise`,
`flow_strength`). The first table is for the sampler that adds noise (`cellvid_diffusers.schedulers`), if it is the
checkpoint's own; the second for DPM-Solver++, which adds none, with the root mean square difference of the frames to
those of the most steps, in units of their standard deviation. Its last row is the checkpoint's student
(`cellvid_diffusers.distillation`), trained to reach the same result in its few steps, without further predictions.

Other schedulers of diffusers, at 25 steps, below the checkpoint's own: with their usual timestep spacing, and with what
else some of them offer. Contrast is the standard deviation within frames, averaged over clips, as a multiple of that of
the held-out ones.

Motion guidance, at 25 steps: the weight of what the flow implies for the video (`motion_guidance_scale`). At 1 the
video is predicted from video and flow together, at 0 as if the flow were unknown; any other value than 1 takes a second
prediction per step. It needs a network with separate noise levels for video and flow.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from distances import distances_in_words
from markdown import table
from sampling import asked_in_mix, generate, load_pipeline

from cellvid_diffusers import CellVideoPipeline, StochasticDPMSolverScheduler
from cellvid_diffusers.cpu_memory import keep_freed_memory
from cellvid_diffusers.evaluation.clips import ClipSet, load_clips
from cellvid_diffusers.evaluation.distance import FAMILIES

ROOT = Path(__file__).parents[1]
OTHERS: list[tuple[Any, dict[str, Any]]] = [
    (DDIMScheduler, {}),
    (EulerDiscreteScheduler, {}),
    (EulerAncestralDiscreteScheduler, {}),
    (UniPCMultistepScheduler, {}),
    (UniPCMultistepScheduler, {"use_karras_sigmas": True}),
    (DPMSolverMultistepScheduler, {}),
    (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    (DPMSolverMultistepScheduler, {"use_lu_lambdas": True}),
]
"""Schedulers, and the settings that they take beside those of the checkpoint's own."""
Timed = tuple[np.ndarray, float]
"""Clips `(N, F, H, W)` uint8, and seconds per clip."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "checkpoints" / "cellvid-tiny")
    parser.add_argument("--student", type=Path, help="student distilled from the checkpoint")
    parser.add_argument("--real", type=Path, required=True, help="data set with the held-out clips")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 8, 12, 25, 50, 250])
    parser.add_argument("--motion-guidance", type=float, nargs="*", default=[0, 0.5, 1, 1.25, 1.5, 2])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    keep_freed_memory()
    pipe = load_pipeline(arguments.checkpoint)
    real = load_clips(arguments.real, split="validation", max_clips=100)
    asked = asked_in_mix(pipe, real.cell_types, arguments.clips)
    own = pipe.scheduler
    stochastic = isinstance(own, StochasticDPMSolverScheduler)
    timed(pipe, 2, **asked_in_mix(pipe, real.cell_types, 2))  # the first call takes longer
    with_noise = at_each(pipe, arguments.steps, arguments.clips, **asked) if stochastic else {}
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(own.config, use_lu_lambdas=True)
    clips = at_each(pipe, arguments.steps, arguments.clips, **asked)
    pipe.scheduler = own
    most = clips[max(arguments.steps)][0].astype(np.float32)
    size = most.shape[1:]
    real = real.crop(*size)
    if arguments.student:
        student = load_pipeline(arguments.student)
        clips[f"{len(student.config.timesteps)}, distilled"] = timed(student, arguments.clips, **asked)
    lines = [f"# {(__doc__ or '').strip()}\n", f"{arguments.clips} clips of {' x '.join(map(str, size))}.\n"]
    if stochastic:
        rows = [
            [str(steps), f"{took:.2f}", *distances_in_words(real, frames).values()]
            for steps, (frames, took) in with_noise.items()
        ]
        lines += [table(["steps, with noise", "s per clip", *FAMILIES], rows), ""]
    rows = []
    for steps, (frames, took) in clips.items():
        difference = np.sqrt(np.mean((frames - most) ** 2)) / most.std()
        rows.append([str(steps), f"{took:.2f}", f"{difference:.3f}", *distances_in_words(real, frames).values()])
    lines.append(table(["steps", "s per clip", "difference", *FAMILIES], rows))
    lines += ["", schedulers_table(pipe, real, arguments.clips, **asked)]
    if "modalities" in pipe.config.noise_patterns:
        rows = []
        for scale in arguments.motion_guidance:
            frames, took = timed(pipe, arguments.clips, motion_guidance_scale=scale, **asked)
            rows.append([f"{scale:g}", f"{took:.2f}", *distances_in_words(real, frames).values()])
        lines += ["", table(["motion guidance", "s per clip", *FAMILIES], rows)]
    arguments.out.write_text("\n".join(lines) + "\n")


def schedulers_table(pipe: CellVideoPipeline, real: ClipSet, count: int, **asked: Any) -> str:
    """Contrast and distances of clips of the same seeds by the checkpoint's own scheduler and by `OTHERS`."""
    own, rows = pipe.scheduler, []
    others = [(kind.from_config(own.config, **settings), settings) for kind, settings in OTHERS]
    for scheduler, settings in [(own, {}), *others]:
        pipe.scheduler = scheduler
        frames, took = timed(pipe, count, **asked)
        name = ", ".join([type(scheduler).__name__.removesuffix("Scheduler"), *settings])
        contrast = contrast_of(frames) / contrast_of(real.frames)
        rows.append([name, f"{took:.2f}", f"{contrast:.2f}", *distances_in_words(real, frames).values()])
    pipe.scheduler = own
    return table(["scheduler", "s per clip", "contrast", *FAMILIES], rows)


def contrast_of(clips: np.ndarray) -> float:
    """Standard deviation within the frames of clips `(N, F, H, W)`, averaged."""
    return float(clips.std(axis=(2, 3)).mean())


def at_each(pipe: CellVideoPipeline, steps: list[int], count: int, **asked: Any) -> dict[int | str, Timed]:
    """Clips of the same seeds at each number of steps."""
    return {number: timed(pipe, count, num_inference_steps=number, **asked) for number in sorted(steps)}


def timed(pipe: CellVideoPipeline, count: int, **options: Any) -> Timed:
    """Clips of seeds 0 to `count` - 1, and seconds per clip."""
    start = time.monotonic()
    frames = generate(pipe, range(count), **options)[0]
    return frames, (time.monotonic() - start) / count


if __name__ == "__main__":
    main()
