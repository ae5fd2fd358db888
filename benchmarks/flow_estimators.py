"""Flow estimators compared on simulated cultures with exact flow and on real frames.

    python benchmarks/flow_estimators.py --data RECORDINGS --out docs/flow_estimators.md

End-point error: mean distance to the true flow in px/frame, over pixels whose true speed lies in the range of the
column, or over the moving pixels (0.25 px/frame or more) of a density. Residual: mean difference of frames after
warping by the flow, as a share of the difference before; 0 explains everything, 1 nothing. Lucas-Kanade is sparse: its
error is over its tracks only and is not comparable with the others. One thread; milliseconds per pair of 128 x 128
frames.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile
import torch
from flow_peers import farneback, ilk, tv_l1
from flow_quality import residual
from markdown import table

from cellvid_diffusers import horn_schunck, simulate
from cellvid_diffusers.data import equalize_flicker
from cellvid_diffusers.flow import dis_flow, lucas_kanade

SIZE, FRAMES, SEEDS = 128, 10, 3
DENSITIES = ("sparse", "moderate", "very_dense")
SPEEDS = ((0.0, 0.25), (0.25, 1.0), (1.0, 3.0), (3.0, np.inf))
"""Ranges of the true speed, px/frame."""


ESTIMATORS: dict[str, Callable[[np.ndarray], torch.Tensor]] = {
    "no motion": lambda clip: torch.zeros(2, len(clip) - 1, *clip.shape[1:]),
    "Horn-Schunck, the paper's": lambda clip: horn_schunck(clip, mode="paper"),
    "Horn-Schunck, pyramid": horn_schunck,
    "Horn-Schunck, pyramid, stillness 2": lambda clip: horn_schunck(clip, stillness=2),
    "OpenCV DIS": dis_flow,
    "OpenCV Farneback": farneback,
    "scikit-image TV-L1": tv_l1,
    "scikit-image ILK (dense Lucas-Kanade)": ilk,
}


def real_clips(data: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Folder of each recording, and the one of 20 random fields that changes most, with flicker equalised."""
    rng = np.random.default_rng(0)
    for entry in json.loads((data / "INDEX.json").read_text()):
        if entry["frames"] < FRAMES:
            continue
        frames = tifffile.imread(data / entry["file"])[:FRAMES]
        corners = rng.integers(0, np.array(frames.shape[1:]) - SIZE + 1, (20, 2))
        fields = [frames[:, y : y + SIZE, x : x + SIZE] for y, x in corners]
        field = max(fields, key=lambda field: np.abs(np.diff(field.astype(float), axis=0)).mean())
        yield entry["file"].split("/")[0], equalize_flicker(field)


def track_error(clip: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """End-point error of each step of the sparse tracks against the true flow `(F - 1, H, W, 2)`."""
    tracks = lucas_kanade(clip, detect_every=1)
    errors = []
    for k, flow in enumerate(truth[: len(clip) - 1]):
        start, end = tracks[:, k], tracks[:, k + 1]
        seen = np.isfinite(start).all(1) & np.isfinite(end).all(1)
        x, y = np.clip(start[seen].round().astype(int), 0, SIZE - 1).T
        errors.append(np.linalg.norm(end[seen] - start[seen] - flow[y, x], axis=1))
    return np.concatenate(errors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of recordings with an INDEX.json; no residuals if not given")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)

    cultures = {
        density: [simulate(density=density, seed=seed, size=SIZE, num_frames=FRAMES) for seed in range(SEEDS)]
        for density in DENSITIES
    }
    real: dict[str, list[np.ndarray]] = {}
    for folder, clip in real_clips(arguments.data) if arguments.data else ():
        real.setdefault(folder, []).append(clip)
    ranges = [f"{low:g} to {high:g}" if np.isfinite(high) else f"over {low:g}" for low, high in SPEEDS]
    header = ["estimator", "ms per pair", *(f"{name} px/frame" for name in ranges), *DENSITIES]
    header += [f"residual, {folder}" for folder in real]
    rows: list[list[str]] = []
    for name, estimate in ESTIMATORS.items():
        seconds, errors, speeds, by_density = [], [], [], []
        for videos in cultures.values():
            of_density = []
            for culture in videos:
                start = time.perf_counter()
                flow = np.asarray(estimate(culture.video))
                seconds.append((time.perf_counter() - start) / (FRAMES - 1))
                truth = np.moveaxis(culture.flow[: FRAMES - 1], -1, 0)
                errors.append(np.linalg.norm(flow - truth, axis=0).ravel())
                speeds.append(np.linalg.norm(truth, axis=0).ravel())
                of_density.append(errors[-1][speeds[-1] >= SPEEDS[0][1]])
            by_density.append(np.concatenate(of_density).mean())
        error, speed = np.concatenate(errors), np.concatenate(speeds)
        by_speed = [error[(speed >= low) & (speed < high)].mean() for low, high in SPEEDS]
        residuals = [np.mean([residual(clip, estimate(clip)) for clip in clips]) for clips in real.values()]
        figures = (f"{each:.2f}" for each in [*by_speed, *by_density, *residuals])
        rows.append([name, f"{1000 * np.median(seconds):.1f}", *figures])
        print(*rows[-1], flush=True)
    sparse = np.concatenate([track_error(c.video, c.flow) for videos in cultures.values() for c in videos])
    tracks = (
        f"Sparse Lucas-Kanade tracks (OpenCV): {len(sparse)} steps, end-point error median {np.median(sparse):.2f}, "
        f"mean {sparse.mean():.2f} px."
    )
    arguments.out.write_text(f"# {(__doc__ or '').strip()}\n\n{table(header, rows)}\n\n{tracks}\n")


if __name__ == "__main__":
    main()
