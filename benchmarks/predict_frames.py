"""Frame prediction with and without generated clips: a small network sees three frames and predicts a later one."""

import itertools

import numpy as np
import torch
from baselines import extrapolate
from low_data import Curve, Values, share_of, turned
from torch import nn
from tqdm.auto import tqdm

from cellvid_diffusers.evaluation.clips import ClipSet

SEEN = 3
"""Number of input frames."""
ARMS = ("real", "real + generated", "generated", "real, repeated", "real, augmented")
BATCH_SIZE = 32
CONTRAST = 50
"""Grey levels that correspond to 1 in the networks' input."""


class FramePredictor(nn.Module):
    """Predict a later frame `(B, H, W)` from normalised frames `(B, SEEN, H, W)`, as the last frame plus a residual.

    Convolutions at half resolution that see some 20 px in each direction.
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
    """Clips `(N, F, H, W)` uint8 -> every run `(M, SEEN + 1, H, W)` of input frames and the one to predict."""
    frames = [*range(SEEN), SEEN - 1 + ahead]
    starts = range(clips.shape[1] - frames[-1])
    return np.concatenate([clips[:, [start + k for k in frames]] for start in starts])


def normalised(batch: np.ndarray) -> torch.Tensor:
    """Scale grey levels 0 to 255 to about -1 to 1 within cells."""
    return (torch.from_numpy(batch).float() - 100) / CONTRAST


def train(runs: np.ndarray, steps: int, seed: int, *, augment: bool = False) -> FramePredictor:
    """Train with Adam, one-cycle schedule, mean squared error; `augment`: flips, rotations, brightness and contrast."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = FramePredictor()
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(steps):
        batch = normalised(runs[rng.integers(len(runs), size=BATCH_SIZE)])
        if augment:
            batch = turned(batch, rng) * rng.uniform(0.7, 1.4) + rng.uniform(-0.2, 0.2)
        loss = nn.functional.mse_loss(model(batch[:, :SEEN]), batch[:, SEEN])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def squared_errors(model: FramePredictor, clips: np.ndarray, ahead: int) -> np.ndarray:
    """Mean squared error `(N,)` of the frame `ahead` after the first `SEEN` of each clip, in grey levels squared."""
    run = normalised(windows(clips[:, : SEEN + ahead], ahead))
    return CONTRAST**2 * ((model(run[:, :SEEN]) - run[:, SEEN]) ** 2).mean(dim=(1, 2)).numpy()


def baseline_errors(clips: np.ndarray, ahead: int) -> dict[str, np.ndarray]:
    """The same for persistence and for extrapolation of the last flow."""
    frames = clips.astype(np.float32) / 255
    target, last = frames[:, SEEN - 1 + ahead], frames[:, SEEN - 1]
    carried = extrapolate(frames[:, : SEEN + ahead], SEEN)[:, -1]
    return {
        name: 255**2 * ((guess - target) ** 2).mean(axis=(1, 2))
        for name, guess in (("persistence", last), ("flow extrapolation", carried))
    }


def skill(errors: Values, baseline: np.ndarray, chosen: np.ndarray) -> float:
    """1 - (mean squared error) / (that of the baseline), over the clips with these indices."""
    return 1 - float(errors[:, chosen].mean() / baseline[chosen].mean())


def skill_curves(
    real: ClipSet, generated: np.ndarray, held_out: ClipSet, *, shares: list[float], seeds: int, steps: int, ahead: int
) -> list[Curve]:
    """Skill over persistence and over flow extrapolation. Generated clips are the same at each share."""
    errors: dict[tuple[str, float], list[np.ndarray]] = {}
    made = windows(generated, ahead)
    for share, seed in tqdm(list(itertools.product(shares, range(seeds))), unit="share"):
        seen = windows(real.frames[share_of(real.cell_types, share, seed)], ahead)
        both = np.concatenate([seen, made])
        data = {"real + generated": both, "generated": made}
        for arm in ARMS:
            if arm == "generated" and share != shares[-1]:
                continue
            length = steps if arm != "real" else max(1, round(steps * len(seen) / len(both)))
            model = train(data.get(arm, seen), length, seed, augment=arm == "real, augmented")
            errors.setdefault((arm, share), []).append(squared_errors(model, held_out.frames, ahead))
    values = {key: np.stack(each) for key, each in errors.items()}
    groups, _, _ = held_out.groups()

    def curve(name: str, baseline: np.ndarray) -> Curve:
        def score(found: Values, chosen: np.ndarray) -> float:
            return skill(found, baseline, chosen)

        return Curve(f"skill over {name}", ARMS, groups, score, values, frozenset({"generated"}))

    return [curve(*each) for each in baseline_errors(held_out.frames, ahead).items()]
