"""What `CellVideoPipeline` returns."""

from dataclasses import dataclass
from typing import Any

from diffusers.utils import BaseOutput


@dataclass
class CellVideoPipelineOutput(BaseOutput):
    """
    Args:
        frames (`np.ndarray`, `torch.Tensor` or `list[list[PIL.Image.Image]]`):
            Video of shape `(batch_size, num_frames, height, width)` in [0, 1]; with `output_type="pil"` one list of
            8-bit grey images a clip.
        flow (`np.ndarray` or `torch.Tensor` of shape `(batch_size, num_frames, height, width, 2)`, *optional*):
            Optical flow (u, v) in pixels per frame, u to the right, v down; that of frame k goes to frame k + 1.
            `None` where the model knows video only.
        classes (`list[dict[str, str | None]]`, *optional*):
            Cell type, density and maturity of each clip, asked for or drawn; `None` for a kind that was left open. Of a
            checkpoint without classes it is `None` itself.
    """

    frames: Any
    flow: Any | None
    classes: list[dict[str, str | None]] | None = None
