"""Figures of a checkpoint that `cellvid evaluate` does not give: contrast, flow, and whether density is met.

    python benchmarks/checkpoint.py --train data/tiny --real data/tiny_validation --out docs/checkpoint.md

Clips of the checkpoint (seeds 0 to N - 1), of the data set that it was trained on, and held out, all with the held-out
clips' mix of cell types:

* the distances of the *training* clips to the held-out ones over the real-vs-real floor: what copies come to;
* contrast: standard deviation of a clip in grey levels, median over clips;
* flow: end-point error against flow that OpenCV's DIS measures in the frames (training used another estimator), the
  error of no flow at all, in px/frame, and the correlation;
* density: structure (`data.crowding.structured_share`) of clips asked for at each density, Spearman's correlation of
  the asked density with it, 95 % interval over the clips of each density.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from distances import distances_in_words
from flow_quality import flow_errors
from markdown import table
from sampling import asked_in_mix, generate, load_pipeline, names_in_mix
from scipy.stats import spearmanr

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.cpu_memory import keep_freed_memory
from cellvid_diffusers.data.crowding import structured_share
from cellvid_diffusers.evaluation.clips import load_clips
from cellvid_diffusers.pipelines.classes import value_of

ROOT = Path(__file__).parents[1]
Sample = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Video `(N, F, H, W)` uint8, flow `(N, F, H, W, 2)` in px/frame, cell types `(N,)`."""


def rows_by_type(samples: dict[str, Sample]) -> Iterator[list[str]]:
    """Contrast and flow, a row for each cell type of each sample."""
    for name, (frames, flow, types) in samples.items():
        for kind in dict.fromkeys([*sorted(set(types)), "all"]):
            chosen = np.flatnonzero((types == kind) | (kind == "all"))
            contrast = np.median([frames[index].std() for index in chosen])
            of_flow = flow_errors(frames[chosen], flow[chosen])
            yield [name, kind, str(len(chosen)), f"{contrast:.1f}", *(f"{value:.2f}" for value in of_flow)]


def rows_of_density(pipe: CellVideoPipeline, count: int) -> Iterator[list[str]]:
    """Structure of clips asked for at each density, and the correlation, by cell type."""
    names = pipe.config.class_names["density"]
    for kind in pipe.config.class_names.get("cell_type", [None]):
        asked = [name for name in names for _ in range(count)]
        frames, *_ = generate(pipe, range(1000, 1000 + len(asked)), cell_type=[kind] * len(asked), density=asked)
        spread = 255 * value_of(pipe.config, "video_std", kind)
        shares = np.array([structured_share(video, spread) for video in frames])
        order = np.array([names.index(name) for name in asked])
        rng = np.random.default_rng(0)
        draws = (order * count + rng.integers(count, size=len(order)) for _ in range(2000))
        low, high = np.quantile([spearmanr(order[draw], shares[draw]).statistic for draw in draws], (0.025, 0.975))
        means = [f"{shares[order == level].mean():.2f}" for level in range(len(names))]
        yield [kind or "all", *means, f"{spearmanr(order, shares).statistic:.2f} [{low:.2f}, {high:.2f}]"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "checkpoints" / "cellvid-tiny")
    parser.add_argument("--train", type=Path, required=True, help="data set that it was trained on")
    parser.add_argument("--real", type=Path, required=True, help="data set with the held-out clips")
    parser.add_argument("--clips", type=int, default=64, help="generated clips, and training clips")
    parser.add_argument("--per-density", type=int, default=16, help="clips of each cell type at each density")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    keep_freed_memory()
    pipe = load_pipeline(arguments.checkpoint)
    real = load_clips(arguments.real, split="validation", max_clips=200).apart()[0]
    asked = asked_in_mix(pipe, real.cell_types, arguments.clips)
    frames, flow, types = generate(pipe, range(arguments.clips), **asked)
    if flow is None:
        parser.error(f"checkpoint must make flow, got {arguments.checkpoint}, which makes video alone")
    shape = frames.shape[1:]
    generated = frames, flow, np.full(len(frames), "all") if types is None else types
    real = real.crop(*shape)
    train = load_clips(arguments.train, split="train", max_clips=400).crop(*shape)
    mix, rng = names_in_mix(real.cell_types, arguments.clips), np.random.default_rng(0)
    chosen = np.concatenate(
        [rng.permutation(np.flatnonzero(train.cell_types == kind))[: mix.count(kind)] for kind in sorted(set(mix))]
    )
    of_real = (real.frames, np.stack(real.flow), real.cell_types)
    lines = [f"# {(__doc__ or '').strip()}", ""]
    of_train = ", ".join(" ".join(one) for one in distances_in_words(real, train.frames[chosen]).items())
    lines += [f"Training clips ({len(chosen)}) against held-out ones ({len(real)}): {of_train}.\n"]
    head = ["clips", "cell type", "number", "contrast", "flow's error", "no flow's error", "correlation"]
    lines.append(table(head, rows_by_type({"generated": generated, "held out": of_real})))
    if "density" in (pipe.config.class_names or {}):
        head = ["cell type", *pipe.config.class_names["density"], "Spearman"]
        lines += ["", table(head, rows_of_density(pipe, arguments.per_density))]
    arguments.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines[1:]))


if __name__ == "__main__":
    main()
