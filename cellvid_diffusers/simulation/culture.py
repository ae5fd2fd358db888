"""A simulated phase-contrast recording of which everything is known."""

import copy
from dataclasses import dataclass

import cv2
import numpy as np

from .cells import CELLS_PER_MM2, NEURITE_LENGTH_UM, seed_cells, step
from .optics import phase_contrast
from .render import draw, exact_flow

MARGIN = 32
"""Pixels around the frame that are simulated too, so that cells enter and leave at the border alone."""


@dataclass(frozen=True)
class SimulatedCulture:
    """A clip and its truth.

    Attributes
    ----------
    video : ndarray of shape (F, H, W), uint8
    flow : ndarray of shape (F - 1, H, W, 2), float32
        Exact motion (u, v) in pixels per frame; frame k's goes to frame k + 1.
    masks : ndarray of shape (F, H, W), int32
        Cell bodies; a cell keeps its number, 0 is background.
    dead : ndarray of int
        Numbers of the dead clumps.
    neurites : list of list of (int, ndarray)
        For each frame, the cell and the centre line `(P, 2)` (x, y) of each neurite, in pixels.
    pixel_size_um, frame_interval_min : float
    """

    video: np.ndarray
    flow: np.ndarray
    masks: np.ndarray
    dead: np.ndarray
    neurites: list[list[tuple[int, np.ndarray]]]
    pixel_size_um: float
    frame_interval_min: float


def simulate(
    *,
    num_frames: int = 10,
    size: int = 128,
    density: str = "moderate",
    maturity: str = "mature",
    seed: int = 0,
    pixel_size_um: float = 1.3,
    frame_interval_min: float = 10.0,
) -> SimulatedCulture:
    """Simulate a culture.

    Parameters
    ----------
    num_frames : int
        At least 1.
    size : int
        Side in pixels.
    density : {"very_sparse", "sparse", "moderate", "dense", "very_dense"}
    maturity : {"very_young", "mature", "very_mature"}
    seed : int
        Makes everything reproducible.
    pixel_size_um : float
        Micrometres a pixel.
    frame_interval_min : float
        Minutes between frames.

    Returns
    -------
    SimulatedCulture

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    for name, value, allowed in (
        ("density", density, CELLS_PER_MM2),
        ("maturity", maturity, NEURITE_LENGTH_UM),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {list(allowed)}, got {value!r}")
    if num_frames < 1 or size < 8:
        raise ValueError(f"num_frames must be at least 1 and size at least 8, got {num_frames} and {size}")
    rng = np.random.default_rng(seed)
    side = size + 2 * MARGIN
    cells = seed_cells(side, density, maturity, pixel_size_um, rng)
    texture = _smooth_noise(64, 1.2, rng).astype(np.float32) * 0.45
    floor = _smooth_noise(side, 1.0, rng) * 0.02 + _smooth_noise(side, side / 6, rng) * 0.02
    light = 1 + 0.03 * _smooth_noise(side, side / 3, rng)

    inner = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
    video, masks, flow, neurites = [], [], [], []
    for index in range(num_frames):
        mask, phase = draw(cells, side, texture)
        image = phase_contrast(phase + floor, pixel_size_um=pixel_size_um) * light
        video.append(_expose(image[inner], rng))
        masks.append(mask[inner])
        neurites.append(
            [(number, line - MARGIN) for number, cell in enumerate(cells, 1) for line in cell.drawn_neurites()]
        )
        if index < num_frames - 1:
            before = copy.deepcopy(cells)
            step(cells, maturity, 1 / pixel_size_um, frame_interval_min, rng)
            flow.append(exact_flow(before, cells, mask)[inner])
    return SimulatedCulture(
        video=np.stack(video),
        flow=np.stack(flow) if flow else np.zeros((0, size, size, 2), np.float32),
        masks=np.stack(masks),
        dead=np.array([number for number, cell in enumerate(cells, 1) if cell.dead], int),
        neurites=neurites,
        pixel_size_um=pixel_size_um,
        frame_interval_min=frame_interval_min,
    )


def _smooth_noise(side: int, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of standard deviation 1, blurred over `scale` pixels."""
    noise = cv2.GaussianBlur(rng.normal(size=(side, side)), (0, 0), scale, borderType=cv2.BORDER_REFLECT_101)
    return (noise - noise.mean()) / noise.std()


def _expose(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """8-bit exposure: background at grey level 100, shot noise of 4,000 electrons there, read noise of 1 level."""
    shot = rng.normal(size=image.shape) * np.sqrt(np.clip(image, 0, None) / 4000)
    levels = 100 * (image + shot) + rng.normal(size=image.shape)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)
