r"""Clips far larger than the training patch, or longer than its window, at bounded memory and without seams.

At every denoising step the network predicts overlapping tiles, and the predictions are blended,

.. math:: \hat y(p) = \sum_i w_i(p) \, \hat y_i(p) \Big/ \sum_i w_i(p),

with windows :math:`w_i` that rise smoothly across the overlap. Since the tiles share one noisy clip and are blended at
each step, neighbours agree in their overlap, unlike tiles that are sampled separately.

References: MultiDiffusion: Fusing Diffusion Paths for Controlled Image Generation (Bar-Tal, Yariv, Lipman, Dekel,
2023), https://arxiv.org/abs/2302.08113
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

Network = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""A network with its labels bound: a clip `(B, C, F, H, W)` and levels `(B, F, 2)` -> its prediction, a clip."""


def tile_starts(length: int, size: int, overlap: int) -> list[int]:
    """Starts of the fewest evenly spaced tiles of `size` that cover `length` and overlap by at least `overlap`."""
    if length <= size:
        return [0]
    count = math.ceil((length - overlap) / (size - overlap))
    return [round(index * (length - size) / (count - 1)) for index in range(count)]


def blend_window(start: int, size: int, length: int, overlap: int, device: torch.device) -> torch.Tensor:
    """Weight `(size,)` of a tile along one axis: raised-cosine ramps over the overlap, none at the clip's border."""
    position = torch.arange(size, device=device) + 0.5
    before = position if start > 0 else torch.full_like(position, math.inf)
    after = size - position if start + size < length else torch.full_like(position, math.inf)
    ramp = (torch.minimum(before, after) / max(overlap, 1)).clamp(max=1)
    return torch.sin(math.pi / 2 * ramp) ** 2


@dataclass(frozen=True)
class Tiling:
    """How a clip is cut into overlapping tiles for prediction.

    Args:
        tile_size (`int`): Side of a tile in pixels; a multiple of the network's `size_multiple`. The side that the
            network was trained on, or slightly more, stays close to its training data.
        overlap (`int`): Minimum number of pixels shared by neighbouring tiles.
        tile_frames (`int`, *optional*): Frames of a tile; all of them if not given.
        frame_overlap (`int`): Minimum number of frames shared by neighbouring tiles.
        batch_size (`int`): Tiles per call of the network; at least one of each clip.

    Raises:
        ValueError: If an overlap is not smaller than its tile.
    """

    tile_size: int
    overlap: int
    tile_frames: int | None = None
    frame_overlap: int = 4
    batch_size: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.tile_size:
            raise ValueError(f"overlap must lie between 0 and tile_size - 1 = {self.tile_size - 1}, got {self.overlap}")
        if self.tile_frames is not None and not 0 <= self.frame_overlap < self.tile_frames:
            raise ValueError(
                f"frame_overlap must lie between 0 and tile_frames - 1 = {self.tile_frames - 1}, "
                f"got {self.frame_overlap}"
            )
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")

    def predict(self, network: Network, clip: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        """
        Blend a network's predictions of the tiles of a clip.

        A clip that fits into one tile is handed to the network as it is.

        Args:
            network (`Network`): Predicts a clip from a clip and its levels; item `n` of its batch is a tile of clip
                `n mod B`.
            clip (`torch.Tensor` of shape `(B, C, F, H, W)`): Noisy clip.
            levels (`torch.Tensor` of shape `(B, F, 2)`): Noise levels of each frame's video and flow.

        Returns:
            `torch.Tensor` of shape `(B, C, F, H, W)`: The prediction, in the clip's dtype.
        """
        lengths = clip.shape[2:]
        sizes = [
            min(size, length)
            for size, length in zip((self.tile_frames or lengths[0], *[self.tile_size] * 2), lengths, strict=True)
        ]
        overlaps = (min(self.frame_overlap, sizes[0] - 1), self.overlap, self.overlap)
        axes = list(zip(lengths, sizes, overlaps, strict=True))
        tiles = list(itertools.product(*(tile_starts(*axis) for axis in axes)))
        if len(tiles) == 1:
            return network(clip, levels)
        total = torch.zeros_like(clip, dtype=torch.float32)
        weights = torch.zeros(lengths, device=clip.device)
        of_clip = max(1, self.batch_size // len(clip))
        for first in range(0, len(tiles), of_clip):
            chosen = tiles[first : first + of_clip]
            places = [
                tuple(slice(start, start + size) for start, size in zip(tile, sizes, strict=True)) for tile in chosen
            ]
            cut = torch.cat([clip[:, :, frames, rows, columns] for frames, rows, columns in places])
            cut_levels = torch.cat([levels[:, frames] for frames, _, _ in places])
            predictions = network(cut, cut_levels).split(clip.shape[0])
            for tile, (frames, rows, columns), prediction in zip(chosen, places, predictions, strict=True):
                f, y, x = (
                    blend_window(start, size, length, overlap, clip.device)
                    for start, (length, size, overlap) in zip(tile, axes, strict=True)
                )
                window = f[:, None, None] * y[:, None] * x
                total[:, :, frames, rows, columns] += window * prediction
                weights[frames, rows, columns] += window
        return (total / weights).to(clip.dtype)
