"""What `CellVideoPipeline` returns."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.utils import BaseOutput
from PIL import Image

OUTPUT_TYPES = ("np", "pt", "pil")


@dataclass
class CellVideoPipelineOutput(BaseOutput):
    """
    Args:
        frames (`np.ndarray`, `torch.Tensor` or `list[list[PIL.Image.Image]]`):
            Video of shape `(batch_size, num_frames, height, width)` in [0, 1]; with `output_type="pil"` one list of
            8-bit grey images per clip.
        flow (`np.ndarray` or `torch.Tensor` of shape `(batch_size, num_frames, height, width, 2)`, *optional*):
            Optical flow (u, v) in pixels per frame, u to the right, v down; that of frame k leads to frame k + 1.
            `None` if the model knows video only.
        classes (`list[dict[str, str | None]]`, *optional*):
            Cell type, density and maturity of each clip, requested or drawn; `None` for a kind that was left open. The
            whole list is `None` if the checkpoint has no classes.
    """

    frames: Any
    flow: Any | None
    classes: list[dict[str, str | None]] | None = None


def check_output_type(output_type: str) -> None:
    """Raise `ValueError` unless it is one of `OUTPUT_TYPES`."""
    if output_type not in OUTPUT_TYPES:
        raise ValueError(f"output_type must be one of {', '.join(OUTPUT_TYPES)}, got {output_type!r}")


def as_output(output_type: str, video: torch.Tensor, flow: torch.Tensor | None) -> tuple[Any, Any]:
    """Return video `(B, F, H, W)` in [0, 1] and flow as NumPy arrays (`"np"`), tensors (`"pt"`) or images (`"pil"`)."""
    if output_type == "pt":
        return video, flow
    frames, motion = video.cpu().numpy(), None if flow is None else flow.cpu().numpy()
    if output_type == "np":
        return frames, motion
    grey = (frames * 255).round().astype(np.uint8)
    return [[Image.fromarray(frame) for frame in each] for each in grey], motion
