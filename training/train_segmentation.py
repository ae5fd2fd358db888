"""Train the network of `cellvid_diffusers.evaluation.segment_cells`.

    python training/train_segmentation.py --data_dir RECORDINGS --output_dir runs/segmentation

Truth: hand-annotated phase-contrast frames (`usiigaci_annotated/`), a tracker's masks (`t98g/`) and the silver truth of
the Cell Tracking Challenge (`u373/`). The last digit of a frame's number fixes its use, once and for all: 3 and the
frames called `val_set` are for testing, 5 for choosing thresholds (`benchmarks/segmentation.py` does both), the rest
for training. Once the thresholds stand, `--refit` learns from the frames that they were chosen on, too. Crops are drawn
by `(seed, step)`, whoever draws them, so a resumed run goes on as if it had never stopped (unless it is timed:
`--max_minutes`). What is saved is the mean of the weights over the last few per cent of the steps.

References
----------
.. [1] Analyzing and Improving the Training Dynamics of Diffusion Models (Karras et al., 2024),
   https://arxiv.org/abs/2312.02696
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from cellvid_diffusers.evaluation.segmentation_network import CHANNELS, SegmentationUNet, standardize
from cellvid_diffusers.io.atomic import replacing

SCALES = (0.3, 1.3)
NATIVE_SCALES = (0.85, 1.15)
SIZES = (64, 96, 128, 160)
LEVELS = (1.0, 0.7, 0.5, 0.35)
SHARES = {"usiigaci_annotated": 0.8, "t98g": 0.1, "u373": 0.1}
EMA_EXPONENT = 30.0
"""Steps weigh in the mean by this power of their number: it reaches back over some 3 % of the steps so far."""
LOG_STEPS, SAVE_STEPS = 100, 500
SQUARE = np.ones((3, 3), np.uint8)
OUTSIDE = np.float32(2**20)
"""Stands for the background where the smallest label around is sought."""


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


def load_truth(
    folder: Path, uses: tuple[str, ...] = ("train",)
) -> dict[str, list[list[tuple[np.ndarray, np.ndarray]]]]:
    """Source -> frames -> levels of a pyramid (`LEVELS`) -> (frame, labels)."""
    drawn = [pair for use in uses for _, *pair in read_annotated(folder, use)]
    pairs = {"usiigaci_annotated": drawn}
    for source, stem, stop in (("t98g", "t98g_usiigaci", None), ("u373", "u373_train01_aspect_restored", 40)):
        stacks = (tifffile.imread(folder / source / f"{stem}{end}.tif") for end in ("", "_masks"))
        pairs[source] = list(zip(*(stack[:stop:4] for stack in stacks), strict=True))
    return {source: [[_shrink(*pair, level) for level in LEVELS] for pair in each] for source, each in pairs.items()}


def _shrink(frame: np.ndarray, labels: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    size = round(frame.shape[1] * scale), round(frame.shape[0] * scale)
    small = cv2.resize(labels.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255, small.astype(np.int32)


def draw_crop(
    truth: dict, size: int, rng: np.random.Generator, *, native_share: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """A frame `(size, size)` in [0, 1] and its labels: any scale of `SCALES`, any angle, mirrored or not.

    `native_share` of the crops are of `NATIVE_SCALES`.
    """
    frames = truth[rng.choice(list(SHARES), p=list(SHARES.values()))]
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


def spoil(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Contrast, illumination, blur and noise as other microscopes (and models) have them; standardised."""
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
    z = -z if rng.random() < 0.12 else z  # on the other side of focus, contrast is reversed
    return (z * np.exp(rng.normal(0, 0.4)) + rng.normal(0, 0.15)).astype(np.float32)


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

    B is `batch_size` for crops of 96 px or more, twice as much for smaller ones.
    """

    def __init__(self, truth: dict, batch_size: int, seed: int, native_share: float) -> None:
        self.truth, self.batch_size, self.seed, self.native_share = truth, batch_size, seed, native_share

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, step))
        size = int(rng.choice(SIZES))
        count = self.batch_size * max(1, 128 // size)
        crops = [draw_crop(self.truth, size, rng, native_share=self.native_share) for _ in range(count)]
        frames = np.stack([spoil(frame, rng) for frame, _ in crops])[:, None]
        return frames.astype(np.float16), np.stack([make_targets(labels) for _, labels in crops]).astype(np.float16)


def segmentation_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy and Dice of the foreground, L1 of the depth, weighted cross-entropy of the contact."""
    foreground, depth, contact = targets.unbind(1)
    probability = logits[:, 0].sigmoid()
    overlap = 2 * (probability * foreground).sum() / (probability.sum() + foreground.sum() + 1)
    inside = (logits[:, 1].sigmoid() - depth).abs() * (0.2 + foreground)
    seams = F.binary_cross_entropy_with_logits(logits[:, 2], contact, weight=1 + 4 * contact)
    return (
        F.binary_cross_entropy_with_logits(logits[:, 0], foreground) + 0.5 * (1 - overlap) + 2 * inside.mean() + seams
    )


def learning_rate_at(progress: float, *, warmup: float = 0.1) -> float:
    """Share of the peak rate: up a straight line, then down a cosine to 0."""
    if progress < warmup:
        return (progress + 0.01) / (warmup + 0.01)
    return 0.5 + 0.5 * float(np.cos(np.pi * (progress - warmup) / (1 - warmup)))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, step: int) -> None:
    """Take the weights after `step` steps into their mean: power function profile of [1]_."""
    new = 1 - (1 - 1 / step) ** (EMA_EXPONENT + 1)
    for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        mean.lerp_(value, new) if value.is_floating_point() else mean.copy_(value)


def save_weights(network: nn.Module, path: Path) -> None:
    tensors = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    save_file({name: value.half().contiguous().cpu() for name, value in tensors.items()}, path)


def take_step(network: nn.Module, optimizer: torch.optim.Optimizer, frames: Tensor, targets: Tensor) -> Tensor:
    """Learn from one batch; returns its loss."""
    with torch.autocast(frames.device.type, torch.bfloat16):
        logits = network(frames.contiguous(memory_format=torch.channels_last))
    loss = segmentation_loss(logits.float(), targets)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return loss.detach()


def train(options: argparse.Namespace) -> None:
    cv2.setNumThreads(1)  # threads of its own would not live on in the workers
    truth = load_truth(options.data_dir, ("train", "tune") if options.refit else ("train",))
    options.output_dir.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    network = SegmentationUNet(tuple(options.channels)).to(options.device, memory_format=torch.channels_last)
    average = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=0.01)
    parts = {"network": network, "average": average, "optimizer": optimizer}
    state, step, spent = options.output_dir / "state.pt", 0, 0.0
    if state.exists():
        saved = torch.load(state, map_location=options.device, weights_only=True)
        step, spent = saved.pop("step"), saved.pop("seconds")
        for name, part in parts.items():
            part.load_state_dict(saved[name])
    stop = min(options.max_train_steps, options.stop_after or options.max_train_steps)
    drawn = DrawnBatches(truth, options.train_batch_size, options.seed, options.native_share)
    # The workers hand over arrays: tensors would take shared memory, of which containers have little.
    batches = DataLoader(
        drawn, batch_size=None, sampler=range(step, stop), num_workers=options.workers, collate_fn=tuple
    )
    started, losses = time.monotonic() - spent, []
    for batch in batches:
        seconds = time.monotonic() - started
        progress = min(1.0, max(step / options.max_train_steps, seconds / 60 / options.max_minutes))
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * learning_rate_at(progress)
        losses.append(take_step(network, optimizer, *(torch.from_numpy(x).to(options.device).float() for x in batch)))
        step += 1
        update_average(average, network, step)
        last = step == stop or progress == 1
        if step % LOG_STEPS == 0 or last:
            line = {"step": step, "loss": torch.stack(losses).mean().item(), "seconds": seconds}
            with open(options.output_dir / "train_log.jsonl", "a") as log:
                print(json.dumps(line), file=log, flush=True)
            losses.clear()
        if step % SAVE_STEPS == 0 or last:
            kept = {"step": step, "seconds": seconds} | {name: part.state_dict() for name, part in parts.items()}
            with replacing(state) as whole:
                torch.save(kept, whole)
            save_weights(average, options.output_dir / "segmentation.safetensors")
        if last:
            break


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/segmentation"))
    parser.add_argument("--max_train_steps", type=int, default=2200)
    parser.add_argument("--stop_after", type=int, help="leave off at this step; the next call goes on from there")
    parser.add_argument("--max_minutes", type=float, default=math.inf, help="the rate is 0 by then, few steps or many")
    parser.add_argument("--train_batch_size", type=int, default=8)
    parser.add_argument("--learning_rate", type=float, default=3e-3)
    parser.add_argument("--refit", action="store_true", help="learn from the frames kept for thresholds, too")
    parser.add_argument("--channels", type=int, nargs="+", default=CHANNELS, help="of each level, finest first")
    parser.add_argument("--native_share", type=float, default=0.0, help="share of crops at the frames' own scale")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw crops; 0: the one that trains")
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args(arguments))


if __name__ == "__main__":
    main()
