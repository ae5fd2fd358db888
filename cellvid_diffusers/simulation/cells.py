"""The cells of a simulated culture: what they are, how they move, and what keeps them apart."""

from dataclasses import dataclass, field

import numpy as np

CELLS_PER_MM2 = {"very_sparse": 60.0, "sparse": 120.0, "moderate": 240.0, "dense": 420.0, "very_dense": 650.0}
"""Cells in a square millimetre of each density class."""

NEURITE_LENGTH_UM = {"very_young": 12.0, "mature": 45.0, "very_mature": 80.0}
"""Mean length in micrometres that neurites grow to at each maturity (the paper's Section 2: up to several hundred)."""

SPEED_UM_PER_MIN = {"very_young": 0.45, "mature": 0.3, "very_mature": 0.12}
"""Root mean square speed of a migrating cell; mature cells "do not move as drastically" (the paper's Figure 3)."""


@dataclass
class Cell:
    """One cell, in pixels and frames.

    Attributes
    ----------
    position : ndarray of shape (2,)
        Centre (x, y).
    angle : float
        Direction of the long axis in radians, x towards y.
    axes : tuple of float
        Half length and half width of the body.
    thickness : float
        Optical phase of the body's middle in radians.
    dead : bool
        A round, bright clump that moves only when pushed.
    outline : ndarray of shape (3, 2)
        Amplitude and phase of the outline's second to fourth harmonic, which make it no ellipse.
    neurites : list of ndarray of shape (P, 2)
        Centre lines in the body's own frame, from the body outwards.
    lengths : ndarray
        How much of each centre line is grown, in pixels.
    velocity : ndarray of shape (2,)
        Pixels per frame.
    spin : float
        Radians per frame.
    """

    position: np.ndarray
    angle: float
    axes: tuple[float, float]
    thickness: float
    dead: bool
    outline: np.ndarray
    neurites: list[np.ndarray] = field(default_factory=list)
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(0))
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    spin: float = 0.0

    @property
    def radius(self) -> float:
        """Radius of a disc of the body's area."""
        return float(np.sqrt(self.axes[0] * self.axes[1]))

    def to_field(self, points: np.ndarray) -> np.ndarray:
        """Points `(…, 2)` of the body's own frame -> the field."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return points @ np.array([[cos, sin], [-sin, cos]]) + self.position

    def to_body(self, points: np.ndarray) -> np.ndarray:
        """Points `(…, 2)` of the field -> the body's own frame."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return (points - self.position) @ np.array([[cos, -sin], [sin, cos]])

    def drawn_neurites(self) -> list[np.ndarray]:
        """Grown part of each centre line in the field, `(P, 2)`."""
        lines = []
        for line, length in zip(self.neurites, self.lengths, strict=True):
            along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
            wanted = np.linspace(0, min(length, along[-1]), max(2, int(length / 1.5)))
            grown = np.stack([np.interp(wanted, along, line[:, axis]) for axis in (0, 1)], axis=1)
            lines.append(self.to_field(grown))
        return lines


def seed_cells(side: float, density: str, maturity: str, pixel_size_um: float, rng: np.random.Generator) -> list[Cell]:
    """Cells of a field of `side` pixels, placed without overlap."""
    count = rng.poisson(CELLS_PER_MM2[density] * (side * pixel_size_um / 1000) ** 2)
    cells = [_make_cell(rng.uniform(0, side, 2), maturity, pixel_size_um, rng) for _ in range(count)]
    for _ in range(60):
        push_apart(cells)
    return cells


def _make_cell(position: np.ndarray, maturity: str, pixel_size_um: float, rng: np.random.Generator) -> Cell:
    dead = rng.random() < 0.12
    length, width = (7.0, 6.5) if dead else (rng.uniform(11, 18), rng.uniform(6, 9))  # half axes in micrometres
    cell = Cell(
        position=position,
        angle=rng.uniform(0, 2 * np.pi),
        axes=(length / pixel_size_um, width / pixel_size_um),
        thickness=rng.uniform(1.1, 1.5) if dead else rng.uniform(0.2, 0.4),
        dead=dead,
        outline=np.stack([rng.uniform(0, 0.02 if dead else 0.12, 3), rng.uniform(0, 2 * np.pi, 3)], axis=1),
    )
    if not dead:
        mean = NEURITE_LENGTH_UM[maturity] / pixel_size_um
        for start in (0.0, np.pi, *rng.uniform(0, 2 * np.pi, rng.integers(0, 2))):
            cell.neurites.append(_centre_line(cell.axes, start + rng.normal(0, 0.3), 2 * mean, rng))
        cell.lengths = rng.uniform(0.4, 1.6, len(cell.neurites)) * mean
    return cell


def _centre_line(axes: tuple[float, float], direction: float, length: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random path outwards from the body's edge, in steps of two pixels."""
    steps = max(3, int(length / 2))
    bend = np.cumsum(rng.normal(0, 0.12, steps))
    start = 0.7 * np.array([axes[0] * np.cos(direction), axes[1] * np.sin(direction)])
    return start + 2 * np.cumsum(np.stack([np.cos(direction + bend), np.sin(direction + bend)], axis=1), axis=0)


def push_apart(cells: list[Cell]) -> None:
    """Move overlapping bodies apart, each by half of the overlap."""
    if len(cells) < 2:
        return
    positions = np.array([cell.position for cell in cells])
    radii = np.array([1.1 * max(cell.axes) for cell in cells])
    gap = positions[:, None] - positions[None]
    distance = np.linalg.norm(gap, axis=-1) + np.eye(len(cells)) * 1e9
    overlap = np.clip(radii[:, None] + radii[None] - distance, 0, None)
    push = (0.5 * overlap / np.maximum(distance, 1e-6))[..., None] * gap
    for cell, move in zip(cells, push.sum(axis=1), strict=True):
        cell.position = cell.position + move


def step(cells: list[Cell], maturity: str, pixels_per_um: float, minutes: float, rng: np.random.Generator) -> None:
    """Go on by one frame: persistent random walks of living cells, neurites that grow and retract, crowding."""
    speed = SPEED_UM_PER_MIN[maturity] * minutes * pixels_per_um
    for cell in cells:
        if cell.dead:
            continue
        ahead = np.array([np.cos(cell.angle), np.sin(cell.angle)])
        forward = np.sign(cell.velocity @ ahead) or rng.choice([-1.0, 1.0])
        wanted = forward * ahead * abs(rng.normal(0, speed)) + rng.normal(0, 0.25 * speed, 2)
        cell.velocity = 0.7 * cell.velocity + 0.3 * wanted * 2
        cell.spin = 0.7 * cell.spin + rng.normal(0, 0.03)
        cell.position = cell.position + cell.velocity
        cell.angle += cell.spin
        growth = rng.normal(0, 0.8 * minutes**0.5 * pixels_per_um, len(cell.lengths))
        cell.lengths = np.clip(cell.lengths + growth, 3, None)
    for _ in range(4):
        push_apart(cells)
