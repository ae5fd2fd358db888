"""Every conditional task of a checkpoint on held-out clips, compared with baselines that need no network.

    python benchmarks/tasks.py --real data/tiny_validation --out docs/tasks.md --figure docs/images/tasks.png

Frame error: root mean square difference to the real frame, in units of the standard deviation of the real clips of its
cell type; for two unrelated clips it is 1.41. It is unfair to a sample of an unpredictable future (a blurred mean
wins), so the mean of `--futures` samples is given next to one sample. Flow error: mean end-point error, px/frame.
Roll-out: distance of successive windows of long videos to held-out clips, in units of the real-vs-real floor.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
import torch
from baselines import between, extrapolate
from distances import distances_to
from flow_quality import flow_errors
from markdown import table
from matplotlib import pyplot as plt
from sampling import asked_in_mix, load_pipeline

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.evaluation.clips import ClipSet, load_clips
from cellvid_diffusers.pipelines import roll_out

GIVEN = 3
"""Frames given for prediction; frames given at each end for interpolation."""
Curves = dict[str, np.ndarray]
"""Name of a method -> error at each frame."""


class Tasks:
    """A checkpoint and the held-out clips, by cell type."""

    def __init__(self, pipe: CellVideoPipeline, real: ClipSet, count: int, futures: int, steps: int):
        self.pipe, self.futures, self.steps = pipe, futures, steps
        known = (pipe.config.class_names or {}).get("cell_type", [])
        kinds = [kind for kind in sorted(set(real.cell_types)) if kind in known]
        self.kinds: list[str | None] = list(kinds) or [None]
        self.clips, self.flow, self.scale = {}, {}, {}
        for kind in self.kinds:
            chosen = np.flatnonzero(real.cell_types == kind) if kind else np.arange(len(real))
            chosen = chosen[np.linspace(0, len(chosen) - 1, count).round().astype(int)]
            self.clips[kind] = real.frames[chosen].astype(np.float32) / 255
            self.flow[kind] = np.stack([real.flow[i] for i in chosen])
            self.scale[kind] = self.clips[kind].std(axis=(-2, -1)).mean()

    def sample(self, kind: str | None, seed: int, **conditions: Any) -> Any:
        """Output of the pipeline for all clips of a cell type."""
        count = len(self.clips[kind])
        generator = [torch.Generator().manual_seed(1000 * seed + k) for k in range(count)]
        options = {"batch_size": count, "num_inference_steps": self.steps, "generator": generator, "cell_type": kind}
        return self.pipe(**options, **conditions)

    def error(self, kind: str | None, frames: np.ndarray) -> np.ndarray:
        """Frame error `(F,)` of clips."""
        return np.sqrt(((frames - self.clips[kind]) ** 2).mean(axis=(0, 2, 3))) / self.scale[kind]

    def frame_errors(self, mask: np.ndarray, baselines: dict[str, Any]) -> Curves:
        """Error of samples, of their mean and of the baselines at each frame that is not given."""
        each: list[Curves] = []
        for kind in self.kinds:
            clips = self.clips[kind]
            drawn = [
                self.sample(kind, seed, frames=clips, frame_mask=mask, num_frames=clips.shape[1]).frames
                for seed in range(self.futures)
            ]
            curves = {
                "one sample": np.mean([self.error(kind, one) for one in drawn], axis=0),
                f"mean of {self.futures} samples": self.error(kind, np.mean(drawn, axis=0)),
            }
            curves |= {name: self.error(kind, make(clips)) for name, make in baselines.items()}
            each.append(curves)
        return {name: np.mean([curves[name] for curves in each], axis=0)[~mask] for name in each[0]}

    def first_frame(self) -> Curves:
        mask = np.arange(self.length) < 1
        return self.frame_errors(mask, {"persistence": lambda clips: np.repeat(clips[:, :1], clips.shape[1], axis=1)})

    def prediction(self) -> Curves:
        def persist(clips: np.ndarray) -> np.ndarray:
            return np.repeat(clips[:, GIVEN - 1 : GIVEN], clips.shape[1], axis=1)

        mask = np.arange(self.length) < GIVEN
        baselines = {"persistence": persist, "flow extrapolation": lambda clips: extrapolate(clips, GIVEN)}
        return self.frame_errors(mask, baselines)

    def interpolation(self) -> Curves:
        position = np.arange(self.length)
        baselines = {
            "linear blending": lambda clips: between(clips, GIVEN, follow_flow=False),
            "flow warping": lambda clips: between(clips, GIVEN, follow_flow=True),
        }
        return self.frame_errors((position < GIVEN) | (position >= self.length - GIVEN), baselines)

    def flow_to_video(self) -> dict[str, float]:
        """Compare the given flow with the flow estimated from the generated frames."""
        return self._flow_errors(lambda kind: (self.flow[kind], self.sample(kind, 0, flow=self.flow[kind]).frames))

    def video_to_flow(self) -> dict[str, float]:
        """Compare the flow that the checkpoint predicts for real clips with the flow estimated from them."""

        def answer(kind: str) -> tuple[np.ndarray, np.ndarray]:
            clips = self.clips[kind]
            return self.sample(kind, 0, frames=clips, num_frames=clips.shape[1]).flow, clips

        return self._flow_errors(answer)

    def flow_of_recordings(self) -> dict[str, float]:
        """The same for the flow stored with the real clips, as a measure of what can be reached."""
        return self._flow_errors(lambda kind: (self.flow[kind], self.clips[kind]))

    def _flow_errors(self, answer: Callable[[str], tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        rows = []
        for kind in self.kinds:
            flow, frames = answer(kind)
            rows.append(flow_errors(frames, flow))
        return dict(zip(("error", "zero-flow error", "correlation"), np.mean(rows, axis=0).tolist(), strict=True))

    def roll_outs(self, real: ClipSet, num_frames: int, videos: int) -> Curves:
        """Distances of each window of long videos in units of the floor, with the held-out clips' mix of cell types."""
        long = []
        names = asked_in_mix(self.pipe, real.cell_types, videos).get("cell_type", [None] * videos)
        for kind in sorted(set(names)):
            seeds = [seed for seed, name in enumerate(names) if name == kind]
            generator = [torch.Generator().manual_seed(seed) for seed in seeds]
            options = {"batch_size": len(seeds), "cell_type": kind, "num_inference_steps": self.steps}
            long.append(roll_out(self.pipe, num_frames, generator=generator, **options).frames)
        frames = (np.concatenate(long) * 255).round().astype(np.uint8)
        windows = [frames[:, k : k + self.length] for k in range(0, num_frames - self.length + 1, self.length)]
        found = [distances_to(real, window) for window in windows]
        return {family: np.array([one[family]["ratio"] for one in found]) for family in found[0]}

    @property
    def length(self) -> int:
        return self.clips[self.kinds[0]].shape[1]


def curve_table(curves: Curves, positions: np.ndarray) -> str:
    """Markdown: a row for each method, a column for each frame."""
    rows = ([name, *(f"{value:.2f}" for value in [*values, values.mean()])] for name, values in curves.items())
    return table(["", *map(str, positions), "mean"], rows)


def draw(path: Path, panels: dict[str, tuple[np.ndarray, Curves, str, str]]) -> None:
    """Draw one panel per task."""
    figure, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.4), layout="constrained")
    for axis, (title, (positions, curves, across, up)) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        for name, values in curves.items():
            network = "sample" in name or up.startswith("distance")
            axis.plot(positions, values, "o-" if network else "s--", label=name, markersize=4)
        axis.set(title=title, xlabel=across, ylabel=up, ylim=(0, None))
        axis.legend(fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path(__file__).parents[1] / "checkpoints" / "cellvid-tiny")
    parser.add_argument("--real", type=Path, required=True, help="data set whose validation split is held out")
    parser.add_argument("--clips", type=int, default=12, help="clips of each cell type")
    parser.add_argument("--futures", type=int, default=4)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--roll-out", type=int, default=100, metavar="FRAMES")
    parser.add_argument("--videos", type=int, default=16, help="videos to roll out")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figure", type=Path, required=True)
    arguments = parser.parse_args()

    pipe = load_pipeline(arguments.checkpoint)
    side = pipe.unet.config.sample_size
    real = load_clips(arguments.real, split="validation").crop(10, side, side)
    tasks = Tasks(pipe, real, arguments.clips, arguments.futures, arguments.steps)
    error = "error over the clips' standard deviation"
    ahead = {1: tasks.first_frame(), GIVEN: tasks.prediction()}
    middle = tasks.interpolation()
    drift = tasks.roll_outs(real, arguments.roll_out, arguments.videos)
    inner = np.arange(GIVEN, tasks.length - GIVEN)
    starts = tasks.length * np.arange(len(next(iter(drift.values()))))
    panels = {
        "First frame given": (np.arange(1, tasks.length), ahead[1], "frame", error),
        f"First {GIVEN} frames given": (np.arange(GIVEN, tasks.length), ahead[GIVEN], "frame", error),
        f"{GIVEN} frames at both ends given": (inner, middle, "frame", error),
        "Roll-out": (starts, drift, "first frame of the window", "distance over the real-vs-real floor"),
    }
    arguments.figure.parent.mkdir(parents=True, exist_ok=True)
    draw(arguments.figure, panels)
    count = arguments.clips * len(tasks.kinds)
    lines = [f"# {(__doc__ or '').strip()}", f"{count} held-out clips; {arguments.videos} videos rolled out."]
    picture = os.path.relpath(arguments.figure, arguments.out.parent)
    lines.append(f"![One panel per task]({picture})")
    for title, (positions, curves, across, up) in panels.items():
        lines += [f"## {title}", f"{up.capitalize()} by {across}:", curve_table(curves, positions)]
    rows = {
        "video from given flow": tasks.flow_to_video(),
        "flow from given video": tasks.video_to_flow(),
        "flow of the recordings": tasks.flow_of_recordings(),
    }
    lines += ["## Flow", "Compared with OpenCV's DIS flow of the frames, which was not used in training:"]
    columns = list(next(iter(rows.values())))
    lines.append(table(["", *columns], ([name, *(f"{row[c]:.2f}" for c in columns)] for name, row in rows.items())))
    arguments.out.write_text("\n\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
