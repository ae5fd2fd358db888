"""A small U-Net for cells in phase contrast: foreground, depth inside the cell, seams where cells touch.

It takes one frame, normalised in level and contrast by `standardize`, and was trained by
`training/train_segmentation.py` on annotated frames (`weights/README.md`) at many scales, to cover cells of about 10 to
100 pixels across.

References
----------
.. [1] U-Net: Convolutional Networks for Biomedical Image Segmentation (Ronneberger et al., 2015),
   https://arxiv.org/abs/1505.04597
"""

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTS = Path(__file__).parent / "weights" / "segmentation.safetensors"
CHANNELS = (16, 32, 64, 128, 192)
MIN_SPREAD = 2 / 255
"""Standard deviation (full range 1) up to which a clip counts as flat: a few grey levels of camera noise."""


class SegmentationUNet(nn.Module):
    """Map `(B, 1, H, W)` standardised frames to `(B, 3, H, W)` logits of foreground, depth and contact.

    Depth is the distance to the edge of the cell divided by its maximum in that cell; contact is the seam between
    touching cells. H and W must be multiples of `stride`.
    """

    def __init__(self, channels: tuple[int, ...] = CHANNELS) -> None:
        super().__init__()
        self.stride = 2 ** (len(channels) - 1)
        self.down = nn.ModuleList(map(_block, (1, *channels[:-1]), channels))
        self.up = nn.ModuleList(_block(deep + skip, skip) for skip, deep in pairwise(channels))
        self.head = nn.Conv2d(channels[0], 3, 1)

    def forward(self, frames: Tensor) -> Tensor:
        skips = []
        x = frames
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        x = skips.pop()
        for block in reversed(self.up):
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skips.pop()], dim=1))
        return self.head(x)


def _block(inside: int, outside: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (inside, outside):
        layers += [nn.Conv2d(width, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def standardize(frames: np.ndarray) -> np.ndarray:
    """Shift the median of each frame to 0 and scale the spread of the clip to 1; a flat clip is left flat.

    The spread is that of grey values clipped at 2.5 times the spread: the wall of a channel and other glare that covers
    part of a frame would otherwise make cells look faint.

    Parameters
    ----------
    frames : ndarray
        `(F, H, W)` in [0, 1].

    Returns
    -------
    ndarray
        `(F, H, W)` float32.
    """
    centred = frames - np.median(frames, axis=(1, 2), keepdims=True)
    spread = float(centred.std())
    for _ in range(4):
        spread = float(np.clip(centred, -2.5 * spread, 2.5 * spread).std())
    return (centred / max(spread, MIN_SPREAD)).astype(np.float32)


@cache
def load_network(path: Path = WEIGHTS) -> SegmentationUNet:
    """Load the trained network in evaluation mode; its width and depth follow from the weights."""
    tensors = {name: value.float() for name, value in load_file(path).items()}
    first = (f"down.{level}.0.weight" for level in range(len(tensors)))
    network = SegmentationUNet(tuple(len(tensors[name]) for name in first if name in tensors))
    network.load_state_dict(tensors, strict=False)
    return network.eval().to(memory_format=torch.channels_last)


@torch.inference_mode()
def predict(frames: np.ndarray) -> np.ndarray:
    """Probability of foreground, depth and contact of `(F, H, W)` frames in [0, 1], as `(F, 3, H, W)` float32.

    Predictions for a frame and its mirror image are averaged. Frames are processed one by one, so that working memory
    does not grow with the length of a recording.
    """
    height, width = frames.shape[1:]
    network = load_network()
    margins = (0, -width % network.stride, 0, -height % network.stride)
    out = np.empty((len(frames), 3, height, width), np.float32)
    for logits, frame in zip(out, torch.from_numpy(standardize(frames)), strict=True):
        padded = F.pad(frame[None, None], margins, mode="replicate").contiguous(memory_format=torch.channels_last)
        seen, mirrored = network(torch.cat([padded, padded.flip(-1)])).sigmoid()
        logits[:] = ((seen + mirrored.flip(-1)) / 2)[:, :height, :width].numpy()
    return out
