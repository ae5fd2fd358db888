r"""Distillation: what a trained network teaches another.

`Distillation` teaches to go in one step where the teacher goes in many. With :math:`\alpha = \cos \varphi` and
:math:`\sigma = \sin \varphi`, a deterministic step from the angle :math:`\varphi_t` to :math:`\varphi_e` is a rotation
of the noisy clip and the prediction,

.. math:: x_e = \cos(\varphi_t - \varphi_e) \, x_t - \sin(\varphi_t - \varphi_e) \, v,

so that there is one :math:`v` that leads from a noisy clip to wherever the teacher takes it (Salimans and Ho,
Progressive Distillation, 2022, Appendix D). The way from noise to a clip is cut at a few timesteps; the student learns
that :math:`v` at each of them and nothing else. The teacher goes through a segment with DPM-Solver++(2M) in steps of
equal size in :math:`\lambda = \log(\alpha / \sigma)` (Lu et al., DPM-Solver++, 2022, Algorithm 2).

`NoisyTeacher` teaches where a clip is mostly noise. The target of a training clip is one of all clips that its noise
may hide, and there nearly all chance; what a network learns is their mean, which shows through it slowly. A trained
network knows that mean.

Shapes: clips `(B, C, F, H, W)`, levels of video and flow `(B, F, 2)`.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch

from .models import UNet3DModel
from .training_utils import expand_levels

LEAST_LAMBDA = -4.5
"""Under more noise than this nothing of a clip can be seen, and the teacher goes through in one step."""


class Distillation:
    """What a student of few steps is taught. The clips of a batch share its steps evenly.

    Args:
        teacher (`UNet3DModel`): Predicts v; not trained on.
        alphas_cumprod (`torch.Tensor` of shape `(num_train_timesteps,)`): The scheduler's cumulative alphas.
        timesteps (`Sequence[int]`): Where the student takes its steps, from the noisiest on.
        teacher_steps (`int`): Steps of the teacher for each of the student's.

    Raises:
        ValueError: If the timesteps do not fall, or do not lie between 1 and `num_train_timesteps - 1`.
    """

    def __init__(
        self, teacher: UNet3DModel, alphas_cumprod: torch.Tensor, timesteps: Sequence[int], teacher_steps: int = 8
    ):
        falling = all(a > b for a, b in pairwise(timesteps))
        if not timesteps or not falling or not 1 <= timesteps[-1] <= timesteps[0] < len(alphas_cumprod):
            last = len(alphas_cumprod) - 1
            raise ValueError(f"timesteps must fall and lie between 1 and {last}, got {list(timesteps)}")
        if teacher_steps < 2:
            raise ValueError(f"teacher_steps must be at least 2, got {teacher_steps}")
        self.teacher = teacher
        clean = torch.ones(1, dtype=torch.float64)  # level 0 is what the sampler ends at: no noise at all
        alpha_bar = torch.cat([clean, alphas_cumprod[1:].cpu().double()])
        lambdas = (alpha_bar.sqrt() / (1 - alpha_bar).sqrt()).log()
        ends = [*timesteps[1:], 0]
        ways = [self._way(lambdas, *segment, teacher_steps) for segment in zip(timesteps, ends, strict=True)]
        device = alphas_cumprod.device
        self.ways = torch.tensor(ways, device=device)  # (segments, teacher_steps + 1) levels
        self.signal = alpha_bar.sqrt().float().to(device)
        self.spread = (1 - alpha_bar).sqrt().float().to(device)
        self.lambdas = lambdas.float().to(device)

    @staticmethod
    def _way(lambdas: torch.Tensor, start: int, end: int, steps: int) -> list[int]:
        """Levels that the teacher passes from `start` to `end`, both included."""
        if lambdas[max(end, 1)] <= LEAST_LAMBDA:
            return [start, *[end] * steps]
        inner = steps if end else steps - 1
        first, last = max(float(lambdas[start]), LEAST_LAMBDA), float(lambdas[max(end, 1)])
        aims = torch.linspace(first, last, inner + 1, dtype=torch.float64)[1:]
        nearest = (lambdas[1:] - aims[:, None]).abs().argmin(1) + 1
        return [start, *nearest.tolist(), *([] if end else [0])]

    def levels(self, drawn: torch.Tensor) -> torch.Tensor:
        """The timestep of each clip's step wherever the drawn levels do not say that the clip is given.

        Raises
        ------
        ValueError
            If there are fewer clips than timesteps: the last of them would never be learned.
        """
        if len(drawn) < len(self.ways):
            raise ValueError(
                f"a batch must hold at least one clip for each of {len(self.ways)} timesteps, got {len(drawn)}"
            )
        return self.ways[self._segments(len(drawn)), 0][:, None, None].masked_fill(drawn == 0, 0)

    @torch.no_grad()
    def target(
        self, noisy: torch.Tensor, levels: torch.Tensor, labels: torch.Tensor | None, target: torch.Tensor
    ) -> torch.Tensor:
        """The v that leads in one step from noisy clips to where the teacher takes them; anything where given.

        It takes the place of `target`, that of the objective.
        """
        ways, given = self.ways[self._segments(len(noisy))].T, levels == 0
        fixed, clip, before = expand_levels(given, noisy.shape[1]), noisy, None
        for step, (now, then) in enumerate(pairwise(ways)):
            v = self.teacher(clip, now[:, None, None].masked_fill(given, 0), labels, return_dict=False)[0].float()
            clean = _beside(self.signal[now]) * clip - _beside(self.spread[now]) * v
            ahead = self.lambdas[then] - self.lambdas[now]  # infinite where the way ends without noise
            estimate = clean
            if before is not None:
                behind = self.lambdas[now] - self.lambdas[ways[step - 1]]
                second_order = (then > 0) & (behind > 0)  # not at the end, nor where two levels of the way are the same
                estimate = clean + _beside(torch.where(second_order, ahead / (2 * behind), 0)) * (clean - before)
            moved = _beside(self.spread[then] / self.spread[now]) * clip
            moved = moved - _beside(self.signal[then] * torch.expm1(-ahead)) * estimate
            clip, before = torch.where(fixed, noisy, moved), clean
        first, last = ways[0], ways[-1]
        cos = self.signal[first] * self.signal[last] + self.spread[first] * self.spread[last]
        sin = self.spread[first] * self.signal[last] - self.signal[first] * self.spread[last]
        return (_beside(cos) * noisy - clip) / _beside(sin)

    def _segments(self, count: int) -> torch.Tensor:
        return torch.arange(count, device=self.ways.device) % len(self.ways)


class NoisyTeacher:
    """What a student is taught of clips that are mostly noise.

    Args:
        teacher (`UNet3DModel`): Predicts what the student is to predict; not trained on.
        level (`int`): The noise level from which on it is asked.
    """

    def __init__(self, teacher: UNet3DModel, level: int):
        self.teacher, self.level = teacher, level

    def levels(self, drawn: torch.Tensor) -> torch.Tensor:
        """The levels as they were drawn."""
        return drawn

    @torch.no_grad()
    def target(
        self, noisy: torch.Tensor, levels: torch.Tensor, labels: torch.Tensor | None, target: torch.Tensor
    ) -> torch.Tensor:
        """The teacher's prediction for clips whose noisiest frame is at `level` or above; `target` for the others."""
        asked = torch.nonzero(levels.amax(dim=(1, 2)) >= self.level)[:, 0]
        if not len(asked):
            return target
        labels = None if labels is None else labels[asked]
        mean = self.teacher(noisy[asked], levels[asked], labels, return_dict=False)[0]
        return target.index_copy(0, asked, mean.to(target.dtype))


def _beside(values: torch.Tensor) -> torch.Tensor:
    """`(B,)`, to multiply clips with."""
    return values[:, None, None, None, None]
