r"""Guidance: predictions pushed away from less informed ones.

With classes :math:`c` and with the flow :math:`f_t` that is sampled along with the video :math:`x_t`,

.. math:: \hat y = y(x_t, f_t, c) + (g_c - 1) \, [y(x_t, f_t, c) - y(x_t, f_t)]
    + (g_m - 1) \, [y(x_t, f_t, c) - y(x_t, f_T, c)],

where :math:`f_T` is flow at the highest noise level, which carries no information. The last term applies to the video
alone and makes it follow its flow more closely. It needs a network trained with separate noise levels for video and
flow.

References
----------
.. [1] Classifier-Free Diffusion Guidance (Ho & Salimans, 2022), https://arxiv.org/abs/2207.12598
.. [2] Inner-Guidance: VideoJAM: Joint Appearance-Motion Representations for Enhanced Motion Generation in Video Models
   (Chefer et al., 2025), https://arxiv.org/abs/2502.02492
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

LabelledNetwork = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]
"""A network: clip `(B, C, F, H, W)`, levels `(B, F, 2)`, labels `(B, kinds)` or `None` -> its prediction, a clip."""


@dataclass(frozen=True)
class Guidance:
    """
    Args:
        labels (`torch.Tensor` of shape `(B, kinds)`, *optional*): Classes of the clips, -1 for one left open.
        class_scale (`float`): :math:`g_c`; 1 is none. Clips of which all classes are left open are not guided.
        motion_scale (`float`): :math:`g_m`; 1 is none.
        flow_noise (`torch.Tensor` of shape `(B, 2, F, H, W)`, *optional*): :math:`f_T`; without it there is no motion
            guidance.
        highest_level (`int`): :math:`T`, the level of that noise.
    """

    labels: torch.Tensor | None
    class_scale: float
    motion_scale: float
    flow_noise: torch.Tensor | None
    highest_level: int

    def predict(self, network: LabelledNetwork, clip: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        """The guided prediction for a noisy clip `(B, C, F, H, W)` at levels `(B, F, 2)`."""
        known = network(clip, levels, self.labels)
        guided = known
        if self.class_scale != 1 and self.labels is not None and bool((self.labels >= 0).any()):
            guided = guided + (self.class_scale - 1) * (known - network(clip, levels, None))
        if self.motion_scale != 1 and self.flow_noise is not None and bool(levels[..., 0].any()):  # else video is given
            motionless = torch.cat([clip[:, :1], self.flow_noise.to(clip)], dim=1)
            blind = levels.clone()
            blind[..., 1] = self.highest_level
            pushed = (self.motion_scale - 1) * (known - network(motionless, blind, self.labels))[:, :1]
            guided = torch.cat([guided[:, :1] + pushed, guided[:, 1:]], dim=1)
        return guided
