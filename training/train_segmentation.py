"""Train the network of `cellvid_diffusers.evaluation.segment_cells`.

    python training/train_segmentation.py --data_dir RECORDINGS --output_dir runs/segmentation

`segmentation_data` describes what it learns from. Once thresholds have been chosen, `--refit` also trains on the frames
that they were chosen on. Crops are drawn from `(seed, step)` in any worker, so a resumed run continues as if it had
never stopped (unless it is timed: `--max_minutes`). Saved are the weights averaged over the last few per cent of the
steps.

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
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from cellvid_diffusers.evaluation.segmentation_network import CHANNELS, SegmentationUNet, load_network
from cellvid_diffusers.io.atomic import replacing
from precision import has_bfloat16
from segmentation_data import DrawnBatches, load_truth, simulate_truth

EMA_EXPONENT = 30.0
"""Steps weigh in the mean by this power of their number: it reaches back over some 3 % of the steps so far."""
LOG_STEPS, SAVE_STEPS = 100, 500


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


def autocast(device: str) -> torch.autocast:
    """Compute in bfloat16, except on a CPU without it, which would be many times slower."""
    return torch.autocast(device, torch.bfloat16, enabled=has_bfloat16(device))


def take_step(network: nn.Module, optimizer: torch.optim.Optimizer, frames: Tensor, targets: Tensor) -> Tensor:
    """Learn from one batch; returns its loss."""
    with autocast(frames.device.type):
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
    truth["simulated"] = simulate_truth(options.simulated if options.simulated_share else 0)
    options.output_dir.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    network = SegmentationUNet(tuple(options.channels))
    if options.weights:
        network = copy.deepcopy(load_network(options.weights))
    network = network.train().to(options.device, memory_format=torch.channels_last)
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
    shares = {"native_share": options.native_share, "simulated_share": options.simulated_share}
    drawn = DrawnBatches(truth, options.train_batch_size, options.seed, **shares)
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
    parser.add_argument("--simulated_share", type=float, default=0.0, help="share of crops from simulated cultures")
    parser.add_argument("--simulated", type=int, default=220, help="simulated frames that these are drawn from")
    parser.add_argument("--weights", type=Path, help="start from these weights, as wide and deep as they are")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw crops; 0: the one that trains")
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args(arguments))


if __name__ == "__main__":
    main()
