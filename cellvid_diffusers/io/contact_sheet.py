"""Contact sheets: several clips on one page, each with its motion below."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..flow import flow_to_rgb
from ..flow.render import LEAST_MAX_SPEED
from .atomic import replacing
from .pixels import to_uint8

TILE_SIDE = 128
"""Small frames are enlarged by an integer factor until their longer side has at least this many pixels."""
GAP, LABEL_GAP, MARGIN_LEFT, MARGIN_TOP, WHEEL_SIDE = 4, 8, 72, 22, 48
PAPER, INK = (255, 255, 255), (40, 40, 40)
Strip = tuple[str, np.ndarray]  # label, and tiles (columns, H, W) or (columns, H, W, 3)


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
        Flow `(F or F-1, H, W, 2)` of each clip in pixels per frame, drawn in colour below it: hue is direction and
        saturation is speed, on one scale for the whole sheet.
    path : path, optional
        PNG to write.
    labels : sequence of str, optional
        Name of each clip; by default its number.
    max_frames : int
        Longer clips are shown as this many evenly spaced frames.
    scale : int, optional
        Integer enlargement factor; by default chosen so that tiles have at least `TILE_SIDE` pixels on the longer side.

    Returns
    -------
    ndarray
        `(height, width, 3)` uint8.

    Raises
    ------
    ValueError
        If clips, flows and labels do not match, or a clip's shape, dtype or range is not as above.
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
    groups: list[list[Strip]] = [[(label, clip[shown])] for label, clip in zip(labels, clips, strict=True)]
    legend = None
    if flows is not None:
        motion = _shown_flow(flows, shown, clips[0].shape)
        fastest = max(LEAST_MAX_SPEED, float(np.percentile(np.linalg.norm(motion, axis=-1), 99)))
        for group, tiles in zip(groups, flow_to_rgb(motion, max_speed=fastest), strict=True):
            group.append(("motion", tiles))
        legend = f"motion: the wheel gives the direction, full colour is {fastest:.2g} px/frame or more"
    captions = [f"frame {frame}" for frame in shown]
    sheet = _draw(groups, captions, scale or -(-TILE_SIDE // max(height, width)), legend)
    if path is not None:
        with replacing(path) as temporary:
            sheet.save(temporary, format="PNG")
    return np.asarray(sheet)


def _shown_flow(flows: Sequence[np.ndarray] | np.ndarray, shown: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Flow `(clips, shown frames, H, W, 2)`, zero for a last frame without flow."""
    frames, height, width = shape
    fields = np.zeros((len(flows), len(shown), height, width, 2), np.float32)
    for row, flow in enumerate(np.asarray(flow) for flow in flows):
        if flow.shape not in ((frames, height, width, 2), (frames - 1, height, width, 2)):
            raise ValueError(f"flow must be {(frames, height, width, 2)} or one frame shorter, got {flow.shape}")
        known = shown < len(flow)
        fields[row, known] = flow[shown[known]]
    return fields


def _draw(groups: list[list[Strip]], captions: list[str], scale: int, legend: str | None) -> Image.Image:
    """Draw strips of tiles below each other, with gaps between groups, captions above and the legend below."""
    height, width = (side * scale for side in groups[0][0][1].shape[1:3])
    group_height = len(groups[0]) * height + 2 * GAP
    font = ImageFont.load_default(size=13)
    longest = max(font.getlength(line) for group in groups for label, _ in group for line in label.split("\n"))
    margin_left = max(MARGIN_LEFT, round(longest) + 2 * LABEL_GAP)
    size = (
        margin_left + len(captions) * (width + GAP),
        MARGIN_TOP + len(groups) * group_height + (WHEEL_SIDE + 2 * GAP if legend else 0),
    )
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    columns = [margin_left + column * (width + GAP) for column in range(len(captions))]
    for x, caption in zip(columns, captions, strict=True):
        pen.text((x + width // 2, MARGIN_TOP // 2), caption, INK, font, anchor="mm")
    for top, group in enumerate(groups):
        for below, (label, tiles) in enumerate(group):
            y = MARGIN_TOP + top * group_height + below * height
            pen.text((margin_left - LABEL_GAP, y + height // 2), label, INK, font, anchor="rm", align="right")
            for x, tile in zip(columns, tiles, strict=True):
                enlarged = tile.repeat(scale, axis=0).repeat(scale, axis=1)
                sheet.paste(Image.fromarray(enlarged).convert("RGB"), (x, y))
    if legend:
        y = size[1] - WHEEL_SIDE - GAP
        sheet.paste(Image.fromarray(_wheel()), (margin_left, y))
        pen.text((margin_left + WHEEL_SIDE + 10, y + WHEEL_SIDE // 2), legend, INK, font, anchor="lm")
    return sheet


def _wheel() -> np.ndarray:
    """Colour wheel of directions and speeds: a disc that is fully saturated at the rim."""
    offset = (np.mgrid[:WHEEL_SIDE, :WHEEL_SIDE] - (WHEEL_SIDE - 1) / 2) / (WHEEL_SIDE / 2)
    flow = np.stack([offset[1], offset[0]], axis=-1)
    return flow_to_rgb(np.where(np.hypot(*offset)[..., None] <= 1, flow, 0), max_speed=1.0)
