"""Rendering cells before image formation: instance masks, optical path difference and exact motion."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from .body import Body
from .cells import Cell

LEAST_RADIUS_PX = 0.8
"""Smallest radius with which a line is drawn, px."""


@dataclass(frozen=True)
class Scene:
    """The simulated field before image formation, `side` pixels wide.

    Attributes
    ----------
    bodies : ndarray of shape (side, side), int32
        Number of the cell whose body covers the pixel, 0 = background.
    cells : ndarray of shape (side, side), int32
        As `bodies`, including neurites and growth cones.
    path_difference : ndarray of shape (side, side), float32
        Optical path difference, um.
    flow : ndarray of shape (side, side, 2), float32
        Position of each pixel's material in the next frame minus its present position, px; 0 in the background.
    """

    bodies: np.ndarray
    cells: np.ndarray
    path_difference: np.ndarray
    flow: np.ndarray


def draw(cells: list[Cell], following: list[Cell], side: int, pixel_size_um: float) -> Scene:
    """Draw cells and their motion to the cells of the `following` frame."""
    scene = Scene(
        bodies=np.zeros((side, side), np.int32),
        cells=np.zeros((side, side), np.int32),
        path_difference=np.zeros((side, side), np.float32),
        flow=np.zeros((side, side, 2), np.float32),
    )
    later = {body.uid: body for cell in following for body in cell.bodies}
    later |= {neurite.cone.uid: neurite.cone for cell in following for neurite in cell.neurites}
    depth = np.full((side, side), np.inf)
    for cell in cells:
        own = np.zeros((side, side), np.float32)  # balls and halves of one cell merge instead of adding up
        for body in cell.bodies:
            _draw_body(body, later[body.uid], cell.number, scene, scene.bodies, own, depth, pixel_size_um)
        scene.path_difference[...] += own
    scene.cells[...] = scene.bodies
    depth[scene.bodies > 0] = -1
    for cell in cells:
        own = np.zeros((side, side), np.float32)
        for neurite in cell.neurites:
            cone = neurite.cone
            _draw_body(cone, later[cone.uid], cell.number, scene, scene.cells, own, depth, pixel_size_um)
        scene.path_difference[...] += own
    _draw_neurites(cells, following, scene, pixel_size_um)
    return scene


def _draw_body(
    body: Body,
    later: Body,
    number: int,
    scene: Scene,
    labels: np.ndarray,
    own: np.ndarray,
    depth: np.ndarray,
    pixel_size_um: float,
) -> None:
    """Draw a piece of a cell; where pieces meet, a pixel belongs to the piece in which it lies deeper."""
    low, high = body.outline.min(0) / pixel_size_um, body.outline.max(0) / pixel_size_um
    x0, y0 = np.clip(np.floor(low), 0, len(depth)).astype(int)
    x1, y1 = np.clip(np.ceil(high) + 1, 0, len(depth)).astype(int)
    if x0 >= x1 or y0 >= y1:
        return
    window = np.s_[y0:y1, x0:x1]
    pixels = np.stack(np.meshgrid(np.arange(x0, x1), np.arange(y0, y1)), axis=-1).astype(float)
    material = body.to_material(pixels * pixel_size_um)
    radius = np.hypot(material[..., 0], material[..., 1])
    own[window] = np.maximum(own[window], body.path_difference(material))
    mine = (radius < 1) & (radius < depth[window])
    depth[window][mine] = radius[mine]
    labels[window][mine] = number
    scene.flow[window][mine] = later.to_field(material[mine]) / pixel_size_um - pixels[mine]


def _draw_neurites(cells: list[Cell], following: list[Cell], scene: Scene, pixel_size_um: float) -> None:
    """Draw all neurites; a pixel takes its material from the nearest point of a centre line."""
    later = {neurite.uid: neurite for cell in following for neurite in cell.neurites}
    gathered: list[tuple[np.ndarray, ...]] = []
    for cell in cells:
        for neurite in cell.neurites:
            count = 64 * 2 ** int(np.clip(np.ceil(np.log2(neurite.length / pixel_size_um / 40)), 0, 4))
            line, normal, radius = neurite.samples(count)
            next_line, next_normal, _ = later[neurite.uid].samples(count)
            number, contrast = np.full(count, cell.number), np.full(count, neurite.index_contrast)
            gathered.append((line, normal, radius, next_line, next_normal, number, contrast))
    if not gathered:
        return
    line, normal, radius, next_line, next_normal, number, contrast = (
        np.concatenate(parts) for parts in zip(*gathered, strict=True)
    )
    line, next_line, radius = line / pixel_size_um, next_line / pixel_size_um, radius / pixel_size_um
    side = len(scene.cells)
    near = np.zeros((side, side), np.uint8)
    inside = ((line > -0.5) & (line < side - 0.5)).all(axis=1)
    if not inside.any():
        return
    near[tuple(np.rint(line[inside]).astype(int).T[::-1])] = 1
    reach = int(np.ceil(4 * max(float(radius.max()), LEAST_RADIUS_PX)))
    rows, columns = np.nonzero(cv2.dilate(near, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)))
    pixels = np.stack([columns, rows], axis=1).astype(float)
    distance, nearest = cKDTree(line).query(pixels)
    # A line thinner than a pixel is drawn wider, with the path difference of its own cross-section.
    thick = radius[nearest]
    drawn = np.maximum(thick, LEAST_RADIUS_PX)
    profile = thick / drawn * np.exp(-0.5 * (1.3 * distance / drawn) ** 2)
    height = contrast[nearest] * 2 * thick * pixel_size_um * profile
    free = scene.bodies[rows, columns] != number[nearest]
    held = scene.cells[rows, columns] == number[nearest]
    path = scene.path_difference[rows, columns]
    scene.path_difference[rows, columns] = np.where(
        held & free, np.maximum(path, height), path + free * height * np.clip(4 - distance / drawn, 0, 1)
    )
    mine = (distance < np.maximum(1.2 * thick, 0.75)) & (scene.cells[rows, columns] == 0)
    rows, columns, nearest = rows[mine], columns[mine], nearest[mine]
    scene.cells[rows, columns] = number[nearest]
    aside = ((pixels[mine] - line[nearest]) * normal[nearest]).sum(axis=1, keepdims=True)
    moved = next_line[nearest] + aside * next_normal[nearest]
    # Minus the same point reconstructed in this frame, which for a pixel beside the line is the pixel itself.
    scene.flow[rows, columns] = moved - (line[nearest] + aside * normal[nearest])
