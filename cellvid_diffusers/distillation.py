r"""Distillation of a trained network into another.

`Distillation` trains a student to cover in one step what its teacher covers in many. With :math:`\alpha = \cos \varphi`
and :math:`\sigma = \sin \varphi`, a deterministic step from the angle :math:`\varphi_t` to :math:`\varphi_e` is a
rotation of the noisy clip and the prediction,

.. math:: x_e = \cos(\varphi_t - \varphi_e) \, x_t - \sin(\varphi_t - \varphi_e) \, v,

so that one :math:`v` leads from a noisy clip to wherever the teacher takes it (Salimans and Ho, Progressive
Distillation, 2022, Appendix D). The path from noise to a clip is divided at a few timesteps, and the student learns
this :math:`v` at each of them and nothing else. The teacher crosses a segment with DPM-Solver++(2M) in steps of equal
size in :math:`\lambda = \log(\alpha / \sigma)` (Lu et al., DPM-Solver++, 2022, Algorithm 2).

`NoisyTeacher` is used where a clip is mostly noise. There the target of a training clip, one of the many clips that the
noise may hide, is nearly random; what a network learns is their mean, which emerges slowly. A trained network already
predicts that mean.

Shapes: clips `(B, C, F, H, W)`, levels of video and flow `(B, F, 2)`.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch

from .models import UNet3DModel
from .noise_schedule import alpha_and_sigma, clean_estimate, expand_levels, noise_to_signal

LEAST_LAMBDA = -4.5
"""Under more noise than this a clip is invisible, and the teacher crosses these levels in one step."""


class Distillation:
    """Targets for a student of few steps. The clips of a batch are divided evenly among its steps.

    Args:
        teacher (`UNet3DModel`): Predicts v; not trained on.
        alphas_cumprod (`torch.Tensor` of shape `(num_train_timesteps,)`): The scheduler's cumulative alphas.
        timesteps (`Sequence[int]`): Where the student takes its steps, noisiest first.
        teacher_steps (`int`): Teacher steps per student step, at least 2.

    Raises:
        ValueError: If the timesteps do not fall, or do not lie between 1 and `num_train_timesteps - 1`, or there are
            fewer than two teacher steps.
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
        clean = torch.ones(1, dtype=torch.float64)  # the sampler ends at level 0: no noise at all
        alpha_bar = torch.cat([clean, alphas_cumprod[1:].cpu().double()])
        lambdas = -noise_to_signal(alpha_bar).log()
        ends = [*timesteps[1:], 0]
        ways = [self._way(lambdas, *segment, teacher_steps) for segment in zip(timesteps, ends, strict=True)]
        device = alphas_cumprod.device
        self.ways = torch.tensor(ways, device=device)  # (segments, teacher_steps + 1) levels
        self.alpha, self.sigma = (each.float().to(device) for each in alpha_and_sigma(alpha_bar))
        self.lambdas = lambdas.float().to(device)

    @staticmethod
    def _way(lambdas: torch.Tensor, start: int, end: int, steps: int) -> list[int]:
        """Levels at which the teacher steps from `start` to `end`, both included."""
        if lambdas[max(end, 1)] <= LEAST_LAMBDA:
            return [start, *[end] * steps]
        inner = steps if end else steps - 1
        first, last = max(float(lambdas[start]), LEAST_LAMBDA), float(lambdas[max(end, 1)])
        aims = torch.linspace(first, last, inner + 1, dtype=torch.float64)[1:]
        nearest = (lambdas[1:] - aims[:, None]).abs().argmin(1) + 1
        return [start, *nearest.tolist(), *([] if end else [0])]

    def levels(self, drawn: torch.Tensor) -> torch.Tensor:
        """Replace the drawn levels by the timestep of each clip's step, except where they are 0 (given).

        Raises:
            ValueError: If there are fewer clips than timesteps: the last of them would never be learned.
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
        """The v that leads in one step from noisy clips to where the teacher takes them; arbitrary where given.

        It replaces `target`, the objective's own.
        """
        ways, given = self.ways[self._segments(len(noisy))].T, levels == 0
        fixed, clip, before = expand_levels(given, noisy.shape[1]), noisy, None
        for step, (now, then) in enumerate(pairwise(ways)):
            v = self.teacher(clip, now[:, None, None].masked_fill(given, 0), labels, return_dict=False)[0].float()
            clean = clean_estimate(clip, v, _per_clip(self.alpha[now]), _per_clip(self.sigma[now]), "v_prediction")
            ahead = self.lambdas[then] - self.lambdas[now]  # infinite where the path ends without noise
            estimate = clean
            if before is not None:
                behind = self.lambdas[now] - self.lambdas[ways[step - 1]]
                second_order = (then > 0) & (behind > 0)  # not at the end, nor where two levels of the path are equal
                estimate = clean + _per_clip(torch.where(second_order, ahead / (2 * behind), 0)) * (clean - before)
            moved = _per_clip(self.sigma[then] / self.sigma[now]) * clip
            moved = moved - _per_clip(self.alpha[then] * torch.expm1(-ahead)) * estimate
            clip, before = torch.where(fixed, noisy, moved), clean
        first, last = ways[0], ways[-1]
        cos = self.alpha[first] * self.alpha[last] + self.sigma[first] * self.sigma[last]
        sin = self.sigma[first] * self.alpha[last] - self.alpha[first] * self.sigma[last]
        return (_per_clip(cos) * noisy - clip) / _per_clip(sin)

    def _segments(self, count: int) -> torch.Tensor:
        return torch.arange(count, device=self.ways.device) % len(self.ways)


class NoisyTeacher:
    """Targets for a student from clips that are mostly noise.

    Args:
        teacher (`UNet3DModel`): Predicts what the student is to predict; not trained on.
        level (`int`): Lowest noise level at which it is used.
    """

    def __init__(self, teacher: UNet3DModel, level: int):
        self.teacher, self.level = teacher, level

    def levels(self, drawn: torch.Tensor) -> torch.Tensor:
        """The drawn levels, unchanged."""
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


def _per_clip(values: torch.Tensor) -> torch.Tensor:
    """Reshape to multiply clips with: `(B,)` -> `(B, 1, 1, 1, 1)`."""
    return values[:, None, None, None, None]
