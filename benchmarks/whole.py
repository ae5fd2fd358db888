"""What a user waits for: a finished sample, a batch of data, an evaluation, an import, a checkpoint."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from diffusers import DDIMScheduler
from networks import autocast, make
from timing import stopwatch, summarise, take_turns

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.data import ClipDataset, load_patches, write_simulated
from cellvid_diffusers.simulation import simulate

ROOT = Path(__file__).parent.parent
CHECKPOINT = ROOT / "checkpoints" / "cellvid-tiny"


def pipeline(name: str, quick: bool) -> CellVideoPipeline:
    """A pipeline around one of our candidates, with the scheduler of the training configurations."""
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
    )
    pipe = CellVideoPipeline(make(name, quick)[0].eval(), scheduler)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def samples(names: list[str], quick: bool, repeats: int) -> dict[str, Any]:
    """A finished clip with our default steps, 10 x 128 x 128, float32 and bfloat16."""
    size, frames = (32, 4) if quick else (128, 10)

    def call(pipe: CellVideoPipeline, bfloat16: bool) -> None:
        with autocast("cpu", bfloat16):
            pipe(num_frames=frames, height=size, width=size, generator=torch.Generator().manual_seed(0))

    calls = {}
    for name in names:
        pipe = pipeline(name, quick)
        calls[name] = lambda pipe=pipe, name=name: call(pipe, "bfloat16" in name)
    return take_turns(calls, repeats=repeats, once_above=60)


def embedded_checkpoint(repeats: int) -> dict[str, Any]:
    """A clip of `cellvid-tiny` at its own size on all cores, and how much bfloat16 changes it."""
    pipe = CellVideoPipeline.from_pretrained(CHECKPOINT)
    pipe.set_progress_bar_config(disable=True)

    def clip(bfloat16: bool) -> np.ndarray:
        with autocast("cpu", bfloat16):
            return pipe(generator=torch.Generator().manual_seed(0)).frames

    kept, cores = torch.get_num_threads(), usable_cores()
    torch.set_num_threads(cores)
    rows = take_turns({"float32": lambda: clip(False), "bfloat16": lambda: clip(True)}, repeats=repeats)
    torch.set_num_threads(kept)
    difference = np.abs(clip(True) - clip(False)).mean() / clip(False).std()
    return {"cores": cores, "rows": rows, "bfloat16_difference_in_std": float(difference)}


def data_loading(quick: bool, repeats: int) -> dict[str, Any]:
    """Training clips per second of one process, including crops, windows and rotation by any angle."""
    with tempfile.TemporaryDirectory() as folder:
        size, count = (32, 8) if quick else (64, 64)
        write_simulated(folder, num_videos=4, size=size * 3 // 2, num_frames=16, seed=0, progress=False)
        patches = load_patches(folder, "train")
        clips = {
            f"{'decoded once' if preload else 'decoded each time'}": ClipDataset(
                patches, num_frames=10, size=size, transform={"any_angle": True}, preload=preload
            )
            for preload in (True, False)
        }
        calls = {name: lambda c=c: [c[i] for i in range(count)] for name, c in clips.items()}
        rows = take_turns(calls, repeats=repeats, once_above=60)
    for row in rows.values():
        row["clips_per_second"] = count / row["seconds"]
    return rows


def evaluation(quick: bool) -> dict[str, Any]:
    """`cellvid evaluate` on two folders of 100 clips of 10 x 128 x 128, as a user calls it.

    The clips are quarters of simulated cultures and their mirror images.
    """
    count, side = (8, 48) if quick else (100, 128)
    with tempfile.TemporaryDirectory() as folder:
        for name, seed in (("real", 0), ("synth", 100)):
            Path(folder, name).mkdir()
            for index in range(-(-count // 8)):
                video = simulate(num_frames=10, size=2 * side, seed=seed + index).video
                quarters = [video[:, y : y + side, x : x + side] for y in (0, side) for x in (0, side)]
                for number, clip in enumerate(quarters + [quarter[:, :, ::-1] for quarter in quarters]):
                    if 8 * index + number < count:
                        path = Path(folder, name, f"{index:02d}_{number}.tif")
                        tifffile.imwrite(path, np.ascontiguousarray(clip), metadata={"axes": "TYX"})
        sides = [str(Path(folder, name)) for name in ("real", "synth")]
        seconds = stopwatch(
            lambda: command("-m", "cellvid_diffusers.cli", "evaluate", *sides, "--out", f"{folder}/out")
        )
    return {"clips": 2 * count, **summarise([seconds])}


def start_up(quick: bool, repeats: int) -> dict[str, Any]:
    """Seconds of new processes: the interpreter alone, the import, the command's help, loading a checkpoint."""
    scripts = {
        "python alone": ("-c", "pass"),
        "import cellvid_diffusers": ("-c", "import cellvid_diffusers"),
        "cellvid --help": ("-m", "cellvid_diffusers.cli", "--help"),
    }
    if not quick:
        load = f"import cellvid_diffusers as c; c.CellVideoPipeline.from_pretrained({str(CHECKPOINT)!r})"
        scripts["import torch and diffusers"] = ("-c", "import torch, diffusers; diffusers.DiffusionPipeline")
        scripts["import and from_pretrained"] = ("-c", load)
    calls = {name: lambda arguments=arguments: command(*arguments) for name, arguments in scripts.items()}
    return take_turns(calls, repeats=repeats, once_above=60)


def command(*arguments: str) -> str:
    """Run this interpreter with the arguments and return what it prints."""
    done = subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True, cwd=ROOT)
    return done.stdout


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
