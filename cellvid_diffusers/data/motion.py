"""Flow of a recording, and the frame stride derived from it: slow cultures need frames further apart than fast ones."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ..flow import dis_flow, flow_to_rgb, horn_schunck
from ..flow.render import speed_of_full_colour
from ..io import write_gif
from ..io.atomic import replacing
from .corrections import equalize_flicker, flicker_reference
from .patches import BLOCK, blank_frames, block_contrast, typical_contrast
from .readers import Recording

FLOWS = ("pyramid", "paper", "dis", "none")
PIXELS_PER_FLOW_CALL = 4_000_000
PREVIEW_SIDE, PREVIEW_FRAMES = 512, 200
MAX_STRIDE = 32
PAIRS = 5
FLICKER_FRAMES = 32
"""Number of frames from which a recording's level and contrast are estimated."""
STILLNESS = 2.0
"""Pull of the pyramid's flow towards zero where there is no texture to follow. Blank background is then nearly still
(0.06 instead of 1.04 px/frame on U373), at the cost of 1 % of what warping explains in the cells."""


Read = Callable[[Sequence[int]], np.ndarray]


def flow_pieces(
    read: Callable[[slice], np.ndarray],
    num_frames: int,
    frame_pixels: int,
    method: str,
    *,
    stillness: float | None = None,
) -> Iterator[np.ndarray]:
    """Yield the flow of a video by `method`, a few frames at a time: `(n, H, W, 2)` float32, `num_frames` - 1 fields
    in all.

    `read(slice)` returns uint8 frames `(n, H, W)` of `frame_pixels` pixels each; `stillness` is an option of the method
    "pyramid", `STILLNESS` by default.
    """
    if stillness is not None and method != "pyramid":
        raise ValueError(f"stillness is an option of pyramid, got it with {method}")
    stillness = STILLNESS if stillness is None else stillness
    count = max(1, PIXELS_PER_FLOW_CALL // frame_pixels)
    for start in range(0, num_frames - 1, count):
        piece = read(slice(start, min(start + count + 1, num_frames)))
        if method == "dis":
            flow = dis_flow(piece)
        else:
            options = {"stillness": stillness} if method == "pyramid" else {}
            flow = horn_schunck(torch.from_numpy(piece), mode=method, **options)
        yield np.moveaxis(np.asarray(flow, np.float32), 0, -1)


def video_flow(
    frames: np.ndarray, method: str, *, stillness: float | None = None, num_fields: int | None = None
) -> np.ndarray:
    """Flow `(num_fields, H, W, 2)` float16 of uint8 frames `(F, H, W)` by `method`. By default all F - 1 fields; any
    beyond these repeat the last."""
    flow = np.empty((num_fields or len(frames) - 1, *frames.shape[1:], 2), np.float16)
    done = 0
    for piece in flow_pieces(frames.__getitem__, len(frames), frames[0].size, method, stillness=stillness):
        flow[done : done + len(piece)] = piece[: len(flow) - done]
        done += len(piece)
    flow[done:] = flow[len(frames) - 2]
    return flow


def write_flow(
    recording: Recording, out: Path, method: str, *, equalize: bool = True, stillness: float | None = None
) -> list[int]:
    """Write the flow of a whole recording, a few frames at a time.

    Parameters
    ----------
    recording : Recording
        At least two frames.
    out : Path
        Folder for `flow.npy`, (F-1, H, W, 2) float32 in pixels per frame, field k from frame k to frame k+1; and
        `flow.gif`, the same colour-coded, reduced to at most 512 pixels a side and, by skipping evenly, at most 200
        fields.
    method : "pyramid", "paper" or "dis"
        As in `prepare`.
    equalize : bool
        Remove flicker first, which would be taken for motion.
    stillness : float, optional
        For "pyramid", see `horn_schunck`: how strongly blank background is held still, on 8-bit values; 2 by default.
        At 0, whatever moves as a whole is followed, however faint.

    Returns
    -------
    list of int
        Indices of frames that show nothing, as when the shutter stays closed: flow to and from them is not motion.

    Raises
    ------
    ValueError
        If the method is unknown or does not take `stillness`, or the recording has only one frame.
    """
    methods = [name for name in FLOWS if name != "none"]
    if method not in methods:
        raise ValueError(f"mode must be one of {', '.join(methods)}, got {method}")
    num_frames, height, width = recording.frames.shape
    if num_frames < 2:
        raise ValueError(f"recording must have at least two frames, got {num_frames}")
    scale = max(1.0, max(height, width) / PREVIEW_SIDE)
    side = max(1, round(width / scale)), max(1, round(height / scale))
    sample = recording.read(recording.sample_indices(FLICKER_FRAMES))
    contrast = typical_contrast(sample)
    reference = flicker_reference(sample[~blank_frames(sample, contrast)]) if equalize else None
    blank: set[int] = set()

    def read(part: slice) -> np.ndarray:
        frames = recording.read(part)
        shows_nothing = blank_frames(frames, contrast)
        blank.update((part.start + np.flatnonzero(shows_nothing)).tolist())
        if reference is not None:  # a blank frame is left alone: stretching it would amplify noise
            frames[~shows_nothing] = equalize_flicker(frames[~shows_nothing], reference=reference)
        return frames

    out.mkdir(parents=True, exist_ok=True)
    small: list[np.ndarray] = []
    every = -(-(num_frames - 1) // PREVIEW_FRAMES)
    with replacing(out / "flow.npy") as temporary:
        shape = (num_frames - 1, height, width, 2)
        fields = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        pieces = flow_pieces(read, num_frames, height * width, method, stillness=stillness)
        for number, field in enumerate(itertools.chain.from_iterable(pieces)):
            fields[number] = field
            if number % every == 0:
                small.append(cv2.resize(field, side, interpolation=cv2.INTER_AREA))
        fields.flush()
    seen = [field for k, field in enumerate(small) if not {k * every, k * every + 1} & blank] or small
    speeds = [np.linalg.norm(field[::4, ::4], axis=-1) for field in seen]  # enough to scale the colours
    fastest = speed_of_full_colour(np.stack(speeds))
    write_gif(out / "flow.gif", np.stack([flow_to_rgb(field, max_speed=fastest) for field in small]), scale=1)
    return sorted(blank) if contrast else list(range(num_frames))


def moving_speed(
    read: Read, length: int, stride: int, *, flow: str = "pyramid", stillness: float | None = None, noise: float = 1.0
) -> float:
    """Median speed of structured areas in a recording of `length` frames, in px per `stride` frames.

    Speed is measured between five evenly spaced pairs of frames, in the 8 x 8 blocks that contain structure (contrast
    above twice the `noise`, in grey levels).
    """
    starts = np.unique(np.linspace(0, length - 1 - stride, PAIRS).astype(int))
    speeds = []
    for start in starts:
        pair = read([start, start + stride])
        speed = np.linalg.norm(video_flow(pair, flow, stillness=stillness)[0].astype(np.float32), axis=-1)
        structured = np.kron(block_contrast(pair[0]) > 2 * noise, np.ones((BLOCK, BLOCK), bool))
        speeds.append(speed[: structured.shape[0], : structured.shape[1]][structured])
    values = np.concatenate(speeds)
    return float(np.median(values)) if values.size else 0.0


def choose_stride(read: Read, length: int, num_frames: int, *, target_speed: float = 1.0, **options: Any) -> int:
    """Choose the smallest stride at which `moving_speed` reaches `target_speed` px per frame.

    If no stride does, the largest that fits a window of `num_frames` (at most 32). Strides are doubled until one is
    fast enough, then found by bisection, as speed grows with the stride.

    Parameters
    ----------
    read : callable
        Returns the frames with the given indices as uint8 `(n, H, W)`, after corrections.
    length : int
        Number of frames of the recording.
    num_frames : int
        Number of frames of a window.
    target_speed : float
    **options
        Passed to `moving_speed`.
    """
    largest = max(1, min(MAX_STRIDE, (length - 1) // max(1, num_frames - 1)))

    def is_fast(stride: int) -> bool:
        return moving_speed(read, length, stride, **options) >= target_speed

    slow, fast = 0, 1
    while fast < largest and not is_fast(fast):
        slow, fast = fast, min(2 * fast, largest)
    while fast - slow > 1:
        middle = (slow + fast) // 2
        slow, fast = (slow, middle) if is_fast(middle) else (middle, fast)
    return fast
