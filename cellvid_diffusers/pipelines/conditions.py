"""Conditions of sampling: given frames or flow, held at noise level zero while the rest is denoised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from diffusers.utils import logging
from PIL import Image

from ..flow.video import as_tensor
from ..noise_schedule import expand_levels

logger = logging.get_logger(__name__)

Array: TypeAlias = np.ndarray | torch.Tensor
Pictures: TypeAlias = Array | Image.Image | Sequence[Image.Image] | Sequence[Sequence[Image.Image]]
"""An array, or 8-bit pictures as returned for `output_type="pil"`, nested like its first axes."""


@dataclass(frozen=True)
class Given:
    """Given frames and flow, as the user passed them.

    Args:
        mask (`torch.Tensor` of shape `(B, F, 2)`, bool): Which frames' video and flow are given.
        video (`torch.Tensor` of shape `(B, F, H, W)`): Given video in [0, 1], arbitrary elsewhere.
        flow (`torch.Tensor` of shape `(B, F, H, W, 2)`): Given flow in px/frame, arbitrary elsewhere.
    """

    mask: torch.Tensor
    video: torch.Tensor
    flow: torch.Tensor

    @classmethod
    def from_arguments(
        cls,
        config: Mapping[str, Any],
        shape: tuple[int, int, int, int, int],
        *,
        first_frame: Pictures | None,
        frames: Pictures | None,
        frame_mask: Array | None,
        flow: Array | None,
    ) -> "Given":
        """Read and check the pipeline's conditional arguments for clips of shape `(B, C, F, H, W)`.

        Raises:
            ValueError: If a shape or value does not fit, or the checkpoint was not trained for the task.
        """
        batch, channels, num_frames, height, width = shape
        given = torch.zeros(batch, num_frames, 2, dtype=torch.bool)
        video = torch.zeros(batch, num_frames, height, width)
        motion = torch.zeros(batch, num_frames, height, width, 2)
        if first_frame is not None and frames is not None:
            raise ValueError("give first_frame or frames, not both")
        if frame_mask is not None and frames is None:
            raise ValueError("frame_mask says which of frames are given: give frames too")
        if first_frame is not None:
            video[:, 0] = _read("first_frame", _without_pictures("first_frame", first_frame), (batch, height, width))
            given[:, 0, 0] = True
            _require(config, "first_frame", ("first_frame", "prediction"))
        if frames is not None:
            mask = torch.ones(num_frames, dtype=torch.bool)
            if frame_mask is not None:
                mask = _read_mask(frame_mask, num_frames)
            read = _read("frames", _without_pictures("frames", frames), (batch, num_frames, height, width))
            video[:, mask] = read[:, mask]
            given[:, mask, 0] = True
            if bool(mask.all()) and (channels == 1 or flow is not None):
                others = "this checkpoint knows video only" if channels == 1 else "so is the flow"
                raise ValueError(f"frames cannot all be given: {others}, and nothing is left")
            tasks: tuple[str, ...] = ("prediction", "interpolation")
            if mask.tolist() == [True] + [False] * (num_frames - 1):
                tasks = (*tasks, "first_frame")
            _require(config, "frames", ("video_to_flow",) if bool(mask.all()) else tasks)
        if flow is not None:
            if channels == 1:
                raise ValueError("flow cannot be given: this checkpoint knows video only")
            motion[:] = _read_flow(flow, (batch, num_frames, height, width, 2))
            given[:, :, 1] = True
            _require(config, "flow", ("flow_to_video",))
        for name, values in (("video", video), ("flow", motion)):
            if not bool(torch.isfinite(values).all()):
                raise ValueError(f"given {name} must be finite, got NaN or infinity")
        if bool((video < 0).any() or (video > 1).any()):
            raise ValueError(
                f"given frames must be in [0, 1], got {float(video.min()):.3g} to {float(video.max()):.3g}"
            )
        return cls(given, video, motion)

    def frames(self) -> torch.Tensor:
        """The given frames `(B, n, H, W)`; the same positions in every clip."""
        return self.video[:, self.mask[0, :, 0]]

    def scaled(
        self, config: Mapping[str, Any], video_scale: tuple[torch.Tensor, torch.Tensor], channels: int
    ) -> "Conditions":
        """Convert to the model's scale; `video_scale` holds mean and standard deviation, each `(1 or B, 1, 1, 1)`."""
        mean, std = video_scale
        clip = config["flow_clip"]
        if clip is not None and bool((self.flow.abs() > clip).any()):
            logger.warning(
                f"flow is given up to {float(self.flow.abs().max()):.3g} px/frame, but this checkpoint was trained up "
                f"to {clip:.3g}: the video follows it as if it were clipped there"
            )
        flow = (self.flow if clip is None else self.flow.clamp(-clip, clip)) / config["flow_scale"]
        values = torch.cat([((self.video - mean) / std)[:, None], flow.permute(0, 4, 1, 2, 3)], dim=1)
        return Conditions(values[:, :channels], self.mask)

    def restore(self, video: torch.Tensor, flow: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Put the given frames and flow back exactly as they came."""
        mask = self.mask.to(video.device)
        video = torch.where(mask[:, :, 0, None, None], self.video.to(video), video)
        if flow is not None:
            flow = torch.where(mask[:, :, 1, None, None, None], self.flow.to(flow), flow)
        return video, flow


@dataclass(frozen=True)
class Conditions:
    """Given values of a clip in the model's scale, and where they are given.

    Args:
        values (`torch.Tensor` of shape `(B, C, F, H, W)`): Given values, arbitrary elsewhere.
        given (`torch.Tensor` of shape `(B, F, 2)`, bool): Which frames' video and flow are given.
    """

    values: torch.Tensor
    given: torch.Tensor

    def to(self, device: torch.device) -> "Conditions":
        """Move to another device."""
        return Conditions(self.values.to(device), self.given.to(device))

    def levels(self, timestep: torch.Tensor) -> torch.Tensor:
        """Noise levels `(B, F, 2)` at a step of the scheduler: 0 where given."""
        return torch.where(self.given, torch.zeros_like(timestep), timestep)

    def impose(self, clip: torch.Tensor) -> torch.Tensor:
        """Put the given values into a clip `(B, C, F, H, W)`."""
        if not bool(self.given.any()):
            return clip
        return torch.where(expand_levels(self.given, clip.shape[1]), self.values, clip)


def _without_pictures(name: str, given: Pictures) -> Array:
    """Convert pictures to an array in [0, 1], colours to grey; arrays are returned as they are."""
    if isinstance(given, Image.Image):
        if given.mode not in ("L", "RGB", "RGBA"):
            raise ValueError(
                f"{name} must be an 8-bit picture, grey or RGB, or an array in [0, 1], got mode {given.mode}"
            )
        return np.asarray(given.convert("L"), dtype=np.float32) / 255
    if isinstance(given, str | bytes) or hasattr(given, "__fspath__"):
        raise ValueError(f"{name} must be a picture or an array in [0, 1], not the name of a file, got {given!r}")
    if isinstance(given, Sequence) and given and not isinstance(given[0], float | int):
        arrays = [np.asarray(_without_pictures(name, each)) for each in given]
        if len({each.shape for each in arrays}) > 1:
            raise ValueError(f"{name} must be of one size, got {sorted({each.shape for each in arrays})}")
        return np.stack(arrays)
    return given


def _read(name: str, array: Array, shape: tuple[int, ...]) -> torch.Tensor:
    """Float tensor of `shape`, repeated over the batch if it came without one."""
    values = _tensor(array, torch.float32)
    if tuple(values.shape) not in (shape, shape[1:]):
        raise ValueError(
            f"{name} must have shape {shape[1:]} or {shape} (batch_size, num_frames, height and width are arguments), "
            f"got {tuple(values.shape)}"
        )
    return values.expand(shape)


def _read_mask(frame_mask: Array | Sequence[Any], num_frames: int) -> torch.Tensor:
    """Mask `(F,)`, bool, of the given frames: at least one of them."""
    values = _tensor(frame_mask, torch.float32)
    if values.shape != (num_frames,):
        raise ValueError(f"frame_mask must have num_frames = {num_frames} entries, got {tuple(values.shape)}")
    if not bool(((values == 0) | (values == 1)).all()) or not bool(values.any()):
        raise ValueError(f"frame_mask must be true for the given frames and false elsewhere, got {values.tolist()}")
    return values.bool()


def _read_flow(flow: Array, shape: tuple[int, int, int, int, int]) -> torch.Tensor:
    """Flow of `shape`. One field fewer, as flow is estimated from frames, is complete: the last leads to no frame, and
    repeats the one before."""
    num_frames, *rest = shape[1:]
    values = _tensor(flow, torch.float32)
    if num_frames > 1 and tuple(values.shape)[-4:] == (num_frames - 1, *rest):
        values = torch.cat([values, values[..., -1:, :, :, :]], dim=-4)
    return _read("flow", values, shape)


def _tensor(array: Array | Sequence[Any], dtype: torch.dtype) -> torch.Tensor:
    """Convert to a tensor on the CPU."""
    if isinstance(array, Sequence) and array and isinstance(array[0], torch.Tensor):
        array = torch.stack(list(array))
    return as_tensor(array).to("cpu", dtype)


def _require(config: Mapping[str, Any], name: str, tasks: tuple[str, ...]) -> None:
    """Raise `ValueError` unless the checkpoint was trained for one of the tasks."""
    trained = list(config["noise_patterns"])
    if not set(tasks) & set(trained):
        raise ValueError(f"{name} cannot be given: this checkpoint was trained for {trained}, not {' or '.join(tasks)}")
