"""Long videos from a model of short windows: each window continues from the last frames of the one before."""

from typing import Any

import torch

from .arguments import clip_generators
from .cell_video import CellVideoPipeline
from .output import CellVideoPipelineOutput, as_output, check_output_type

GIVEN_TO_ONE_WINDOW = ("frames", "frame_mask", "flow")
"""Arguments of the pipeline that have one entry per frame, and so fit only one window."""


def roll_out(
    pipe: CellVideoPipeline,
    num_frames: int,
    *,
    window: int | None = None,
    overlap: int | None = None,
    generator: list[torch.Generator] | torch.Generator | None = None,
    output_type: str = "np",
    **arguments: Any,
) -> CellVideoPipelineOutput:
    """
    Generate clips longer than the model's window.

    Args:
        pipe ([`CellVideoPipeline`]): Pipeline whose checkpoint was trained for `prediction`.
        num_frames (`int`): Frames of the whole video, any number.
        window (`int`, *optional*): Frames generated at a time; by default as many as in training, or 10 if unknown.
        overlap (`int`, *optional*): Frames given to each window: the last ones of the window before; by default 4, or
            `window - 1` if that is fewer. More frames preserve motion better, fewer are faster.
        generator (`torch.Generator` or `list[torch.Generator]`, *optional*): As for the pipeline.
        output_type (`str`, defaults to `"np"`): As for the pipeline.
        **arguments: Passed to [`CellVideoPipeline.__call__`], except `frames`, `frame_mask`, `flow` and `return_dict`;
            `first_frame` starts the first window. Classes that are not requested are drawn once, for all windows. A
            `guidance_scale` of 2 may keep crowded fields from growing emptier as cells leave (docs/training_log.md).

    Returns:
        [`CellVideoPipelineOutput`] with frames `(batch_size, num_frames, H, W)` and their flow; fewer frames if a
        callback ended sampling.

    Raises:
        ValueError: If `overlap` does not lie between 1 and `window - 1`, `output_type` is unknown, or an argument is
            given that fits only one window.
    """
    for name in (*GIVEN_TO_ONE_WINDOW, "return_dict"):
        if arguments.pop(name, None) is not None:
            raise ValueError(f"{name} cannot be given to a roll-out, which gives each window its own")
    check_output_type(output_type)
    window = (pipe.config.num_frames or 10) if window is None else window
    overlap = min(4, window - 1) if overlap is None else overlap
    if not 1 <= overlap < window:
        raise ValueError(f"overlap must lie between 1 and window - 1 = {window - 1}, got {overlap}")
    first = min(window, num_frames)
    # one generator per clip for all windows: from a single one, each window would draw new ones for all clips
    generator = clip_generators(generator, arguments.get("batch_size", 1))
    arguments = {**arguments, "generator": generator, "output_type": "pt"}
    start = pipe(num_frames=first, **arguments)
    frames, flow = start.frames, start.flow
    if start.classes:  # all windows have those of the first
        arguments |= {kind: [each[kind] for each in start.classes] for kind in start.classes[0]}
    arguments.pop("first_frame", None)
    while frames.shape[1] < num_frames and not pipe.interrupt:
        shape = (frames.shape[0], window, *frames.shape[2:])
        given = torch.zeros(shape, device=frames.device)
        given[:, :overlap] = frames[:, -overlap:]
        mask = torch.arange(window) < overlap
        new_frames, new_flow = pipe(num_frames=window, frames=given, frame_mask=mask, return_dict=False, **arguments)
        frames = torch.cat([frames, new_frames[:, overlap:]], dim=1)
        if flow is not None:  # the flow of the last given frame leads into the new ones
            flow = torch.cat([flow[:, :-1], new_flow[:, overlap - 1 :]], dim=1)
    flow = None if flow is None else flow[:, :num_frames]
    return CellVideoPipelineOutput(*as_output(output_type, frames[:, :num_frames], flow), classes=start.classes)
