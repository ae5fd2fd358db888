"""Do generated cultures have the requested density? Measured with weights trained on simulated cultures.

    python benchmarks/density_guidance.py --out docs/density_guidance.md --picture docs/images/density_guidance.png

Simulates cultures of five densities, downscales them fourfold, trains `training/configs/density.yaml` on them, and
counts cells in clips requested at each density. Cells are counted as dark spots, because the segmentation network of
`cellvid evaluate` counts too few where they touch. The count is itself checked on held-out cultures whose cells are
known. Options that are not listed are passed to `training/train.py`.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import tifffile
import yaml
from markdown import table
from sampling import generate, load_pipeline
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from skimage.feature import peak_local_max

from cellvid_diffusers.data import prepare
from cellvid_diffusers.evaluation.clips import load_clips
from cellvid_diffusers.io import contact_sheet
from cellvid_diffusers.simulation import simulate
from cellvid_diffusers.simulation.parameters import DENSITIES

ROOT = Path(__file__).parents[1]
SHRINK, FRAMES, HELD_OUT = 4, 4, 4


def count_cells(frame: np.ndarray) -> int:
    """Number of dark spots the size of a cell body in a frame `(H, W)` of grey levels, 0 to 255."""
    body = gaussian_filter(frame.astype(np.float32), 1.0)
    surroundings = gaussian_filter(frame.astype(np.float32), 4.0)
    return len(peak_local_max(surroundings - body, min_distance=2, threshold_abs=5.0, exclude_border=False))


def make_data(work: Path, cultures: int, field: int) -> list[int]:
    """Prepare simulated recordings as a data set, replacing earlier ones; return cell counts of the held-out ones."""
    recordings, true_counts = [], []
    (work / "recordings").mkdir(parents=True, exist_ok=True)
    for density in DENSITIES:
        for seed in range(cultures):
            culture = simulate(num_frames=FRAMES, size=field, density=density, seed=seed)
            path = work / "recordings" / f"{density}_{seed:03d}.tif"
            tifffile.imwrite(path, culture.video, metadata={"axes": "TYX"})
            split = "validation" if seed < HELD_OUT else "train"
            recordings.append({"file": path.name, "culture": path.stem, "density": density, "split": split})
            if split == "validation":
                true_counts.append(len(np.unique(culture.masks[0])) - 1)
    sidecar = work / "recordings" / "recordings.yaml"
    sidecar.write_text(yaml.safe_dump({"recordings": recordings}))
    shutil.rmtree(work / "data", ignore_errors=True)
    options = {"patch_size": field // SHRINK, "downscale": SHRINK, "num_frames": FRAMES, "flow": "none"}
    prepare([], work / "data", sidecar=sidecar, root=work / "recordings", reject=False, **options)
    return true_counts


def sample(checkpoint: Path, clips: int, guidance: float, steps: int) -> dict[str, np.ndarray]:
    """Clips `(N, F, H, W)` uint8 generated for each density."""
    pipe = load_pipeline(checkpoint)
    made = {}
    options = {"guidance_scale": guidance, "num_inference_steps": steps, "num_frames": FRAMES}
    for index, density in enumerate(DENSITIES):
        seeds = range(1000 * index, 1000 * index + clips)
        made[density] = generate(pipe, seeds, density=density, **options)[0]
    return made


def correlation(counts: dict[str, list[int]], resamples: int = 2000) -> tuple[float, float, float]:
    """Spearman correlation of the requested density and the count, and its 95 % interval over the clips."""
    asked = np.concatenate([[index] * len(of) for index, of in enumerate(counts.values())])
    found = np.concatenate(list(counts.values()))
    rng = np.random.default_rng(0)
    drawn = [spearmanr(asked[i], found[i]).statistic for i in rng.integers(0, len(asked), (resamples, len(asked)))]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(spearmanr(asked, found).statistic), float(low), float(high)


def row(name: str, counts: dict[str, list[int]]) -> list[str]:
    value, low, high = correlation(counts)
    cells = [f"{np.mean(of):.1f} ± {np.std(of):.1f}" for of in counts.values()]
    return [name, *cells, f"{value:.2f} [{low:.2f}, {high:.2f}]"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "density")
    parser.add_argument("--cultures", type=int, default=24, help=f"cultures of each density; {HELD_OUT} are held out")
    parser.add_argument("--field", type=int, default=256, help="side of a culture in pixels, before it is shrunk")
    parser.add_argument("--clips", type=int, default=16, help="clips of each density")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--picture", type=Path, required=True)
    arguments, train_options = parser.parse_known_args()
    true_counts = make_data(arguments.work, arguments.cultures, arguments.field)
    command = [sys.executable, ROOT / "training" / "train.py", "--config", ROOT / "training/configs/density.yaml"]
    run = arguments.work / f"run_{arguments.cultures}_{arguments.field}"  # other cultures need other weights
    command += ["--dataset_name", arguments.work / "data", "--output_dir", run]
    command += ["--resolution", arguments.field // SHRINK]
    command += ["--resume_from_checkpoint", "latest", *train_options]
    subprocess.run([str(word) for word in command], check=True, cwd=ROOT)

    real = load_clips(arguments.work / "data", split="validation")
    by_name = {name: count_cells(clip[0]) for name, clip in zip(real.recordings, real.frames, strict=True)}
    counted = [by_name[f"{density}_{seed:03d}"] for density in DENSITIES for seed in range(HELD_OUT)]
    of_density = np.reshape(counted, (len(DENSITIES), HELD_OUT)).tolist()
    lines = [f"# {(__doc__ or '').strip()}\n"]
    head = ["cells counted", *DENSITIES, "Spearman correlation with the requested density"]
    rows = [row("simulated, held out", dict(zip(DENSITIES, of_density, strict=True)))]
    pictures: list[np.ndarray] = []
    for guidance in arguments.guidance:
        made = sample(run, arguments.clips, guidance, arguments.steps)
        rows.append(row(f"generated, guidance {guidance:g}", {d: [count_cells(c[0]) for c in made[d]] for d in made}))
        pictures = pictures or [np.concatenate(list(clips[:8, 0]), axis=-1)[None] for clips in made.values()]
    lines.append(table(head, rows))
    check = spearmanr(true_counts, counted).statistic
    lines.append(f"\nCounted against true number of cells in held-out cultures: Spearman correlation {check:.2f}.")
    picture = os.path.relpath(arguments.picture, arguments.out.parent)
    lines.append(f"\n![Eight clips of each density]({picture})")
    arguments.picture.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(pictures, path=arguments.picture, labels=list(DENSITIES))
    arguments.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines[-6:]))


if __name__ == "__main__":
    main()
