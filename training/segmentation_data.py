"""What the segmentation network learns from: frames with a label for each cell, cropped and augmented.

Sources: hand-annotated phase-contrast frames (`usiigaci_annotated/`), a tracker's masks (`t98g/`), the silver truth of
the Cell Tracking Challenge (`u373/`) and simulated cultures, whose neurites and bright or dark bodies the recordings
lack. The last digit of an annotated frame's number fixes its use, once and for all: 3 and the frames called `val_set`
are for testing, 5 for choosing thresholds (`benchmarks/segmentation.py` does both), the rest for training.
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import tifffile
from torch.utils.data import Dataset

from cellvid_diffusers.evaluation.segmentation_network import standardize
from cellvid_diffusers.simulation import CultureParameters, MicroscopeParameters, simulate

SCALES = (0.3, 1.3)
NATIVE_SCALES = (0.85, 1.15)
SIZES = (64, 96, 128, 160)
LEVELS = (1.0, 0.7, 0.5, 0.35)
SHARES = {"usiigaci_annotated": 0.8, "t98g": 0.1, "u373": 0.1}
"""Shares of the recordings among the crops that are not simulated."""
SIMULATED_SIDE = 256
"""Side of a simulated frame, px."""
MIN_COVER = 0.01
"""Share of a simulated frame that cells must cover."""
SQUARE = np.ones((3, 3), np.uint8)
OUTSIDE = np.float32(2**20)
"""Stands for the background where the smallest label around is sought."""
Pyramid = list[tuple[np.ndarray, np.ndarray]]
"""A frame `(H, W)` in [0, 1] and its labels at each of `LEVELS`."""


def frame_use(name: str) -> str:
    """`test`, `tune` or `train` for an annotated frame such as `train_set13`."""
    if name.startswith("val") or name.endswith("3"):
        return "test"
    return "tune" if name.endswith("5") else "train"


def read_annotated(folder: Path, use: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, frame `(H, W)` uint8 and labels `(H, W)` int32 of the annotated frames of one use."""
    for file in sorted((folder / "usiigaci_annotated").glob("*_masks.tif")):
        name = file.stem.removesuffix("_masks")
        if frame_use(name) == use:
            yield name, tifffile.imread(file.with_name(f"{name}.tif")), tifffile.imread(file).astype(np.int32)


def load_truth(folder: Path, uses: tuple[str, ...] = ("train",)) -> dict[str, list[Pyramid]]:
    """Frames of each source of recordings."""
    drawn = [pair for use in uses for _, *pair in read_annotated(folder, use)]
    pairs = {"usiigaci_annotated": drawn}
    for source, stem, stop in (("t98g", "t98g_usiigaci", None), ("u373", "u373_train01_aspect_restored", 40)):
        stacks = (tifffile.imread(folder / source / f"{stem}{end}.tif") for end in ("", "_masks"))
        pairs[source] = list(zip(*(stack[:stop:4] for stack in stacks), strict=True))
    return {source: [_pyramid(*pair) for pair in each] for source, each in pairs.items()}


def simulate_truth(count: int) -> list[Pyramid]:
    """Frames of simulated cultures, sparse to dense, in and out of focus; labels cover bodies and neurites."""
    kinds = list(product(("very_sparse", "sparse", "moderate", "dense"), ("very_young", "mature")))
    frames: list[Pyramid] = []
    seed = 0
    while len(frames) < count:
        rng, (density, maturity) = np.random.default_rng(seed), kinds[seed % len(kinds)]
        pixel_size_um, thickness = np.exp(rng.uniform(*np.log((0.3, 1.1)))), rng.uniform(1, 2)
        culture = simulate(
            num_frames=1,
            size=SIMULATED_SIDE,
            density=density,
            maturity=maturity,
            seed=seed,
            pixel_size_um=float(pixel_size_um),
            parameters=CultureParameters(neurite_radius_um=(0.45 * thickness, 0.8 * thickness)),
            microscope=MicroscopeParameters(
                defocus_um=float(rng.uniform(-5, 7)), transmission=float(rng.uniform(0.2, 0.6))
            ),
        )
        if (culture.cells > 0).mean() > MIN_COVER:
            frames.append(_pyramid(culture.video[0], culture.cells[0]))
        seed += 1
    return frames


def _pyramid(frame: np.ndarray, labels: np.ndarray) -> Pyramid:
    smaller = (resize(frame, labels, level) for level in LEVELS)
    return [(frame.astype(np.float32) / 255, labels) for frame, labels in smaller]


def resize(frame: np.ndarray, labels: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Resize a frame by area averaging and its labels by nearest neighbour."""
    size = round(frame.shape[1] * scale), round(frame.shape[0] * scale)
    small = cv2.resize(labels.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA), small.astype(np.int32)


def draw_crop(
    truth: dict[str, list[Pyramid]],
    size: int,
    rng: np.random.Generator,
    *,
    native_share: float = 0.0,
    simulated_share: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a frame `(size, size)` in [0, 1] and its labels: any scale of `SCALES`, any angle, mirrored or not.

    `native_share` of the crops are drawn from `NATIVE_SCALES`, `simulated_share` from simulated frames.
    """
    shares = {source: share * (1 - simulated_share) for source, share in SHARES.items()}
    shares["simulated"] = simulated_share
    frames = truth[rng.choice(list(shares), p=list(shares.values()))]
    pyramid = frames[rng.integers(len(frames))]
    scale = np.exp(rng.uniform(*np.log(NATIVE_SCALES if rng.random() < native_share else SCALES)))
    level = max((k for k, each in enumerate(LEVELS) if each >= min(scale, 1)), default=0)
    frame, labels = pyramid[level]
    angle, zoom = rng.uniform(0, 2 * np.pi), LEVELS[level] / scale
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn[:, 0] *= rng.choice([-1, 1])
    reach = np.abs(turn).sum(axis=1) * size / 2
    extent = np.array(frame.shape[::-1], float)
    room = np.maximum(extent / 2 - reach, 0)
    centre = extent / 2 + rng.uniform(-room, room)
    matrix = np.column_stack([turn, centre - turn @ (np.full(2, size) - 1) / 2])
    options = {"dsize": (size, size), "borderMode": cv2.BORDER_REFLECT_101}
    frame = cv2.warpAffine(frame, matrix, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, **options)
    labels = cv2.warpAffine(
        labels.astype(np.float32), matrix, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, **options
    )
    return frame, labels.astype(np.int32)


def augment(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vary a frame in [0, 1] as other microscopes (and models) do: debris out of focus, reversed contrast, sharpness,
    blur, illumination and noise. Returns it standardised."""
    if rng.random() < 0.4:
        frame = add_blobs(frame, rng)
    frame = 1 - frame if rng.random() < 0.35 else frame  # on the other side of focus, contrast is reversed
    if rng.random() < 0.3:
        blurred = cv2.GaussianBlur(frame, (0, 0), rng.uniform(0.8, 3))
        frame = frame + rng.uniform(0.5, 2.5) * (frame - blurred)
    frame = frame if rng.random() < 0.4 else cv2.GaussianBlur(frame, (0, 0), rng.uniform(0.3, 1.5))
    spread = max(float(frame.std()), 0.01)
    ramp = cv2.resize(rng.normal(size=(3, 3)).astype(np.float32), frame.shape[::-1], interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(size=frame.shape).astype(np.float32)
    if rng.random() < 0.5:
        noise = 2 * cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.5, 1.0))
    frame = frame + spread * (ramp * rng.uniform(0, 0.3) + noise * rng.choice([0, 1]) * rng.uniform(0, 0.25))
    squeeze = rng.uniform(2, 8)  # soft clipping of bright halos, as 8-bit recordings have it
    z = standardize(frame[None])[0]
    z = squeeze * np.tanh(z / squeeze) if rng.random() < 0.5 else z
    z = -z if rng.random() < 0.12 else z
    return (z * np.exp(rng.normal(0, 0.4)) + rng.normal(0, 0.15)).astype(np.float32)


def add_blobs(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add one to four smooth blobs, mostly dark, some with a rim: what lies far out of focus."""
    height, width = frame.shape
    contrast = max(float(frame.std()), 0.01)
    y, x = np.mgrid[:height, :width]
    for _ in range(rng.integers(1, 5)):
        radius = rng.uniform(4, 30)
        distance = ((y - rng.uniform(0, height)) ** 2 + (x - rng.uniform(0, width)) ** 2) / radius**2
        profile = np.exp(-distance / 2) - rng.uniform(0, 0.5) * np.exp(-distance / 8)
        frame = frame + contrast * rng.choice([-1, 1], p=[0.7, 0.3]) * rng.uniform(0.3, 2.5) * profile
    return frame.astype(np.float32)


def make_targets(labels: np.ndarray) -> np.ndarray:
    """Foreground, depth and contact, `(3, H, W)` float32, of instance labels `(H, W)`."""
    inside, numbers = labels > 0, labels.astype(np.float32)
    largest, smallest = cv2.dilate(numbers, SQUARE), cv2.erode(numbers, SQUARE)
    nearest = cv2.erode(np.where(inside, numbers, OUTSIDE), SQUARE)
    seam = (largest > 0) & (nearest < OUTSIDE) & (largest != nearest)
    core = inside & (largest == numbers) & (smallest == numbers)
    distance = cv2.distanceTransform(core.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) + 0.5
    deepest = np.ones(labels.max() + 1, np.float32)
    np.maximum.at(deepest, labels.ravel(), distance.ravel())
    depth = np.where(inside, distance / deepest[labels], 0)
    return np.stack([inside, depth, cv2.dilate(seam.astype(np.float32), SQUARE)]).astype(np.float32)


class DrawnBatches(Dataset):
    """Standardised frames `(B, 1, H, W)` and their targets `(B, 3, H, W)` of each step, float16.

    B is `batch_size` for crops of 96 px or more, twice as much for smaller ones; `shares` are `draw_crop`'s.
    """

    def __init__(self, truth: dict[str, list[Pyramid]], batch_size: int, seed: int, **shares: float) -> None:
        self.truth, self.batch_size, self.seed, self.shares = truth, batch_size, seed, shares

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, step))
        size = int(rng.choice(SIZES))
        count = self.batch_size * max(1, 128 // size)
        crops = [draw_crop(self.truth, size, rng, **self.shares) for _ in range(count)]
        frames = np.stack([augment(frame, rng) for frame, _ in crops])[:, None]
        return frames.astype(np.float16), np.stack([make_targets(labels) for _, labels in crops]).astype(np.float16)
