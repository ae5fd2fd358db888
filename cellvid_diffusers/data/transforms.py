"""Random clips for training: a window of time, a rotated and mirrored crop, and the flow rotated with it.

A crop is one affine map from its pixels p to the patch, q = A p + c, where A is a rotation, possibly with reflection.
Vectors transform the other way: a flow f in the patch is A^T f in the crop, so a mirrored clip moves to the mirrored
side.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from .dataset import EncodedFrames
from .patches import BLOCK, block_contrast

STRUCTURE = 3.0
"""Standard deviation in grey levels above which an 8 x 8 block counts as structured: cells, not background."""


@dataclass(frozen=True)
class ClipTransform:
    """Draws a clip of `num_frames` frames of `size` x `size` pixels from a row.

    Attributes
    ----------
    num_frames, size : int
        Number of frames and side of the clip in pixels.
    flip : bool
        Mirror left-right and up-down, each in half of the clips.
    rotate : bool
        Rotate by a multiple of 90 degrees.
    any_angle : bool
        With `rotate`, rotate by any angle if the patch contains the crop at every angle (`patch >= size * sqrt(2)`).
    random_window : bool
        Draw the first frame at random; otherwise take the row's first frames, as the paper does.
    random_crop : bool
        Draw the crop's position at random; otherwise centre it in the patch.
    brightness, contrast : float
        Largest shift (in [0, 1] units) and relative change of the video; 0 = none.
    min_foreground : float
        Smallest accepted share of structured 8 x 8 blocks in a crop; with less, the crop is drawn again.
    attempts : int
        Maximum number of draws; if none is accepted, the crop with the largest share is used.
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
        frames: np.ndarray | EncodedFrames,
        flow: np.ndarray | None,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Draw a clip from a row.

        Parameters
        ----------
        frames : ndarray of shape (N, H, W), uint8, or EncodedFrames
            Of encoded frames, only the drawn window is decoded.
        flow : ndarray of shape (N, H, W, 2), optional
            In px/frame.
        rng : numpy Generator

        Returns
        -------
        ndarray of shape (C, F, size, size), float32
            Video in [0, 1], then u and v in px/frame if the row has flow.
        """
        start = int(rng.integers(len(frames) - self.num_frames + 1)) if self.random_window else 0
        window = slice(start, start + self.num_frames)
        clip = frames[window]
        structured = block_contrast(clip[self.num_frames // 2]) > STRUCTURE
        matrix, centre = self._draw_crop(clip.shape[1:], rng, structured)
        video = np.stack([self._warp(frame, matrix, centre, cv2.INTER_CUBIC) for frame in clip])
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
        """Matrix A of a crop and its centre (x, y) in the patch: the first draw full enough, else the fullest."""
        best, most = (np.eye(2), np.zeros(2)), -1.0
        for _ in range(self.attempts if self.random_crop else 1):
            if self.rotate and self.any_angle and min(shape) >= self.size * math.sqrt(2):
                angle = rng.uniform(0, 2 * math.pi)
                cos, sin = math.cos(angle), math.sin(angle)
            else:
                cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[int(rng.integers(4)) if self.rotate else 0]
            mirror = np.where(rng.random(2) < 0.5, -1.0, 1.0) if self.flip else np.ones(2)
            matrix = np.array([[cos, -sin], [sin, cos]]) * mirror
            # Half the extent of the rotated crop's pixel centres.
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
        """Share of structured blocks in the axis-aligned square around a crop."""
        last = np.array(foreground.shape[::-1]) - 1  # a strip narrower than a block belongs to none
        x0, y0 = np.clip((centre - reach) // BLOCK, 0, last).astype(int)
        x1, y1 = ((centre + reach) // BLOCK + 1).astype(int)
        return float(foreground[y0:y1, x0:x1].mean())

    def _warp(self, picture: np.ndarray, matrix: np.ndarray, centre: np.ndarray, interpolation: int) -> np.ndarray:
        """The crop of `(H, W)` or `(H, W, 2)`."""
        offset = centre - matrix @ np.full(2, (self.size - 1) / 2)
        affine = np.column_stack((matrix, offset))
        flags = interpolation | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(picture, affine, (self.size, self.size), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
