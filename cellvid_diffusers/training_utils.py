"""The mathematics of training: drawing noise levels, the objective, and dropping labels.

A clean clip `(B, C, F, H, W)` is noised as in `noise_schedule`, each frame of each modality (video: channel 0; flow:
channels 1 and 2) at its own timestep. At timestep 0 it is given and does not count in the loss.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .noise_schedule import PREDICTION_TYPES, alpha_and_sigma, expand_levels, prediction_target

NOISE_PATTERNS = (
    "joint",
    "modalities",
    "first_frame",
    "prediction",
    "interpolation",
    "flow_to_video",
    "video_to_flow",
)
"""What is given in a training clip; the rest is unknown:

`joint`: nothing, one noise level for all; `modalities`: nothing, video and flow at separate levels; `first_frame` and
`prediction`: the video of the first frame, or of the first few; `interpolation`: the video of frames at both ends;
`flow_to_video`: all flow; `video_to_flow`: all video.
"""


def draw_noise_levels(
    patterns: Mapping[str, float],
    batch_size: int,
    num_frames: int,
    num_train_timesteps: int,
    generator: torch.Generator | None = None,
    *,
    level_shift: float = 1.0,
) -> torch.Tensor:
    """Draw each clip's pattern of noise levels.

    The clips of a batch are spread evenly over the range of levels, which makes their mean loss less noisy (Kingma et
    al., Variational Diffusion Models, 2021, Appendix I.1).

    Args:
        patterns (`dict[str, float]`): Weight of each of `NOISE_PATTERNS`.
        batch_size (`int`), num_frames (`int`): Clips, and frames in each.
        num_train_timesteps (`int`): Noise levels of the scheduler.
        generator (`torch.Generator`, *optional*): Source of randomness, on the CPU.
        level_shift (`float`): Draw levels as if under a cosine schedule whose signal-to-noise ratio is divided by the
            square of this; above 1, more draws are noisy. The frames of a clip resemble each other, so its content
            remains visible under more noise than that of an image (Hoogeboom et al., Simple Diffusion, 2023).

    Returns:
        `torch.Tensor` of shape `(batch_size, num_frames, 2)`, int64: levels of video and flow, 0 where given.

    Raises:
        ValueError: If a pattern is unknown.
    """
    unknown = set(patterns) - set(NOISE_PATTERNS)
    if unknown:
        raise ValueError(f"noise patterns must be among {NOISE_PATTERNS}, got {sorted(unknown)}")
    names = list(patterns)
    weights = torch.tensor([float(patterns[name]) for name in names])
    chosen = torch.multinomial(weights, batch_size, replacement=True, generator=generator)

    def integer(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=generator))

    def level(uniform: float) -> int:
        shifted = 2 / math.pi * math.atan(level_shift * math.tan(math.pi / 2 * uniform))
        return min(1 + int(shifted * (num_train_timesteps - 1)), num_train_timesteps - 1)

    levels = torch.empty(batch_size, num_frames, 2, dtype=torch.int64)
    even = (torch.arange(batch_size) + torch.rand(1, generator=generator)) / batch_size
    for clip, choice, uniform in zip(levels, chosen.tolist(), even.tolist(), strict=True):
        name = names[choice]
        clip[:] = level(uniform)
        if name == "modalities":
            clip[:, 1] = level(float(torch.rand(1, generator=generator)))
        elif name == "first_frame":
            clip[0, 0] = 0
        elif name == "prediction" and num_frames > 2:
            clip[: integer(2, num_frames), 0] = 0
        elif name == "interpolation" and num_frames > 2:
            ends = integer(1, (num_frames - 1) // 2 + 1)
            clip[:ends, 0] = clip[-ends:, 0] = 0
        elif name == "flow_to_video":
            clip[:, 1] = 0
        elif name == "video_to_flow":
            clip[:, 0] = 0
    return levels


@dataclass(frozen=True)
class DiffusionObjective:
    """Noising and loss of a training step.

    Args:
        alphas_cumprod (`torch.Tensor` of shape `(num_train_timesteps,)`): The scheduler's cumulative alphas.
        prediction_type (`str`): `"epsilon"`, `"v_prediction"` or `"sample"`.
        loss_type (`str`): `"l1"` or `"l2"`.
        flow_weight (`float`): Weight of each flow channel's loss; 1 is the paper's.
        snr_gamma (`float`, *optional*): Gamma of the min-SNR weight (Hang et al., Efficient Diffusion Training via
            Min-SNR Weighting Strategy, 2023).
    """

    alphas_cumprod: torch.Tensor
    prediction_type: str = "v_prediction"
    loss_type: str = "l2"
    flow_weight: float = 1.0
    snr_gamma: float | None = None

    def __post_init__(self) -> None:
        for name, allowed in (
            ("prediction_type", PREDICTION_TYPES),
            ("loss_type", ("l1", "l2")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")

    def noise(
        self, clean: torch.Tensor, levels: torch.Tensor, epsilon: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Noisy clip and prediction target, each `(B, C, F, H, W)`, for `levels` `(B, F, 2)`."""
        alpha_bar = expand_levels(self.alphas_cumprod.to(clean.device)[levels], clean.shape[1])
        alpha, sigma = alpha_and_sigma(alpha_bar)
        given = expand_levels(levels == 0, clean.shape[1])
        noisy = torch.where(given, clean, alpha * clean + sigma * epsilon)
        return noisy, prediction_target(clean, epsilon, alpha, sigma, self.prediction_type)

    def loss(self, prediction: torch.Tensor, target: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        """Mean error `(C,)` of each channel over what was not given; `combine` reduces it to a scalar."""
        error = F.l1_loss if self.loss_type == "l1" else F.mse_loss
        weight = expand_levels(self._weight(levels), target.shape[1])
        per_frame = error(prediction.float(), target, reduction="none").mean(dim=(-2, -1), keepdim=True)
        counted = expand_levels((levels != 0).float(), target.shape[1])
        return (per_frame * weight).sum(dim=(0, 2, 3, 4)) / counted.sum(dim=(0, 2, 3, 4)).clamp(min=1)

    def combine(self, channel_losses: torch.Tensor) -> torch.Tensor:
        """Weighted mean over the channels."""
        weights = torch.full_like(channel_losses, self.flow_weight)
        weights[0] = 1.0
        return (weights * channel_losses).sum() / weights.sum()

    def _weight(self, levels: torch.Tensor) -> torch.Tensor:
        """Weight `(B, F, 2)` of each level: 0 where given, else 1 or the min-SNR weight."""
        unknown = (levels != 0).float()
        if self.snr_gamma is None:
            return unknown
        alpha_bar = self.alphas_cumprod.to(levels.device)[levels].clamp(1e-8, 1 - 1e-8)
        snr = alpha_bar / (1 - alpha_bar)
        clipped = snr.clamp(max=self.snr_gamma)
        divisor = {"epsilon": snr, "v_prediction": snr + 1, "sample": torch.ones_like(snr)}[self.prediction_type]
        return unknown * clipped / divisor


def drop_labels(labels: torch.Tensor, probability: float, generator: torch.Generator | None = None) -> torch.Tensor:
    """Set each label `(B, kinds)` to -1 (unknown) with the given probability, half of the time with all of its clip.

    Classifier-free guidance needs clips without any label, which are rare if several kinds are dropped one by one.
    """
    together = torch.rand(len(labels), 1, generator=generator) < probability / 2
    alone = torch.rand(labels.shape, generator=generator) < probability / (2 - probability)
    dropped = together | alone
    return labels.masked_fill(dropped.to(labels.device, non_blocking=True), -1)
