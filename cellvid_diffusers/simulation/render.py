"""From cells to what is under the microscope: instance masks, optical phase and exact motion."""

import cv2
import numpy as np

from .cells import Cell


def body_profile(cell: Cell, points: np.ndarray) -> np.ndarray:
    """How far inside the body points `(…, 2)` lie: 1 in the middle, 0 on the outline, negative outside."""
    local = cell.to_body(points)
    scaled = local / np.asarray(cell.axes)
    direction = np.arctan2(scaled[..., 1], scaled[..., 0])
    amplitude, phase = cell.outline.T
    wave = amplitude * np.cos(np.arange(2, 5) * direction[..., None] + phase)
    return 1 - np.linalg.norm(scaled, axis=-1) / (1 + wave.sum(axis=-1))


def draw(cells: list[Cell], side: int, texture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw a field.

    Parameters
    ----------
    cells : list of Cell
        Cell i is instance i + 1.
    side : int
        Of the field in pixels.
    texture : ndarray of shape (S, S)
        Granules of the cytoplasm, which move with the cell; mean 0.

    Returns
    -------
    masks : ndarray of shape (side, side), int32
    phase : ndarray of shape (side, side)
        Radians.
    """
    masks = np.zeros((side, side), np.int32)
    phase = np.zeros((side, side))
    depth = np.zeros((side, side))
    for number, cell in enumerate(cells, start=1):
        reach = int(1.5 * max(cell.axes)) + 3
        x0, y0 = (int(np.clip(c - reach, 0, side)) for c in cell.position)
        x1, y1 = (int(np.clip(c + reach + 1, 0, side)) for c in cell.position)
        if x1 <= x0 or y1 <= y0:
            continue
        points = np.stack(np.meshgrid(np.arange(x0, x1), np.arange(y0, y1)), axis=-1)
        inside = body_profile(cell, points)
        window = np.s_[y0:y1, x0:x1]
        first = (inside > 0) & (inside > depth[window])
        masks[window][first] = number
        depth[window] = np.maximum(depth[window], inside)
        dome = np.sqrt(np.clip(inside, 0, None)) if cell.dead else np.clip(inside, 0, None) ** 0.5
        local = (cell.to_body(points) + 17 * number).astype(np.float32)
        grain = cv2.remap(texture, local[..., 0], local[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        phase[window] += cell.thickness * dome * (1 + (0.0 if cell.dead else 1.0) * grain)
    strands = np.zeros((side, side), np.float32)
    for cell in cells:
        for line in cell.drawn_neurites():
            fixed = (line * 16).round().astype(np.int32)[:, None]
            cv2.polylines(strands, [fixed], False, 1.0, 1, cv2.LINE_AA, 4)
            tip = tuple(int(c) for c in fixed[-1, 0])
            cv2.circle(strands, tip, 26, 1.0, -1, cv2.LINE_AA, 4)  # growth cone
    phase += 0.3 * cv2.GaussianBlur(strands, (0, 0), 0.6) * (masks == 0)
    return masks, phase


def exact_flow(before: list[Cell], after: list[Cell], masks: np.ndarray) -> np.ndarray:
    """Motion of the material at each pixel: bodies move as rigid wholes, everything else stands still.

    Parameters
    ----------
    before, after : list of Cell
        The same cells in two frames.
    masks : ndarray of shape (H, W), int32
        Instances of the first.

    Returns
    -------
    ndarray of shape (H, W, 2), float32
        (u, v) in pixels per frame.
    """
    flow = np.zeros((*masks.shape, 2), np.float32)
    for number, (old, new) in enumerate(zip(before, after, strict=True), start=1):
        rows, columns = np.nonzero(masks == number)
        points = np.stack([columns, rows], axis=-1).astype(float)
        flow[rows, columns] = new.to_field(old.to_body(points)) - points
    return flow
