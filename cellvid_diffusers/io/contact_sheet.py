"""Contact sheets: clips side by side on one page, each with its motion under it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..flow import flow_to_rgb
from .atomic import replacing
from .pixels import to_uint8

TILE_SIDE = 128
"""Small frames are enlarged by a whole factor until their longer side has at least this many pixels."""
GAP, MARGIN_LEFT, MARGIN_TOP = 4, 72, 22
PAPER, INK = (255, 255, 255), (40, 40, 40)


def contact_sheet(
    videos: Sequence[np.ndarray] | np.ndarray,
    flows: Sequence[np.ndarray] | np.ndarray | None = None,
    *,
    path: str | Path | None = None,
    labels: Sequence[str] | None = None,
    max_frames: int = 10,
    scale: int | None = None,
) -> np.ndarray:
    """Draw clips as rows and frames as columns.

    Parameters
    ----------
    videos : sequence of ndarray
        Clips `(F, H, W)` of one shape, uint8, or floating point in [0, 1].
    flows : sequence of ndarray, optional
        Flow `(F or F-1, H, W, 2)` of each clip in pixels per frame, drawn in colours under it: the hue is the
        direction, the saturation the speed, on one scale for the whole sheet.
    path : path, optional
        PNG to write.
    labels : sequence of str, optional
        Name of each clip; their numbers by default.
    max_frames : int
        Longer clips are shown by this many evenly spaced frames.
    scale : int, optional
        Whole factor of enlargement; by default tiles have at least `TILE_SIDE` pixels.

    Returns
    -------
    ndarray
        `(height, width, 3)` uint8.

    Raises
    ------
    ValueError
        If clips, flows and labels do not fit each other.
    """
    clips = [to_uint8(video) for video in videos]
    if not clips or len({clip.shape for clip in clips}) != 1:
        raise ValueError(f"clips must be at least one and of one shape, got {[clip.shape for clip in clips]}")
    frames, height, width = clips[0].shape
    if labels is None:
        labels = [f"clip {number}" for number in range(len(clips))]
    for name, given in (("flows", flows), ("labels", labels)):
        if given is not None and len(given) != len(clips):
            raise ValueError(f"{name} must be one for each of the {len(clips)} clips, got {len(given)}")
    shown = np.unique(np.linspace(0, frames - 1, min(frames, max_frames)).round().astype(int))
    colours = None if flows is None else _flow_tiles(flows, shown, clips[0].shape)

    scale = scale or -(-TILE_SIDE // max(height, width))
    rows = 1 if colours is None else 2
    step_x, step_y = width * scale + GAP, rows * height * scale + 2 * GAP
    size = (MARGIN_LEFT + len(shown) * step_x, MARGIN_TOP + len(clips) * step_y)
    sheet = Image.new("RGB", size, PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for column, frame in enumerate(shown):
        x = MARGIN_LEFT + column * step_x
        pen.text((x + width * scale // 2, MARGIN_TOP // 2), f"frame {frame}", INK, font, anchor="mm")
        for row, clip in enumerate(clips):
            y = MARGIN_TOP + row * step_y
            tiles = [clip[frame]] if colours is None else [clip[frame], colours[row][column]]
            for tile in tiles:
                enlarged = tile.repeat(scale, axis=0).repeat(scale, axis=1)
                sheet.paste(Image.fromarray(enlarged).convert("RGB"), (x, y))
                y += height * scale
    for row, label in enumerate(labels):
        y = MARGIN_TOP + row * step_y + height * scale // 2
        pen.text((MARGIN_LEFT - 8, y), label, INK, font, anchor="rm")
        if colours is not None:
            pen.text((MARGIN_LEFT - 8, y + height * scale), "motion", INK, font, anchor="rm")
    if path is not None:
        with replacing(path) as temporary:
            sheet.save(temporary, format="PNG")
    return np.asarray(sheet)


def _flow_tiles(flows: Sequence[np.ndarray] | np.ndarray, shown: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Colours `(clips, shown frames, H, W, 3)` of all flows on one scale; a last frame without flow is blank."""
    frames, height, width = shape
    tiles = np.zeros((len(flows), len(shown), height, width, 2), np.float32)
    for row, flow in enumerate(np.asarray(flow) for flow in flows):
        if flow.shape not in ((frames, height, width, 2), (frames - 1, height, width, 2)):
            raise ValueError(f"flow must be {(frames, height, width, 2)} or one frame shorter, got {flow.shape}")
        known = shown < len(flow)
        tiles[row, known] = flow[shown[known]]
    return flow_to_rgb(tiles)
