"""From the paper's motion model to ours, one change per rung: same data, same number of training clips, same sampler.

    python benchmarks/motion_ladder.py --real data/ladder --clips 12000 --out docs/motion_ladder.md \\
        --figure docs/images/motion_ladder.png
    python benchmarks/motion_ladder.py --rungs 9_joint 9_without_flow --seeds 1 2 …
    python benchmarks/motion_ladder.py --rungs 9_joint_64 9_without_flow_64 --real data/tiny_validation …

Options of `training/train.py` can be added, on a GPU for example `--batch-size 64 --clips_on_device true --compile
true`. Each rung is a file in `training/configs/ladder`. Rungs 5 to 8 spend the first half of their clips on a
video-only model; rung 9 is not part of the sequence. Finished rungs are kept in `--work` and not run again, and an
interrupted rung continues where it stopped. Measurements made with other held-out clips or another number of steps are
repeated; rungs with another number of training clips, or for another held-out set, need a separate `--work`.
Appearance, spectrum and motion: distance to the held-out clips in units of the real-vs-real floor, with a 95 % interval
over the clips in brackets (the range over seeds where there are several). Explained: share of the motion seen in the
generated frames that the flow generated with them accounts for, over all clips (1 all, 0 no better than zero flow,
below 0 worse). The notes of an existing page are kept, and so are the rungs that earlier calls have finished. Generated
clips have the same mix of cell types as the held-out ones: the types differ so much that another mix would add a
distance of its own.

"Ancestral": the paper's sampler, with ten times as many steps and a quarter of the clips, for rungs that predict noise
as the paper does. "Finished": one more prediction removes the noise that the sampler leaves (`residual_noise` 0.1);
"guided": in addition, the video is pushed towards its flow (`motion_guidance_scale` 1.5).
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import DDPMScheduler
from distances import distances_to
from markdown import table
from sampling import generate, load_pipeline, names_in_mix

from cellvid_diffusers.evaluation.clips import ClipSet, load_clips
from cellvid_diffusers.evaluation.motion import flow_agreement
from cellvid_diffusers.io import contact_sheet

ROOT = Path(__file__).parents[1]
LADDER = ROOT / "training" / "configs" / "ladder"
RUNGS = tuple(sorted(path.stem for path in LADDER.glob("*.yaml") if path.stem not in ("common", "5_video")))
CLIMBED = tuple(rung for rung in RUNGS if not rung.endswith("_64"))
"""Rungs that are run by default: those of the small size."""
WARM = tuple(rung for rung in RUNGS if rung[0] in "5678")
"""Rungs that start from `5_video`."""
SAMPLERS: dict[str, dict[str, float]] = {
    "ancestral": {},
    "finished": {"residual_noise": 0.1},
    "guided": {"residual_noise": 0.1, "motion_guidance_scale": 1.5},
}
"""Additional samplers, with their pipeline arguments."""
SAMPLED_AGAIN: dict[str, tuple[str, ...]] = {
    **{rung: ("ancestral",) for rung in RUNGS if rung[0] in "123"},
    **{rung: ("finished", "guided") for rung in ("9_joint", "9_joint_64")},
    **{rung: ("finished",) for rung in ("9_without_flow", "9_without_flow_64")},
}
"""Additional samplers of each rung."""
FAMILIES = ("appearance", "spectrum", "motion")
BATCH_SIZE = 32
"""Clips sampled at a time."""


def train(config: str, out: Path, clips: int, seed: int, arguments: argparse.Namespace, *extra: str | Path) -> None:
    """Train one configuration for a number of clips, or resume it."""
    batch = arguments.batch_size
    command = [sys.executable, ROOT / "training" / "train.py", "--config", LADDER / f"{config}.yaml"]
    command += ["--output_dir", out, "--seed", str(seed), "--max_train_steps", str(clips // batch)]
    command += ["--train_batch_size", str(batch), "--resume_from_checkpoint", "latest"]
    command += [*arguments.train_options, *extra]
    subprocess.run([str(word) for word in command], check=True, cwd=ROOT)


def sample(folder: Path, cell_types: list[str], steps: int, sampler: str = "") -> tuple[np.ndarray, np.ndarray | None]:
    """Clips `(N, F, H, W)` uint8 of these cell types and their flow, seeds 0 to N - 1.

    The sampler is one of `SAMPLERS` or the checkpoint's own; `ancestral` is the paper's, which clips every estimate of
    the clean clip to the range of grey levels.
    """
    pipe = load_pipeline(folder)
    if sampler == "ancestral":
        mean, spread = pipe.config.video_mean, pipe.config.video_std
        widest = max(mean, 1 - mean) / spread
        options = {"clip_sample": True, "clip_sample_range": widest, "timestep_spacing": "leading"}
        pipe.scheduler = DDPMScheduler.from_config(pipe.scheduler.config, **options)
    named = {"cell_type": cell_types} if "cell_type" in (pipe.config.class_names or {}) else {}
    options = {"batch_size": BATCH_SIZE, "num_inference_steps": steps, **SAMPLERS.get(sampler, {})}
    return generate(pipe, range(len(cell_types)), **options, **named)[:2]


@cache
def held_out(path: Path) -> ClipSet:
    """The held-out clips that generated ones are compared with."""
    return load_clips(path, split="validation")


@cache
def fingerprint(path: Path) -> str:
    """Hash of the held-out clips, which changes when the set is prepared again."""
    return hashlib.sha256(np.ascontiguousarray(held_out(path).frames)).hexdigest()[:16]


def run(rung: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train, sample and measure one rung with one seed; read the result if it is there."""
    folder = arguments.work / f"{rung}-{seed}"
    start, clips, extra = time.monotonic(), arguments.clips, ()
    if not (folder / "ladder.json").exists():
        if rung in WARM:
            clips //= 2
            before = arguments.work / f"5_video-{seed}"
            train("5_video", before, clips, seed, arguments)
            extra = ("--pretrained_model_name_or_path", before)
        train(rung, folder, clips, seed, arguments, *extra)
    return result_of(folder, "", arguments, start)


def result_of(folder: Path, sampler: str, arguments: argparse.Namespace, start: float) -> dict[str, Any]:
    """Measurements of a trained rung, repeated if the stored ones are for other generated or held-out clips.

    Raises:
        SystemExit: If the rung was trained on another number of clips.
    """
    result = folder / f"{sampler or 'ladder'}.json"
    count, steps = budget(sampler, arguments)
    cell_types = names_in_mix(held_out(arguments.real).cell_types, count)
    asked = {"cell_types": cell_types, "steps": steps, "real": fingerprint(arguments.real), "explained": "of all clips"}
    row = json.loads(result.read_text()) if result.exists() else {}
    if row.get("clips", arguments.clips) != arguments.clips:
        trained = f"{folder} was trained on {row['clips']} clips"
        raise SystemExit(f"{trained}, got --clips {arguments.clips}: name a new --work")
    if any(row.get(name) != value for name, value in asked.items()):
        row = measure(arguments.real, *sample(folder, cell_types, steps, sampler), result.with_suffix(".png"))
        row |= asked | {"clips": arguments.clips, "minutes": (time.monotonic() - start) / 60}
        result.write_text(json.dumps(row))
    return row


def budget(sampler: str, arguments: argparse.Namespace) -> tuple[int, int]:
    """Number of clips to sample, and of steps."""
    if sampler == "ancestral":
        return arguments.ancestral_samples, 10 * arguments.steps
    return arguments.samples, arguments.steps


def draw(rows: dict[str, list[dict[str, Any]]], arguments: argparse.Namespace) -> None:
    """Draw the first two clips of each cell type side by side, for each rung and its first seed."""
    clips = []
    for rung in rows:
        name, _, sampler = rung.partition(", ")
        kinds = sorted(set(held_out(arguments.real).cell_types))
        folder = arguments.work / f"{name}-{seeds_of(name, arguments)[0]}"
        frames, _ = sample(folder, 2 * kinds, budget(sampler, arguments)[1], sampler)
        frames = np.concatenate([frames[k :: len(kinds)] for k in range(len(kinds))])
        apart = np.pad(frames, ((0, 0), (0, 0), (0, 0), (0, 2)), constant_values=255)
        clips.append(np.concatenate(list(apart), axis=-1))
    labels = [rung.replace("_", " ").replace(", ", "\n") for rung in rows]
    contact_sheet(clips, path=arguments.figure, labels=labels, max_frames=4)


def measure(real_clips: Path, frames: np.ndarray, flow: np.ndarray | None, picture: Path) -> dict[str, Any]:
    """Measure distances to held-out clips and the agreement of the flow; save a picture of four of the clips."""
    real = held_out(real_clips).crop(*frames.shape[1:])
    distances = distances_to(real, frames)
    agreement = None
    if flow is not None:
        agreement = flow_agreement(frames, flow)
    contact_sheet(list(frames[:: max(1, len(frames) // 4)][:4]), path=picture)
    return {
        "distances": {family: {k: distances[family][k] for k in ("ratio", "interval")} for family in FAMILIES},
        "flow_agreement": agreement,
    }


def seeds_of(rung: str, arguments: argparse.Namespace) -> list[int]:
    """The requested seeds and those that earlier calls have finished."""
    asked = arguments.seeds if rung in arguments.rungs else []
    finished = arguments.work.glob(f"{rung}-*/ladder.json")
    return sorted({*asked, *(int(path.parent.name.rpartition("-")[2]) for path in finished)})


def climbed(rows: dict[str, list[dict[str, Any]]], clips: int) -> str:
    """Markdown table of all rungs that were run."""
    lines = []
    for rung, runs in rows.items():
        cells = []
        for family in FAMILIES:
            ratios = [run["distances"][family]["ratio"] for run in runs]
            ends = runs[0]["distances"][family]["interval"] if len(runs) == 1 else (min(ratios), max(ratios))
            cells.append(f"{np.mean(ratios):.1f} [{ends[0]:.1f}, {ends[1]:.1f}]")
        known = [run["flow_agreement"]["explained"] for run in runs if run["flow_agreement"]]
        lines.append([rung, str(len(runs)), *cells, f"{np.mean(known):.3g}" if known else "—"])
    head = ["rung", "seeds", *FAMILIES, "explained"]
    return f"{clips:,} training clips per rung.\n\n{table(head, lines)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="data set whose validation split is held out")
    parser.add_argument("--rungs", nargs="+", default=CLIMBED, choices=RUNGS, metavar="RUNG")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--clips", type=int, default=40_000, help="training clips of each rung")
    parser.add_argument("--batch-size", type=int, default=4, help="training clips per step")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--ancestral-samples", type=int, default=16)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "ladder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figure", type=Path, help="contact sheet of all finished rungs")
    arguments, arguments.train_options = parser.parse_known_args()
    rows: dict[str, list[dict[str, Any]]] = {}
    page = arguments.out.read_text() if arguments.out.exists() else ""
    _, heading, notes = page.partition("\n## Notes\n")
    for rung in RUNGS:
        runs = [run(rung, seed, arguments) for seed in seeds_of(rung, arguments)]
        if runs:
            rows[rung] = runs
            for sampler in SAMPLED_AGAIN.get(rung, ()):
                folders = [arguments.work / f"{rung}-{seed}" for seed in seeds_of(rung, arguments)]
                again = [result_of(folder, sampler, arguments, time.monotonic()) for folder in folders]
                rows[f"{rung}, {sampler}"] = again
            text = f"# {(__doc__ or '').strip()}\n\n{climbed(rows, arguments.clips)}\n"
            arguments.out.write_text(text + heading + notes)
    print(climbed(rows, arguments.clips))
    if arguments.figure:
        draw(rows, arguments)


if __name__ == "__main__":
    main()
