"""A small U-Net that sees cells in phase contrast: foreground, depth inside the cell, lines where cells touch.

It reads one frame, level and contrast taken out by `standardize`, and was trained by
`training/train_segmentation.py` on hand-annotated frames at many scales, so that cells from some 10 to 100 pixels
across are in its range.

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
"""Standard deviation (of full range 1) up to which a frame counts as flat: a few grey levels of camera noise."""


class SegmentationUNet(nn.Module):
    """`(B, 1, H, W)` standardised frames to `(B, 3, H, W)` logits of foreground, depth and contact.

    Depth is the distance to the edge of the cell over its maximum in that cell; contact is the seam between touching
    cells. H and W are multiples of `stride`.
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
    """Median of each frame to 0 and spread of the clip to 1; a flat clip is left flat.

    Beyond 2.5 times the spread, grey values count as if they were there: the wall of a channel and other glare that
    covers part of a frame would otherwise make cells look faint.

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
    """The trained network, as wide and deep as its weights, ready to predict."""
    tensors = {name: value.float() for name, value in load_file(path).items()}
    first = (f"down.{level}.0.weight" for level in range(len(tensors)))
    network = SegmentationUNet(tuple(len(tensors[name]) for name in first if name in tensors))
    network.load_state_dict(tensors, strict=False)
    return network.eval().to(memory_format=torch.channels_last)


@torch.inference_mode()
def predict(frames: np.ndarray) -> np.ndarray:
    """Probability of foreground, depth and contact of `(F, H, W)` frames in [0, 1], as `(F, 3, H, W)` float32.

    The mean of what the network sees in a frame and in its mirror image. Frames go through one by one, so memory does
    not grow with the length of a recording.
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
