"""Training clips drawn on a device, a whole batch at a time: worker processes are too slow to feed a GPU.

Clips are drawn as `ClipDataset` and `ClipTransform` draw them one by one. Legend: B clips, A attempts, N rows, F frames
of a clip, T frames of the longest row, H and W sides of a row, S side of a clip, h and w rows and columns of 8 x 8
blocks.
"""

import math

import torch
import torch.nn.functional as F

from .clips import ClipDataset
from .patches import BLOCK, block_contrast
from .scales import minmax_normalize
from .transforms import STRUCTURE


class ClipBank:
    """The rows of a data set in a device's memory.

    Parameters
    ----------
    clips : ClipDataset
        Preloaded data set; the bank uses its rows, transform, scales and labels.
    device : torch.device or str

    Raises
    ------
    ValueError
        If the rows were not preloaded.
    """

    def __init__(self, clips: ClipDataset, device: torch.device | str):
        decoded = clips.decoded_rows()
        self.clips, self.device, self.transform = clips, torch.device(device), clips.transform
        lengths = [len(frames) for frames, _, _ in decoded]
        height, width = decoded[0][0].shape[1:]
        blocks = (height // BLOCK, width // BLOCK)
        shape = (len(decoded), max(lengths))
        self.frames = torch.zeros(*shape, height, width, dtype=torch.uint8, device=device)
        self.flow = torch.zeros(*shape, height, width, 2, dtype=torch.float16, device=device) if clips.flow else None
        # Summed-area table of structured blocks: the sum over any rectangle takes four look-ups.
        self.structure = torch.zeros(*shape, blocks[0] + 1, blocks[1] + 1, device=device)
        for row, (frames, flow, _) in enumerate(decoded):
            self.frames[row, : len(frames)] = torch.tensor(frames)
            if self.flow is not None:
                self.flow[row, : len(frames)] = torch.tensor(flow)
            structured = torch.stack([torch.from_numpy(block_contrast(frame) > STRUCTURE) for frame in frames])
            self.structure[row, : len(frames), 1:, 1:] = structured.float().cumsum(1).cumsum(2)
        self.lengths = torch.tensor(lengths, device=device)
        self.shares = torch.tensor([share for _, _, share in decoded], device=device)
        groups = [torch.from_numpy(group) for group in clips.row_groups]
        self.group_sizes = torch.tensor([len(group) for group in groups], device=device)
        self.groups = torch.nn.utils.rnn.pad_sequence(groups, batch_first=True).to(device)
        self.labels = clips.row_labels(device)
        scales = [clips.scales_of(label) for label in clips.row_labels("cpu")]
        self.mean = torch.tensor([each.video_mean for each in scales], device=device)
        self.std = torch.tensor([each.video_std for each in scales], device=device)
        self.sides = torch.tensor((width, height), device=device)
        self.blocks = torch.tensor(blocks[::-1], device=device)
        self.kinds = clips.row_kinds(device)
        bounds = clips.crowding.bounds if clips.crowding else {}
        self.density_edges = {k: torch.as_tensor(each, dtype=torch.float32).to(device) for k, each in bounds.items()}

    def draw(self, count: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """`video` float32 `(B, C, F, S, S)` in model units and `class_labels` int64 `(B, K)` of `count` clips.

        `generator` must be on the bank's device.
        """
        rows = self._draw_rows(count, generator)
        starts = self._draw_starts(rows, generator)
        matrix, centre = self._draw_crops(rows, starts, generator)
        sample = self._cut(rows, starts, matrix, centre)
        if self.transform.contrast or self.transform.brightness:
            sample[:, 0] = self._jitter(sample[:, 0], generator)
        labels = self.labels[rows]
        if self.density_edges:
            labels = self._label_density(sample[:, 0], rows, labels)
        if self.clips.normalization == "paper":
            return {"video": minmax_normalize(sample), "class_labels": labels}
        scales = self.clips.scales
        sample[:, 0] = (sample[:, 0] - _beside(self.mean[rows], 3)) / _beside(self.std[rows], 3)
        sample[:, 1:] = sample[:, 1:].clamp(-scales.flow_clip, scales.flow_clip) / scales.flow_scale
        return {"video": sample, "class_labels": labels}

    def _uniform(self, *shape: int, generator: torch.Generator) -> torch.Tensor:
        return torch.rand(shape, generator=generator, device=self.device)

    def _draw_rows(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Row indices `(B,)`, each the first of several draws that is not nearly empty, else the last."""
        attempts = self.transform.attempts
        group = (self._uniform(count, generator=generator) * len(self.groups)).long()
        place = (self._uniform(attempts, count, generator=generator) * self.group_sizes[group]).long()
        rows = self.groups[group, place]
        full = self.shares[rows] >= self.transform.min_foreground
        full[-1] = True  # the last draw is accepted in any case
        return rows.gather(0, full.int().argmax(0, keepdim=True))[0]

    def _draw_starts(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Indices `(B,)` of the clips' first frames."""
        if not self.transform.random_window:
            return torch.zeros_like(rows)
        choices = self.lengths[rows] - self.transform.num_frames + 1
        return (self._uniform(len(rows), generator=generator) * choices).long()

    def _draw_crops(
        self, rows: torch.Tensor, starts: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Matrices A `(B, 2, 2)` of the crops and their centres (x, y) `(B, 2)`.

        Each is the first of several draws that holds enough structure, else the one that holds most.
        """
        options, size = self.transform, self.transform.size
        shape = (options.attempts if options.random_crop else 1, len(rows))
        turned = self._uniform(*shape, generator=generator)
        fits = float(min(self.frames.shape[2:])) >= size * math.sqrt(2)
        quarters = not (options.rotate and options.any_angle and fits)
        if quarters:
            turned = (turned * 4).floor() / 4 if options.rotate else torch.zeros_like(turned)
        angle = 2 * math.pi * turned
        cos, sin = (angle.cos().round(), angle.sin().round()) if quarters else (angle.cos(), angle.sin())
        mirror = torch.ones(*shape, 2, device=self.device)
        if options.flip:
            mirror -= 2 * (self._uniform(*shape, 2, generator=generator) < 0.5)
        matrix = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2) * mirror[..., None, :]
        reach = ((size - 1) / 2 * (cos.abs() + sin.abs()))[..., None]
        middle = (self.sides - 1) / 2
        slack = (middle - reach).clamp(min=0)
        centre = middle.expand(*shape, 2).clone()
        if options.random_crop:
            centre += slack * (2 * self._uniform(*shape, 2, generator=generator) - 1)
        if quarters:  # keep to whole pixels: nothing is interpolated
            centre = ((centre - reach).round() + reach).clamp(middle - slack, middle + slack)
        share = self._share(rows, starts + options.num_frames // 2, centre, reach)
        full = share >= options.min_foreground
        chosen = torch.where(full.any(0), full.int().argmax(0), share.argmax(0))
        each = torch.arange(len(rows), device=self.device)
        return matrix[chosen, each], centre[chosen, each]

    def _share(
        self, rows: torch.Tensor, frames: torch.Tensor, centre: torch.Tensor, reach: torch.Tensor
    ) -> torch.Tensor:
        """Share of structured blocks `(A, B)` in the axis-aligned squares around the crops."""
        low = ((centre - reach) / BLOCK).floor().long().clamp(min=0).minimum(self.blocks - 1)
        high = (((centre + reach) / BLOCK).floor().long() + 1).minimum(self.blocks)
        (x0, y0), (x1, y1) = low.unbind(-1), high.unbind(-1)
        sums = [self.structure[rows, frames, y, x] for y, x in ((y1, x1), (y0, x1), (y1, x0), (y0, x0))]
        return (sums[0] - sums[1] - sums[2] + sums[3]) / ((y1 - y0) * (x1 - x0))

    def _cut(
        self, rows: torch.Tensor, starts: torch.Tensor, matrix: torch.Tensor, centre: torch.Tensor
    ) -> torch.Tensor:
        """Clips `(B, C, F, S, S)`: video in [0, 1], then u and v in px/frame, rotated with the crop."""
        size = self.transform.size
        times = starts[:, None] + torch.arange(self.transform.num_frames, device=self.device)
        step = torch.arange(size, device=self.device) - (size - 1) / 2
        pixels = torch.stack(torch.meshgrid(step, step, indexing="xy"), -1)  # (S, S, 2): x, y from the crop's centre
        places = torch.einsum("bij,yxj->byxi", matrix, pixels) + centre[:, None, None]
        grid = 2 * places / (self.sides - 1) - 1
        options = {"padding_mode": "reflection", "align_corners": True}
        video = F.grid_sample(self.frames[rows[:, None], times].float(), grid, mode="bicubic", **options)
        video = video.round().clamp(0, 255)[:, None] / 255
        if self.flow is None:
            return video
        flow = self.flow[rows[:, None], times].float().permute(0, 4, 1, 2, 3)
        crops = F.grid_sample(flow.flatten(1, 2), grid, mode="bilinear", **options).unflatten(1, (2, -1))
        return torch.cat((video, torch.einsum("bij,bifyx->bjfyx", matrix, crops)), 1)  # A^T f

    def _jitter(self, video: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        shift, gain = (2 * self._uniform(2, len(video), 1, 1, 1, generator=generator) - 1).unbind(0)
        bright, contrast = self.transform.brightness, self.transform.contrast
        return ((video - 0.5) * (1 + contrast * gain) + 0.5 + bright * shift).clamp(0, 1)

    def _label_density(self, video: torch.Tensor, rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Labels `(B, K)` with the density class of each clip as `Crowding` measures it."""
        column = list(self.clips.class_columns).index("density")
        n = self.transform.size // BLOCK
        blocks = video[..., : n * BLOCK, : n * BLOCK].unflatten(-2, (n, BLOCK)).unflatten(-1, (n, BLOCK))
        contrast = blocks.std((-3, -1), correction=0)
        share = (contrast > _beside(self.std[rows], 3) / 2).float().mean((1, 2, 3))
        kinds = self.kinds[rows]
        density = torch.full_like(kinds, -1)
        for kind, edges in self.density_edges.items():
            density = torch.where(kinds == kind, torch.bucketize(share, edges), density)
        return torch.cat((labels[:, :column], density[:, None], labels[:, column + 1 :]), 1)


def _beside(values: torch.Tensor, axes: int) -> torch.Tensor:
    """`(B,)` with `axes` trailing axes of length 1."""
    return values[(...,) + (None,) * axes]
