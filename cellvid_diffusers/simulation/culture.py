"""A simulated phase-contrast recording with complete ground truth."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import fft

from .camera import expose, light_field, onto_pixels, substrate
from .cells import DIVIDING, Cell, Numbers, make_cell
from .crowding import overlap
from .motion import World, amid_mitosis, divide, sprout, step
from .neurites import Obstacles
from .optics import phase_contrast
from .parameters import DENSITIES, MATURITIES, CultureParameters, MicroscopeParameters
from .render import Scene, draw
from .tracks import Labels, label_tracks

MARGIN_UM = 40.0
"""Width of the margin simulated around the frame, so that cells appear and disappear only at its border, um. Neurites
of somata further out are missing: near the border of very mature cultures a tenth of them."""

SETTLING = 1
"""Number of frames simulated before the first that is returned."""


class NeuriteLine(NamedTuple):
    """A neurite in one frame.

    Attributes
    ----------
    cell : int
        Label of the cell, as in `SimulatedCulture.cells`.
    line : ndarray of shape (P, 2)
        Centre line (x, y) from the body's edge, or for a branch from its stem, to the tip, px; it may extend beyond
        the frame.
    """

    cell: int
    line: np.ndarray

    @property
    def length(self) -> float:
        """Length of the centre line, px."""
        return float(np.linalg.norm(np.diff(self.line, axis=0), axis=1).sum())

    @property
    def direction(self) -> float:
        """Direction from root to tip, degrees in [0, 360): 0 is right, 90 is down."""
        dx, dy = self.line[-1] - self.line[0]
        return float(np.degrees(np.arctan2(dy, dx)) % 360)


@dataclass(frozen=True)
class SimulatedCulture:
    """A clip and its ground truth.

    Attributes
    ----------
    video : ndarray of shape (F, H, W), uint8
    clean : ndarray of shape (F, H, W), float32
        The image without uneven light, flicker and noise, on the same scale as `video`.
    flow : ndarray of shape (F - 1, H, W, 2), float32
        Exact motion (u, v) of the material at each pixel, px per frame; frame k's leads to frame k + 1. Exactly 0 where
        `cells` is 0: the halo of a moving body is light, not material.
    masks : ndarray of shape (F, H, W), int32
        Cell bodies; a cell keeps its label while it is in the frame, 0 is background.
    cells : ndarray of shape (F, H, W), int32
        As `masks`, including neurites and growth cones. A cell of which only these ever reach the frame has its own
        label.
    tracks : ndarray of shape (N, 4), int
        Label, first frame, last frame and parent (0: none) of each track of `masks`, as in the Cell Tracking Challenge.
        Daughters have new labels; a cell that leaves and comes back is a new track.
    kinds : dict of int to str
        "neuron", "progenitor", "glia" or "dead" for each label.
    neurites : list of list of NeuriteLine
        Neurites in each frame.
    pixel_size_um, frame_interval_min : float
    """

    video: np.ndarray
    clean: np.ndarray
    flow: np.ndarray
    masks: np.ndarray
    cells: np.ndarray
    tracks: np.ndarray
    kinds: dict[int, str]
    neurites: list[list[NeuriteLine]]
    pixel_size_um: float
    frame_interval_min: float

    @property
    def dead(self) -> np.ndarray:
        """Labels of the dead clumps."""
        return np.array([label for label, kind in self.kinds.items() if kind == "dead"], int)


def simulate(
    *,
    num_frames: int = 10,
    size: int = 128,
    density: str = "moderate",
    maturity: str = "mature",
    seed: int = 0,
    pixel_size_um: float = 1.0,
    frame_interval_min: float = 10.0,
    parameters: CultureParameters | None = None,
    microscope: MicroscopeParameters | None = None,
) -> SimulatedCulture:
    """Simulate a culture.

    Parameters
    ----------
    num_frames : int
        At least 1.
    size : int
        Side in pixels, at least 8.
    density : {"very_sparse", "sparse", "moderate", "dense", "very_dense"}
        Of the first frame; divisions add cells.
    maturity : {"very_young", "mature", "very_mature"}
    seed : int
        The same seed gives the same result.
    pixel_size_um : float
        Micrometres per pixel, 0.2 to 4.
    frame_interval_min : float
        Minutes between frames, above 0 and up to 30; cells are stepped once per frame.
    parameters : CultureParameters, optional
    microscope : MicroscopeParameters, optional

    Returns
    -------
    SimulatedCulture

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    for name, value, allowed in (("density", density, DENSITIES), ("maturity", maturity, MATURITIES)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {list(allowed)}, got {value!r}")
    if num_frames < 1 or size < 8:
        raise ValueError(f"num_frames must be at least 1 and size at least 8, got {num_frames} and {size}")
    if not 0.2 <= pixel_size_um <= 4:
        raise ValueError(f"pixel_size_um must lie between 0.2 and 4, got {pixel_size_um}")
    if not 0 < frame_interval_min <= 30:
        raise ValueError(f"frame_interval_min must lie above 0 and up to 30, got {frame_interval_min}")
    parameters, microscope = parameters or CultureParameters(), microscope or MicroscopeParameters()
    # Cells and camera use separate random streams.
    rng, camera = (np.random.default_rng((seed, stream)) for stream in (0, 1))
    side = fft.next_fast_len(size + 2 * int(np.ceil(MARGIN_UM / pixel_size_um)))
    world = World(
        side_um=side * pixel_size_um,
        minutes=frame_interval_min,
        maturity=parameters.maturities[maturity],
        parameters=parameters,
        numbers=Numbers(),
        rng=rng,
    )
    history = _live(_seed(parameters.cells_per_mm2[density], world), num_frames, world)
    scenes = [draw(now, then, side, pixel_size_um) for now, then in history]
    start = (side - size) // 2
    inner = np.s_[start : start + size, start : start + size]
    clean, video = _record(scenes, inner, pixel_size_um, microscope, camera)
    labels = label_tracks(
        np.stack([scene.bodies[inner] for scene in scenes]),
        np.stack([scene.cells[inner] for scene in scenes]),
        {cell.number: (cell.kind, cell.parent) for cells, _ in history for cell in cells},
    )
    return SimulatedCulture(
        video=video,
        clean=clean,
        flow=np.stack([scene.flow[inner] for scene in scenes])[:-1],
        masks=labels.masks,
        cells=labels.cells,
        tracks=labels.tracks,
        kinds=labels.kinds,
        neurites=[_lines(cells, frame, labels, start, size, pixel_size_um) for frame, (cells, _) in enumerate(history)],
        pixel_size_um=pixel_size_um,
        frame_interval_min=frame_interval_min,
    )


def _seed(per_mm2: float, world: World) -> list[Cell]:
    """Place cells at random without overlap, large ones first.

    Cells that do not fit are made smaller, and left out if that does not help: a seventh of them in very dense, very
    mature cultures.
    """
    rng, maturity = world.rng, world.maturity
    living = int(per_mm2 * (world.side_um / 1000) ** 2 + rng.random())
    shares = np.array([1 - maturity.progenitors - maturity.glia, maturity.progenitors, maturity.glia])
    kinds = list(rng.choice(["neuron", "progenitor", "glia"], living, p=shares))
    kinds += ["dead"] * int(rng.poisson(living * maturity.dead))
    cells: list[Cell] = []
    for kind in sorted(kinds, key=["glia", "progenitor", "neuron", "dead"].index):
        for scale in (1.0, 0.75):
            cell = make_cell(kind, np.zeros(2), world.numbers, maturity, world.parameters, rng, scale)
            placed = _place(cell, cells, world)
            if placed:
                cells.append(placed)
                break
    obstacles = Obstacles(cells)
    cells = [sprout(cell, obstacles, world) if cell.kind == "neuron" else cell for cell in cells]
    # At any time, some cells of a culture are dividing.
    rate = maturity.division_per_h * world.parameters.mitosis_min / 60
    settled: list[Cell] = []
    for index, cell in enumerate(cells):
        if cell.kind not in DIVIDING or rng.random() >= rate:
            settled.append(cell)
            continue
        parts = amid_mitosis(cell, rng.uniform(), world)
        others = settled + cells[index + 1 :]
        settled += parts if not any(overlap(part, each).any() for part in parts for each in others) else [cell]
    return settled


def _place(cell: Cell, cells: list[Cell], world: World) -> Cell | None:
    """Move a cell to a random position where it overlaps no other; None if 40 draws find no such position."""
    centres = np.array([other.centre for other in cells]).reshape(-1, 2)
    reach = np.array([other.reach for other in cells])
    for spot in world.rng.uniform(0, world.side_um, (40, 2)):
        moved = cell.shifted(spot - cell.centre)
        distance = np.hypot(*(centres - spot).T)
        near = np.flatnonzero(distance < reach + cell.reach + 1)
        if (distance[near] > 0.4 * reach[near]).all() and not any(overlap(moved, cells[i]).any() for i in near):
            return moved
    return None


def _live(cells: list[Cell], num_frames: int, world: World) -> list[tuple[list[Cell], list[Cell]]]:
    """Cells of each frame, paired with the same pieces one frame later."""
    history = []
    for frame in range(-SETTLING, num_frames):
        now = divide(cells, world)
        cells = step(now, world) if frame < num_frames - 1 else now
        history.append((now, cells))
    return history[SETTLING:]


def _record(
    scenes: list[Scene],
    inner: tuple[slice, ...],
    pixel_size_um: float,
    microscope: MicroscopeParameters,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Images without and with the imperfections of the camera and the light."""
    side = len(scenes[0].cells)
    floor, light = (make(side, pixel_size_um, microscope, rng) for make in (substrate, light_field))
    images = [
        onto_pixels(
            phase_contrast(scene.path_difference + floor, pixel_size_um=pixel_size_um, microscope=microscope),
            microscope,
        )[inner]
        for scene in scenes
    ]
    clean = np.stack(images) * microscope.background
    return clean.astype(np.float32), np.stack([expose(image * light[inner], microscope, rng) for image in images])


def _lines(
    cells: list[Cell], frame: int, labels: Labels, start: int, size: int, pixel_size_um: float
) -> list[NeuriteLine]:
    """Centre lines that reach the frame, without the part inside their cell's body."""
    found = []
    for cell in cells:
        for neurite in cell.neurites:
            line = neurite.samples(64)[0]
            if neurite.parent is None:
                outside = np.linalg.norm(cell.bodies[0].to_material(line), axis=1) > 1
                line = line[np.argmax(outside) :] if outside.any() else line[-2:]
            line = line / pixel_size_um - start
            label = labels.of(cell.number, frame)
            if label and len(line) > 1 and ((line >= 0) & (line <= size - 1)).all(axis=1).any():
                found.append(NeuriteLine(label, line))
    return found
