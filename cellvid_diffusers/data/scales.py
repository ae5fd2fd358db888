"""One fixed scale per data set: each modality has about unit variance, and zero motion is always exactly zero.

    video' = (video - m) / s        video in [0, 1]
    flow'  = clip(flow, -c, c) / a  flow in px/frame

The paper's min-max scaling of each sample (`minmax_normalize`) instead maps zero motion to a different value in each
sample, and leaves the flow with a standard deviation of 0.02 to 0.11.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Scales:
    """Fixed scales of a data set, kept as scalars in a pipeline's config.

    Attributes
    ----------
    video_mean, video_std : float
        Mean and standard deviation of pixel values in [0, 1].
    flow_scale : float
        Pixels per frame that become 1.
    flow_clip : float
        Pixels per frame at which each component is clipped.
    """

    video_mean: float = 0.5
    video_std: float = 0.25
    flow_scale: float = 1.0
    flow_clip: float = 8.0

    def normalize(self, sample: torch.Tensor) -> torch.Tensor:
        """Convert physical `(..., C, F, H, W)`, C = 1 (video in [0, 1]) or 3 (and u, v in px/frame), to model units."""
        video = (sample.narrow(-4, 0, 1) - self.video_mean) / self.video_std
        flow = sample.narrow(-4, 1, sample.shape[-4] - 1).clamp(-self.flow_clip, self.flow_clip) / self.flow_scale
        return torch.cat((video, flow), dim=-4)

    def denormalize(self, sample: torch.Tensor) -> torch.Tensor:
        """Convert model units `(..., C, F, H, W)` to video in [0, 1] and flow in px/frame, clipped at `flow_clip`."""
        video = (sample.narrow(-4, 0, 1) * self.video_std + self.video_mean).clamp(0, 1)
        flow = (sample.narrow(-4, 1, sample.shape[-4] - 1) * self.flow_scale).clamp(-self.flow_clip, self.flow_clip)
        return torch.cat((video, flow), dim=-4)

    @classmethod
    def estimate(
        cls, clips: Iterable[tuple[np.ndarray, np.ndarray | None]], *, pixels_per_clip: int = 20_000
    ) -> "Scales":
        """Estimate the scales of a data set.

        Parameters
        ----------
        clips : iterable of (video, flow)
            Video `(F, H, W)` uint8; flow `(F, H, W, 2)` in px/frame, or None.
        pixels_per_clip : int
            Approximate number of evenly spaced pixels sampled from each clip.

        Returns
        -------
        Scales
            `flow_clip` is the 99.5th percentile of the flow components' magnitudes, `flow_scale` their root mean square
            after clipping.
        """
        values, speeds = [], []
        for video, flow in clips:
            step = max(1, video.size // pixels_per_clip) | 1
            values.append(video.ravel()[::step].astype(np.float32) / 255)
            if flow is not None:
                speeds.append(np.abs(flow.reshape(-1, 2)[::step].astype(np.float32)).ravel())
        if not values:
            raise ValueError("clips must hold at least one clip, got none")
        video = np.concatenate(values)
        flow_scale = flow_clip = 1.0
        if speeds:
            speed = np.concatenate(speeds)
            flow_clip = float(np.percentile(speed, 99.5)) or 1.0
            flow_scale = float(np.sqrt(np.mean(np.minimum(speed, flow_clip) ** 2))) or 1.0
        return cls(float(video.mean()), float(video.std()) or 1.0, flow_scale, flow_clip)


def minmax_normalize(sample: torch.Tensor) -> torch.Tensor:
    """The paper's min-max scaling: map the range of each channel of each sample `(..., C, F, H, W)` to [-1, 1].

    A constant channel becomes -1. The scaling cannot be undone: the extremes are lost.
    """
    low, high = sample.amin((-3, -2, -1), keepdim=True), sample.amax((-3, -2, -1), keepdim=True)
    return 2 * (sample - low) / (high - low).clamp_min(1e-12) - 1
