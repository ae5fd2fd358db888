"""Random clips for training: a window of time, a turned and mirrored crop, and the flow turned along.

A crop is one affine map from its pixels p to the patch, q = A p + c, with A a rotation, mirrored or not. Vectors turn
the other way: a flow f in the patch is A^T f in the crop, so a mirrored clip moves to the mirrored side.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from .dataset import decode_flow, decode_frames
from .patches import BLOCK, block_contrast
from .scales import Scales, minmax_normalize

STRUCTURE = 3.0
"""Grey levels of standard deviation within an 8 x 8 block above which it holds structure: cells, not background."""


@dataclass(frozen=True)
class ClipTransform:
    """Draws a clip of `num_frames` frames of `size` x `size` pixels from a row.

    Attributes
    ----------
    num_frames, size : int
        Of the clip.
    flip : bool
        Mirror left-right and up-down, each in half of the clips.
    rotate : bool
        Turn by a multiple of 90 degrees.
    any_angle : bool
        Turn by any angle, where the patch holds the turned crop at every angle (`patch >= size * sqrt(2)`).
    random_window : bool
        Draw the first frame; otherwise the row's first frames are taken, as the paper does.
    random_crop : bool
        Draw the crop's place; otherwise its centre is the patch's.
    brightness, contrast : float
        Largest shift (in [0, 1] units) and relative change of the video; 0 = none.
    min_foreground : float
        A crop with a smaller share of structured 8 x 8 blocks is drawn again,
    attempts : int
        at most so many times in all; the fullest is kept.
    """

    num_frames: int = 10
    size: int = 64
    flip: bool = True
    rotate: bool = True
    any_angle: bool = True
    random_window: bool = True
    random_crop: bool = True
    brightness: float = 0.0
    contrast: float = 0.0
    min_foreground: float = 0.1
    attempts: int = 4

    def __call__(
        self,
        frames: np.ndarray,
        flow: np.ndarray | None,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """A clip from a row.

        Parameters
        ----------
        frames : ndarray of shape (N, H, W), uint8
        flow : ndarray of shape (N, H, W, 2), optional
            In px/frame.
        rng : numpy Generator

        Returns
        -------
        ndarray of shape (C, F, size, size), float32
            Video in [0, 1], then u and v in px/frame where the row has flow.
        """
        start = int(rng.integers(len(frames) - self.num_frames + 1)) if self.random_window else 0
        window = slice(start, start + self.num_frames)
        structured = block_contrast(frames[start + self.num_frames // 2]) > STRUCTURE
        matrix, centre = self._draw_crop(frames.shape[1:], rng, structured)
        video = np.stack([self._warp(frame, matrix, centre, cv2.INTER_CUBIC) for frame in frames[window]])
        video = video.astype(np.float32) / 255
        if self.contrast or self.brightness:
            gain = 1 + self.contrast * rng.uniform(-1, 1)
            video = np.clip((video - 0.5) * gain + 0.5 + self.brightness * rng.uniform(-1, 1), 0, 1, dtype=np.float32)
        if flow is None:
            return video[None]
        crops = [self._warp(f, matrix, centre, cv2.INTER_LINEAR) for f in flow[window].astype(np.float32)]
        turned = np.stack(crops) @ matrix.astype(np.float32)  # row vectors: f A is A^T f
        return np.concatenate((video[None], np.moveaxis(turned, -1, 0)))

    def _draw_crop(
        self, shape: tuple[int, ...], rng: np.random.Generator, foreground: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Matrix A of the crop and its centre (x, y) in the patch; of several draws the first full enough."""
        best, most = None, -1.0
        for _ in range(self.attempts if self.random_crop else 1):
            if self.any_angle and min(shape) >= self.size * math.sqrt(2):
                angle = rng.uniform(0, 2 * math.pi)
                cos, sin = math.cos(angle), math.sin(angle)
            else:
                cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[int(rng.integers(4)) if self.rotate else 0]
            mirror = np.where(rng.random(2) < 0.5, -1.0, 1.0) if self.flip else np.ones(2)
            matrix = np.array([[cos, -sin], [sin, cos]]) * mirror
            # Half the extent of the turned crop's pixel centres.
            reach = (self.size - 1) / 2 * (abs(cos) + abs(sin))
            middle = (np.array(shape[::-1]) - 1) / 2
            slack = np.maximum(middle - reach, 0)
            centre = middle + slack * (rng.uniform(-1, 1, 2) if self.random_crop else 0)
            if cos in (-1, 0, 1):  # keep to whole pixels: nothing is interpolated
                centre = np.clip(np.rint(centre - reach) + reach, middle - slack, middle + slack)
            share = self._share(foreground, centre, reach)
            if share > most:
                best, most = (matrix, centre), share
            if share >= self.min_foreground:
                break
        return best

    @staticmethod
    def _share(foreground: np.ndarray, centre: np.ndarray, reach: float) -> float:
        """Share of structured blocks under the upright square around a crop."""
        x0, y0 = np.maximum((centre - reach) // BLOCK, 0).astype(int)
        x1, y1 = ((centre + reach) // BLOCK + 1).astype(int)
        return float(foreground[y0:y1, x0:x1].mean())

    def _warp(self, picture: np.ndarray, matrix: np.ndarray, centre: np.ndarray, interpolation: int) -> np.ndarray:
        """The crop of `(H, W)` or `(H, W, 2)`."""
        offset = centre - matrix @ np.full(2, (self.size - 1) / 2)
        affine = np.column_stack((matrix, offset))
        flags = interpolation | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(picture, affine, (self.size, self.size), flags=flags, borderMode=cv2.BORDER_REFLECT_101)


class ClipDataset(Dataset):
    """Training clips drawn from the rows of a patch data set.

    Item i is drawn by `numpy.random.default_rng((seed, i))`, whatever worker or process asks for it, so a training run
    that goes on at item i sees the clips it would have seen.

    Parameters
    ----------
    rows : datasets.Dataset
        From `load_patches`.
    num_frames, size : int
        Frames and side of a clip.
    transform : ClipTransform or mapping, optional
        The transform, or options of it beside `num_frames` and `size`.
    scales : Scales, optional
        By default `Scales.estimate` over the rows.
    normalization : "fixed" or "paper"
        Fixed scales, or each sample's own extremes (`minmax_normalize`).
    flow : bool
        Give flow channels.
    class_columns : mapping of column to class names, optional
        A label column each, in this order; a name that is not listed, or null, is -1.
    seed : int
    balance : str, optional
        Label column whose classes are drawn equally often, however many rows each has.
    preload : bool
        Decode all rows once and keep them in memory (1 + 4 bytes a pixel with flow); otherwise decode each time.
    length : int, optional
        Number of items; by default one for each row. An item draws its row at random.
    """

    def __init__(
        self,
        rows: Any,
        *,
        num_frames: int = 10,
        size: int = 64,
        transform: ClipTransform | Mapping[str, Any] | None = None,
        scales: Scales | None = None,
        normalization: str = "fixed",
        flow: bool = True,
        class_columns: Mapping[str, Sequence[str]] | None = None,
        seed: int = 0,
        balance: str | None = None,
        preload: bool = True,
        length: int | None = None,
    ):
        if normalization not in ("fixed", "paper"):
            raise ValueError(f"normalization must be 'fixed' or 'paper', got {normalization}")
        if isinstance(transform, ClipTransform):
            self.transform = transform
        else:
            self.transform = ClipTransform(num_frames=num_frames, size=size, **(transform or {}))
        self.rows, self.flow, self.normalization, self.seed = rows, flow, normalization, seed
        self.length = length or len(rows)
        self._check(rows)
        self.class_columns = dict(class_columns or {})
        self._labels = (
            np.stack([_labels(rows, column, names) for column, names in self.class_columns.items()], axis=1)
            if self.class_columns
            else np.empty((len(rows), 0), np.int64)
        )
        if balance is not None and balance not in self.class_columns:
            raise ValueError(f"balance must be one of class_columns {list(self.class_columns)}, got {balance!r}")
        self.balance = balance
        self._rows_of_class = self._group_rows()
        self._decoded = [self._decode(i) for i in range(len(rows))] if preload else None
        self.scales = scales or Scales.estimate(self._measurable(index) for index in range(256))

    def _check(self, rows: Any) -> None:
        """The rows hold what the clips need; the first row stands for all, as `prepare` writes them alike."""
        if not len(rows):
            raise ValueError("rows must hold at least one patch, got none")
        row, wanted = rows[0], self.transform
        if self.flow and row["flow"] is None:
            raise ValueError(
                "rows must hold flow for clips with motion, got none: prepare with flow, or ask for flow=False"
            )
        height, width = decode_frames(row["frames"][:1]).shape[1:]
        if len(row["frames"]) < wanted.num_frames:
            raise ValueError(f"num_frames must be at most the rows' {len(row['frames'])}, got {wanted.num_frames}")
        if min(height, width) < wanted.size:
            raise ValueError(f"size must be at most the patches' {min(height, width)}, got {wanted.size}")

    def _decode(self, index: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Frames, flow and structured blocks of a row."""
        row = self.rows[index]
        frames = decode_frames(row["frames"])
        contrast = np.mean([block_contrast(frame) for frame in frames[:: max(1, len(frames) // 8)]], axis=0)
        return frames, decode_flow(row) if self.flow else None, contrast > STRUCTURE

    def _group_rows(self) -> list[np.ndarray]:
        """Rows of each class that is balanced; all rows in one group without balance."""
        if self.balance is None:
            return [np.arange(len(self.rows))]
        labels = self._labels[:, list(self.class_columns).index(self.balance)]
        return [np.flatnonzero(labels == label) for label in np.unique(labels)]

    def _draw_row(self, rng: np.random.Generator) -> int:
        """A row that is not nearly empty, if a few draws find one."""
        for _ in range(self.transform.attempts):
            group = self._rows_of_class[int(rng.integers(len(self._rows_of_class)))]
            row = int(group[int(rng.integers(len(group)))])
            if self._decoded is None or self._decoded[row][2].mean() >= self.transform.min_foreground:
                break
        return row

    def class_weights(self) -> dict[str, list[float]]:
        """Share of each class of each label column among the rows whose class is known."""
        shares = {}
        for (column, names), labels in zip(self.class_columns.items(), self._labels.T, strict=True):
            counts = np.bincount(labels[labels >= 0], minlength=len(names))
            if column == self.balance:
                counts = np.minimum(counts, 1)
            shares[column] = (counts / max(1, counts.sum())).tolist()
        return shares

    def common_value(self, column: str) -> float | None:
        """The value of a metadata column if all rows share it, else None."""
        values = set(self.rows[column])
        return values.pop() if len(values) == 1 else None

    def _row(self, index: int) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        return self._decoded[index] if self._decoded is not None else self._decode(int(index))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """`video` float32 `(C, F, H, W)` in model units, and `class_labels` int64 `(K,)`."""
        clip, row = self._draw(index)
        sample = torch.from_numpy(clip)
        sample = self.scales.normalize(sample) if self.normalization == "fixed" else minmax_normalize(sample)
        return {"video": sample, "class_labels": torch.from_numpy(self._labels[row])}

    def _draw(self, index: int) -> tuple[np.ndarray, int]:
        """Clip `(C, F, H, W)`, video in [0, 1] and flow in px/frame, and the row that it comes from."""
        rng = np.random.default_rng((self.seed, index))
        row = self._draw_row(rng)
        return self.transform(*self._row(row)[:2], rng), row

    def _measurable(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """A drawn clip as `Scales.estimate` wants it, so that scales are those of what the model will see."""
        clip = self._draw(index)[0]
        return (clip[0] * 255).astype(np.uint8), np.moveaxis(clip[1:], 0, -1) if self.flow else None


def _labels(rows: Any, column: str, names: Sequence[str]) -> np.ndarray:
    """Class numbers `(N,)` of a column in the order of `names`; -1 = unknown."""
    feature = rows.features[column]
    values = [v if v is None or isinstance(v, str) else feature.int2str(v) for v in rows[column]]
    numbers = {name: i for i, name in enumerate(names)}
    return np.array([numbers.get(value, -1) for value in values], np.int64)
