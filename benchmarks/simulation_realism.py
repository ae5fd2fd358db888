"""Simulated cultures compared with real recordings: intensity, radial power spectrum, speed.

    python benchmarks/simulation_realism.py --data RECORDINGS --out docs/simulation.md

Recordings of known pixel size are rescaled to the simulator's 1 um per pixel; the others are used as they are. After
equalising flicker, random windows of 128 x 128 pixels and ten frames are drawn from each recording, and the half with
the highest contrast is measured; each recording gives one figure. Simulated: three densities by three maturities, one
figure each. Speeds come from the same estimator (OpenCV's dense inverse search) on both sides. Growth-cone recordings
are left out because their fields are only 30 um wide.

Outside the range of the recordings is the share of pixels that seem to move, because a recording's background drifts,
jitters and flickers while the simulator's is exactly still.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile
from markdown import table
from scipy import stats

from cellvid_diffusers.data import equalize_flicker
from cellvid_diffusers.flow import dis_flow
from cellvid_diffusers.io import contact_sheet
from cellvid_diffusers.simulation import DENSITIES, MATURITIES, simulate

SIZE, FRAMES, WINDOWS = 128, 10, 10
SHOWN = (("sparse", "very_young"), ("moderate", "mature"), ("dense", "mature"), ("very_dense", "very_mature"))
BANDS = ((64, 32), (32, 16), (16, 8), (8, 4), (4, 2))
MOVING = 0.25
"""Speed in px/frame above which a pixel counts as moving."""


def real_clips(data: Path, rng: np.random.Generator) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Name and windows of each recording."""
    for entry in json.loads((data / "INDEX.json").read_text()):
        if entry["frames"] < FRAMES or entry["file"].startswith("growth_cones"):
            continue
        frames = tifffile.imread(data / entry["file"])[:FRAMES]
        scale = entry["pixel_size_um"] or 1.0
        shape = (round(frames.shape[2] * scale), round(frames.shape[1] * scale))
        frames = equalize_flicker(np.stack([cv2.resize(f, shape, interpolation=cv2.INTER_AREA) for f in frames]))
        corners = rng.integers(0, np.array(frames.shape[1:]) - SIZE + 1, (WINDOWS, 2))
        windows = sorted((frames[:, y : y + SIZE, x : x + SIZE] for y, x in corners), key=np.std)
        yield entry["file"], windows[WINDOWS // 2 :]


def simulated_clips() -> Iterator[tuple[str, list[np.ndarray]]]:
    """Name and clips of each class."""
    for density in DENSITIES[1:4]:
        for maturity in MATURITIES:
            clips = [simulate(density=density, maturity=maturity, seed=seed).video for seed in range(3)]
            yield f"{density}, {maturity}", clips


def measure(clip: np.ndarray) -> dict[str, float]:
    """Figures of one clip `(F, H, W)` uint8."""
    values = clip.astype(float)
    middle = np.median(values)
    low, high = np.percentile(values, (1, 99)) - middle
    result = {
        "median, grey levels": middle,
        "standard deviation, grey levels": values.std(),
        "1st percentile minus median": low,
        "99th percentile minus median": high,
        "excess kurtosis": stats.kurtosis(values.ravel()),
    }
    power = radial_power(values[0])
    for (longest, shortest), band in zip(BANDS, power, strict=True):
        result[f"log10 power, {longest} to {shortest} px"] = band
    speed = np.linalg.norm(dis_flow(clip).numpy(), axis=0)
    moving = speed[speed > MOVING]
    result[f"pixels faster than {MOVING} px/frame, %"] = 100 * len(moving) / speed.size
    for share in (50, 90, 99):
        result[f"speed of moving pixels, {share}th percentile, px/frame"] = float(np.percentile(moving, share))
    return result


def radial_power(image: np.ndarray) -> list[float]:
    """log10 of the mean power, in grey levels squared, in bands of wavelength, under a Hann window."""
    window = np.outer(np.hanning(SIZE), np.hanning(SIZE))
    spectrum = np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2 / np.sum(window**2)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE)))
    return [
        float(np.log10(spectrum[(frequency >= 1 / longest) & (frequency < 1 / shortest)].mean()))
        for longest, shortest in BANDS
    ]


def summarise(clips: Iterator[tuple[str, list[np.ndarray]]]) -> list[dict[str, float]]:
    """For each recording or class, the mean of each figure over its clips."""
    rows = []
    for _, group in clips:
        figures = [measure(clip) for clip in group]
        rows.append({name: float(np.mean([each[name] for each in figures])) for name in figures[0]})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with INDEX.json and the recordings")
    parser.add_argument("--out", type=Path, help="Markdown file to write; by default only printed")
    parser.add_argument("--sheet", type=Path, help="contact sheet of simulated clips to write: seed 0, uncurated")
    arguments = parser.parse_args()
    if arguments.sheet:
        shown = [simulate(density=density, maturity=maturity) for density, maturity in SHOWN]
        labels = [density.replace("_", " ") for density, _ in SHOWN]
        contact_sheet(
            [each.video for each in shown],
            [np.concatenate([each.flow, each.flow[-1:]]) for each in shown],
            path=arguments.sheet,
            labels=labels,
            max_frames=5,
        )
    real = summarise(real_clips(arguments.data, np.random.default_rng(0)))
    simulated = summarise(simulated_clips())
    head = [f"over {len(real)} recordings and {len(simulated)} simulated classes", "real: min, median, max"]
    head += ["simulated: min, median, max", "simulated median"]
    rows = []
    for name in real[0]:
        ours, theirs = [row[name] for row in simulated], [row[name] for row in real]
        low, high = min(theirs), max(theirs)
        verdict = "within" if low <= np.median(ours) <= high else "**outside**"
        spans = (f"{min(x):.2f}, {np.median(x):.2f}, {max(x):.2f}" for x in (theirs, ours))
        rows.append([name, *spans, verdict])
    found = table(head, rows) + "\n"
    print(found)
    if arguments.out:
        picture = ""
        if arguments.sheet:
            where = arguments.sheet.relative_to(arguments.out.parent)
            classes = ", ".join(f"{density} {maturity}".replace("_", " ") for density, maturity in SHOWN)
            picture = (
                f"![Simulated clips and their exact flow]({where})\n\nSimulated, seed 0, uncurated: {classes}.\n\n"
            )
        arguments.out.write_text(f"# Simulated cultures compared with recordings\n\n{picture}{__doc__}\n{found}")


if __name__ == "__main__":
    main()
