"""Do generated clips help where recordings are few? Frame prediction, trained with and without them.

    python benchmarks/usefulness.py --train data/tiny --real data/tiny_validation --clips CLIPS \\
        --out docs/usefulness.md --figure docs/images/usefulness.png

A small network sees three frames and predicts the frame `--ahead` frames later. It is trained with a share of the real
training clips: alone; with generated clips; generated clips alone; the same real clips over and over, for as many steps
as with the generated ones; or for as many steps with flips, turns, brightness and contrast. It is tested on held-out
real clips. Skill is 1 - (mean squared error) / (that of persistence, or of the last flow carried on); 0 is no better.
Differences from the real clips alone come with a 95 % interval over held-out groups and seeds, paired by both.
"""

import argparse
import itertools
import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
import torch
from markdown import table
from matplotlib import pyplot as plt
from tasks import extrapolate
from torch import nn
from tqdm.auto import tqdm

from cellvid_diffusers.evaluation.clips import ClipSet, load_clips

SEEN = 3
"""Frames that the network is shown."""
ARMS = ("real", "real + generated", "generated", "real, repeated", "real, augmented")
BATCH_SIZE = 32
CONTRAST = 50
"""Grey levels that the networks see as 1."""


class FramePredictor(nn.Module):
    """`(B, SEEN, H, W)` normalised frames -> the one to come, `(B, H, W)`: the last one and what a network adds to it.

    Convolutions at half resolution that see some 20 px each way.
    """

    def __init__(self, channels: int = 32, layers: int = 6):
        super().__init__()
        widths = [4 * SEEN] + [channels] * layers
        stages: list[nn.Module] = [nn.PixelUnshuffle(2)]
        for index, (before, after) in enumerate(itertools.pairwise(widths)):
            dilation = 2 if index >= 2 else 1
            stages += [nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation), nn.SiLU()]
        last = nn.Conv2d(channels, 4, 3, padding=1)
        nn.init.zeros_(last.weight)  # the untrained network is persistence
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*stages, last, nn.PixelShuffle(2))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return frames[:, -1] + self.layers(frames)[:, 0]


def windows(clips: np.ndarray, ahead: int) -> np.ndarray:
    """Clips `(N, F, H, W)` uint8 -> every run `(M, SEEN + 1, H, W)` of frames seen and the one to predict."""
    frames = [*range(SEEN), SEEN - 1 + ahead]
    starts = range(clips.shape[1] - frames[-1])
    return np.concatenate([clips[:, [start + k for k in frames]] for start in starts])


def normalised(batch: np.ndarray) -> torch.Tensor:
    """Grey levels 0 to 255 as about -1 to 1 in cells."""
    return (torch.from_numpy(batch).float() - 100) / CONTRAST


def augmented(batch: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Flipped, turned by right angles, brighter or darker, of more or less contrast."""
    if rng.random() < 0.5:
        batch = batch.flip(-1)
    batch = torch.rot90(batch, int(rng.integers(4)), (-2, -1))
    return batch * rng.uniform(0.7, 1.4) + rng.uniform(-0.2, 0.2)


def train(runs: np.ndarray, steps: int, seed: int, *, augment: bool = False) -> FramePredictor:
    """Adam, one-cycle, mean squared error."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = FramePredictor()
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(steps):
        batch = normalised(runs[rng.integers(len(runs), size=BATCH_SIZE)])
        batch = augmented(batch, rng) if augment else batch
        loss = nn.functional.mse_loss(model(batch[:, :SEEN]), batch[:, SEEN])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def squared_errors(model: FramePredictor, clips: np.ndarray, ahead: int) -> np.ndarray:
    """Mean squared error `(N,)` of the frame `ahead` of the first ones of each clip, grey levels squared."""
    run = normalised(windows(clips[:, : SEEN + ahead], ahead))
    return CONTRAST**2 * ((model(run[:, :SEEN]) - run[:, SEEN]) ** 2).mean(dim=(1, 2)).numpy()


def baseline_errors(clips: np.ndarray, ahead: int) -> dict[str, np.ndarray]:
    """The same of persistence and of the last flow carried on."""
    frames = clips.astype(np.float32) / 255
    target, last = frames[:, SEEN - 1 + ahead], frames[:, SEEN - 1]
    carried = extrapolate(frames[:, : SEEN + ahead], SEEN)[:, -1]
    return {
        name: 255**2 * ((guess - target) ** 2).mean(axis=(1, 2))
        for name, guess in (("persistence", last), ("flow extrapolation", carried))
    }


def skill(errors: np.ndarray, baseline: np.ndarray, chosen: np.ndarray) -> float:
    """Of errors `(seeds, N)`, over the clips with these indices."""
    return 1 - float(errors[:, chosen].mean() / baseline[chosen].mean())


def difference(
    errors: np.ndarray, reference: np.ndarray, baseline: np.ndarray, groups: np.ndarray, resamples: int = 1000
) -> tuple[float, float]:
    """95 % interval of a difference in skill over resampled groups of clips, and seeds within them."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    drawn = []
    for _ in range(resamples):
        chosen = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        seeds = rng.integers(len(errors), size=len(errors))
        drawn.append(skill(errors[seeds], baseline, chosen) - skill(reference[seeds], baseline, chosen))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def share_of(clips: np.ndarray, kinds: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A random share of the clips of each cell type, one clip at least."""
    rng = np.random.default_rng(seed)
    chosen = []
    for kind in np.unique(kinds):
        members = rng.permutation(np.flatnonzero(kinds == kind))
        chosen.append(members[: max(1, round(share * len(members)))])
    return clips[np.concatenate(chosen)]


def measure(
    real: ClipSet, generated: np.ndarray, held_out: ClipSet, shares: list[float], seeds: int, steps: int, ahead: int
) -> dict[tuple[str, float], np.ndarray]:
    """Squared errors `(seeds, N)` of every arm at every share. Generated clips are the same at each share."""
    errors: dict[tuple[str, float], list[np.ndarray]] = {}
    made = windows(generated, ahead)
    for share, seed in tqdm(list(itertools.product(shares, range(seeds))), unit="share"):
        seen = windows(share_of(real.frames, real.cell_types, share, seed), ahead)
        both = np.concatenate([seen, made])
        data = {"real + generated": both, "generated": made}
        for arm in ARMS:
            if arm == "generated" and share != shares[-1]:
                continue
            length = steps if arm != "real" else max(1, round(steps * len(seen) / len(both)))
            model = train(data.get(arm, seen), length, seed, augment=arm == "real, augmented")
            errors.setdefault((arm, share), []).append(squared_errors(model, held_out.frames, ahead))
    return {key: np.stack(value) for key, value in errors.items()}


def skills(errors: dict[tuple[str, float], np.ndarray], baselines: dict[str, np.ndarray], groups: np.ndarray) -> str:
    """Markdown: a row for every arm and share."""
    names = list(baselines)
    head = ["share of real clips", "trained with", *(f"skill over {name}" for name in names)]
    rows = []
    everything = np.arange(len(groups))
    for (arm, share), found in sorted(errors.items(), key=lambda item: (item[0][1], ARMS.index(item[0][0]))):
        cells = [f"{skill(found, baselines[name], everything):.3f}" for name in names]
        reference = errors["real", share]
        low, high = difference(found, reference, baselines[names[0]], groups)
        cells.append("" if arm == "real" else f"{low:+.3f} to {high:+.3f}")
        rows.append(["none" if arm == "generated" else f"{share:.0%}", arm, *cells])
    return table([*head, "difference from real alone (over persistence)"], rows)


def draw(path: Path, errors: dict[tuple[str, float], np.ndarray], baseline: np.ndarray) -> None:
    """Skill against the share of real clips, a dot for each seed."""
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    everything = np.arange(baseline.shape[0])
    for number, arm in enumerate(ARMS):
        shares = sorted(share for name, share in errors if name == arm)
        means = [skill(errors[arm, share], baseline, everything) for share in shares]
        if arm == "generated":
            axis.axhline(means[0], color=f"C{number}", linestyle="--", label=arm)
            continue
        axis.plot(shares, means, "-", color=f"C{number}", label=arm)
        for share in shares:
            each = [skill(one[None], baseline, everything) for one in errors[arm, share]]
            axis.plot([share] * len(each), each, ".", color=f"C{number}")
    axis.set(xscale="log", xlabel="share of the real training clips", ylabel="skill over persistence, held-out clips")
    axis.set_xticks(sorted({share for _, share in errors}))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.minorticks_off()
    axis.legend(fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="data set whose training split is real")
    parser.add_argument("--real", type=Path, required=True, help="data set whose validation split is held out")
    parser.add_argument("--clips", type=Path, required=True, help="generated clips: cellvid generate --out CLIPS")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.1, 0.25, 1.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600, help="of every arm but real alone, which takes its share")
    parser.add_argument("--ahead", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figure", type=Path, required=True)
    arguments = parser.parse_args()
    generated = load_clips(arguments.clips, max_clips=1000)
    size = generated.frames.shape[1:]
    real = load_clips(arguments.train, split="train", max_clips=1000)
    real = real.crop(real.frames.shape[1], *size[1:])
    held_out = load_clips(arguments.real, split="validation", max_clips=1000).crop(*size)
    groups, _, _ = held_out.groups()

    shares = sorted(arguments.shares)
    options = {"seeds": arguments.seeds, "steps": arguments.steps, "ahead": arguments.ahead}
    errors = measure(real, generated.frames, held_out, shares, **options)
    baselines = baseline_errors(held_out.frames, arguments.ahead)
    arguments.figure.parent.mkdir(parents=True, exist_ok=True)
    draw(arguments.figure, errors, baselines["persistence"])
    lines = [f"# {(__doc__ or '').strip()}"]
    lines.append(
        f"{len(real)} real patches of {real.frames.shape[1]} frames, {len(generated)} generated clips of {size[0]}, "
        f"{len(held_out)} held-out clips in {len(np.unique(groups))} groups; {arguments.steps} steps of {BATCH_SIZE}, "
        f"{arguments.seeds} seeds, {arguments.ahead} frames ahead."
    )
    lines.append(skills(errors, baselines, groups))
    lines.append(f"![Skill by share of real clips]({os.path.relpath(arguments.figure, arguments.out.parent)})")
    arguments.out.write_text("\n\n".join(lines) + "\n")
    print(lines[2])


if __name__ == "__main__":
    main()
