"""How many denoising steps a checkpoint needs.

    python benchmarks/sampler.py --real data/tiny_validation --out docs/sampler.md

The same seeds and classes at each number of steps: seconds a clip, the root mean square difference of the frames to
those of the most steps, in units of their standard deviation, and the three distances to held-out clips over the
real-vs-real floor, 95 % interval in brackets. Each clip takes two predictions more than its steps where the checkpoint
asks for them (`residual_noise`, `flow_strength`).
"""

import argparse
import time
from pathlib import Path

import numpy as np
from checkpoint import ROOT, distances, generate
from markdown import table

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.evaluation.clips import load_clips
from cellvid_diffusers.evaluation.distance import FAMILIES
from cellvid_diffusers.training_utils import keep_freed_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "checkpoints" / "cellvid-tiny")
    parser.add_argument("--real", type=Path, required=True, help="data set with the held-out clips")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 8, 12, 25, 50, 250])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    keep_freed_memory()
    pipe = CellVideoPipeline.from_pretrained(arguments.checkpoint)
    pipe.set_progress_bar_config(disable=True)
    clips, seconds = {}, {}
    for steps in sorted(arguments.steps):
        start = time.monotonic()
        clips[steps] = generate(pipe, range(arguments.clips), num_inference_steps=steps)[0]
        seconds[steps] = (time.monotonic() - start) / arguments.clips
    most = clips[max(clips)].astype(np.float32)
    size = most.shape[1:]
    real = load_clips(arguments.real, split="validation", max_clips=100).crop(*size)
    lines = [f"# {(__doc__ or '').strip()}\n", f"{arguments.clips} clips of {' x '.join(map(str, size))}.\n"]
    rows = []
    for steps, frames in clips.items():
        difference = np.sqrt(np.mean((frames - most) ** 2)) / most.std()
        rows.append([str(steps), f"{seconds[steps]:.2f}", f"{difference:.3f}", *distances(real, frames).values()])
    lines.append(table(["steps", "s a clip", "difference", *FAMILIES], rows))
    arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
