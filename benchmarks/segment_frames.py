"""Segmentation with and without synthetic frames: a small U-Net, tested only on hand-drawn masks."""

import itertools
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from low_data import REFERENCE, Curve, Values, share_of, turned
from torch import nn
from tqdm.auto import tqdm

from cellvid_diffusers.evaluation.segmentation_network import SegmentationUNet, standardize
from cellvid_diffusers.evaluation.segmentation_scores import foreground_dice, instance_f1
from cellvid_diffusers.evaluation.split import split_cells
from cellvid_diffusers.simulation import DENSITIES, MATURITIES, simulate

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from train_segmentation import autocast, segmentation_loss

from segmentation_data import make_targets, read_annotated, resize

ARMS = (
    "real",
    "real + generated",
    "generated",
    "real + simulated",
    "simulated",
    "real, repeated",
    "real, augmented",
)
MEASURES = {"foreground Dice": foreground_dice, "instance F1": instance_f1}
SCALE = 0.5
"""Scale of the annotated frames: 1.74 µm per pixel, as in the generated clips of the same cells."""
TILE = 128
CROP = 64
BATCH_SIZE = 16
CHANNELS = (8, 16, 32, 64)
Labelled = tuple[np.ndarray, np.ndarray]
"""Frame `(H, W)` from `standardize`, and labels `(H, W)` of its cells."""


def annotated(folder: Path, use: str) -> list[Labelled]:
    """The hand-annotated frames for one use, at `SCALE`."""
    pairs = (resize(frame, labels, SCALE) for _, frame, labels in read_annotated(folder, use))
    return [(standardize(frame[None] / np.float32(255))[0], labels) for frame, labels in pairs]


def tiles(frames: list[Labelled]) -> list[Labelled]:
    """Cut frames into non-overlapping squares of `TILE` px; the remainder at the right and bottom is dropped."""
    return [
        (frame[y : y + TILE, x : x + TILE], labels[y : y + TILE, x : x + TILE])
        for frame, labels in frames
        for y in range(0, frame.shape[0] - TILE + 1, TILE)
        for x in range(0, frame.shape[1] - TILE + 1, TILE)
    ]


def simulated(count: int) -> list[Labelled]:
    """First frames of simulated cultures of every density and maturity, with the masks of the cell bodies."""
    kinds = list(itertools.product(DENSITIES, MATURITIES))
    pairs = []
    for seed in range(count):
        density, maturity = kinds[seed % len(kinds)]
        culture = simulate(
            num_frames=1, size=TILE, density=density, maturity=maturity, seed=seed, pixel_size_um=0.87 / SCALE
        )
        pairs.append((standardize(culture.video / np.float32(255))[0], culture.masks[0]))
    return pairs


def train(pairs: list[Labelled], steps: int, seed: int, *, augment: bool = False) -> SegmentationUNet:
    """Train with Adam, one-cycle schedule and the loss of the network in `segment_cells`; `augment`: flips, rotations,
    contrast, blur and noise."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    data = [np.concatenate([frame[None], make_targets(labels)]) for frame, labels in pairs]
    model = SegmentationUNet(CHANNELS).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    for _ in range(steps):
        crops = [_crop(data[index], rng) for index in rng.integers(len(data), size=BATCH_SIZE)]
        batch = torch.from_numpy(np.stack(crops))
        if augment:
            batch = turned(batch, rng)
            frames = cv2.GaussianBlur(batch[:, 0].numpy().transpose(1, 2, 0), (0, 0), rng.uniform(0.1, 1.0))
            noisy = rng.uniform(0.7, 1.4) * frames + rng.uniform(0, 0.2) * rng.normal(size=frames.shape)
            batch[:, 0] = torch.from_numpy(noisy.transpose(2, 0, 1))
        seen = batch[:, :1].contiguous(memory_format=torch.channels_last)
        with autocast("cpu"):
            logits = model(seen)
        loss = segmentation_loss(logits.float(), batch[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def _crop(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    y, x = (rng.integers(size - CROP + 1) for size in frame.shape[1:])
    return frame[:, y : y + CROP, x : x + CROP]


@torch.inference_mode()
def label(model: SegmentationUNet, frame: np.ndarray) -> np.ndarray:
    """Labels of the cells that a network detects in a standardised frame, `(H, W)` int32."""
    height, width = frame.shape
    margins = (0, -width % 2 ** len(CHANNELS), 0, -height % 2 ** len(CHANNELS))
    padded = nn.functional.pad(torch.from_numpy(frame)[None, None], margins, mode="replicate")
    maps = model(padded)[0, :, :height, :width].sigmoid().numpy()
    return split_cells(*maps, threshold=0.5)


def segmentation_curves(
    folder: Path, generated: np.ndarray, *, shares: list[float], seeds: int, steps: int
) -> list[Curve]:
    """Dice and F1 on the annotated frames for testing.

    Generated frames are not annotated: the network trained for as many steps on the real share alone labels them.
    Simulated frames come with ground truth.
    """
    real, held_out = tiles(annotated(folder, "train")), annotated(folder, "test")
    frames = [standardize(frame[None] / np.float32(255))[0] for clip in generated for frame in clip[[0, -1]]]
    drawn = simulated(len(frames))
    found: dict[str, dict[tuple[str, float], list[list[float]]]] = {name: {} for name in MEASURES}
    for share, seed in tqdm(list(itertools.product(shares, range(seeds))), unit="share"):
        seen = [real[index] for index in share_of(np.zeros(len(real)), share, seed)]
        teacher = train(seen, steps, seed)
        made = [(frame, label(teacher, frame)) for frame in frames]
        data = {"generated": made, "real + generated": seen + made}
        data |= {"simulated": drawn, "real + simulated": seen + drawn}
        for arm in ARMS:
            if arm == "simulated" and share != shares[-1]:
                continue
            length = steps if arm != "real" else max(1, round(steps * len(seen) / (len(seen) + len(frames))))
            augment = arm == "real, augmented"
            model = teacher if arm == REFERENCE else train(data.get(arm, seen), length, seed, augment=augment)
            labels = [label(model, frame) for frame, _ in held_out]
            for name, measure in MEASURES.items():
                scores = [measure(mine, truth) for mine, (_, truth) in zip(labels, held_out, strict=True)]
                found[name].setdefault((arm, share), []).append(scores)
    groups = np.arange(len(held_out))
    return [
        Curve(
            name, ARMS, groups, _mean, {key: np.array(each) for key, each in values.items()}, frozenset({"simulated"})
        )
        for name, values in found.items()
    ]


def _mean(values: Values, chosen: np.ndarray) -> float:
    return float(values[:, chosen].mean())
