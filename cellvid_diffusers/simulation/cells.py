"""The cells of a culture and their structure. Their motion is in `motion`, their neurites in `neurites`."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import cv2
import numpy as np

from .body import ANGLES, RELIEF_SIDE, Body, bump, material_grid
from .neurites import Neurite
from .parameters import CultureParameters, Maturity

DIVIDING = ("progenitor", "glia")
"""Kinds that divide; neurons no longer do."""

HARMONICS = np.arange(2, 9)
"""Angular frequencies of an outline's slowly varying noise."""

_WAVES = np.exp(1j * HARMONICS[:, None] * ANGLES)


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell in one frame.

    Attributes
    ----------
    number : int
        Identifier, from 1.
    kind : {"neuron", "progenitor", "glia", "dead"}
    bodies : tuple of Body
        Usually one; the balls of a dead clump; two halves late in mitosis.
    neurites : tuple of Neurite
    core : float
        Radius of the spread body without lobes, um.
    adult : float
        Radius to which `core` grows again after a division, um.
    stretch, bend : float
        Of the spread body in the middle of its stride, see `Body`.
    heading : float
        Direction of migration, radians.
    pace : float
        Logarithm of the present speed over the mean.
    stride : float
        Phase of the migration cycle, radians: the body stretches, then drags its rear along.
    shape : ndarray of shape (72,)
        Permanent lobes of the cell, relative to the core radius.
    wave : ndarray of shape (7,), complex
        Slowly varying noise of the outline: amplitudes of `HARMONICS`.
    relief : ndarray
        Optical path difference of the body outside mitosis, um.
    parent : int
        Number of the mother, or 0.
    mitosis : float or None
        Elapsed share of mitosis; if negative, minus the minutes for which a daughter still spreads; None in interphase.
    """

    number: int
    kind: str
    bodies: tuple[Body, ...]
    core: float
    adult: float
    stretch: float
    bend: float
    heading: float
    shape: np.ndarray
    wave: np.ndarray
    relief: np.ndarray
    neurites: tuple[Neurite, ...] = ()
    pace: float = 0.0
    stride: float = 0.0
    parent: int = 0
    mitosis: float | None = None

    @cached_property
    def centre(self) -> np.ndarray:
        """Mean of the bodies' centres, um."""
        return np.mean([body.centre for body in self.bodies], axis=0)

    @cached_property
    def reach(self) -> float:
        """Distance from the centre to the farthest point of a body, um."""
        return max(float(np.hypot(*(body.centre - self.centre))) + body.reach for body in self.bodies)

    def shifted(self, by: np.ndarray) -> "Cell":
        """The cell with its bodies moved by `(2,)` um; neurites follow in their own step."""
        return replace(self, bodies=tuple(body.shifted(by) for body in self.bodies))

    @property
    def spread(self) -> Body:
        """The body as it is outside mitosis at this size, outline and phase of migration; where and turned as now."""
        return replace(
            self.bodies[0],
            stretch=self.stretch * np.exp(0.1 * np.sin(self.stride)),
            bend=self.bend,
            core=self.core,
            lobes=outline_lobes(self.shape, self.wave, self.core),
            relief=self.relief,
        )

    def kept_back(self, before: "Cell", share: float) -> "Cell":
        """The cell with its bodies, growth and mitosis at a share in [0, 1) of their way from `before`."""
        ways = zip(before.bodies, self.bodies, strict=True)
        bodies = tuple(body.towards(later, share) for body, later in ways)
        core, mitosis = (1 - share) * before.core + share * self.core, self.mitosis
        if before.mitosis is not None:
            mitosis = (1 - share) * before.mitosis + share * (self.mitosis or 0)
        return replace(self, bodies=bodies, core=core, mitosis=mitosis)


@dataclass
class Numbers:
    """Counters that number cells and their pieces."""

    cells: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    pieces: Iterator[int] = field(default_factory=lambda: itertools.count(1))


def make_cell(
    kind: str,
    centre: np.ndarray,
    numbers: Numbers,
    maturity: Maturity,
    parameters: CultureParameters,
    rng: np.random.Generator,
    scale: float = 1.0,
) -> Cell:
    """Make a cell of a kind at `(2,)` um, without neurites.

    `scale` shrinks the body where the culture is too crowded for its full size.
    """
    angle = rng.uniform(0, 2 * np.pi)
    relief = make_relief(kind, parameters, rng)
    wave = outline_noise(kind, rng)
    if kind == "dead":
        return _make_clump(centre, numbers, relief, parameters, rng)
    core = scale * rng.uniform(*{"neuron": parameters.soma_um, "progenitor": parameters.progenitor_um}.get(
        kind, parameters.glia_um
    ))  # fmt: skip
    if kind == "neuron":
        roots = _spread(*maturity.neurites, rng)
        shape = np.sum([rng.uniform(0.4, 0.9) * bump(root, 0.35) for root in roots], axis=0)
        stretch = rng.uniform(1.0, 1.25)
    elif kind == "progenitor":
        # Lamella in front, tail behind: a teardrop or a spindle.
        shape = rng.uniform(0.4, 1.2) * bump(rng.normal(0, 0.2), rng.uniform(0.35, 0.7))
        shape = shape + rng.uniform(0.8, 2.2) * bump(np.pi + rng.normal(0, 0.2), rng.uniform(0.18, 0.3))
        stretch = rng.uniform(1.1, 1.5)
    else:
        directions = _spread(3, 5, rng)
        shape = np.sum([rng.uniform(0.2, 0.9) * bump(d, rng.uniform(0.25, 0.6)) for d in directions], axis=0)
        stretch = rng.uniform(1.0, 1.4)
    bend = rng.normal(0, 0.06) / core * (kind == "progenitor")
    cell = Cell(
        number=next(numbers.cells),
        kind=kind,
        bodies=(Body(next(numbers.pieces), centre, angle, stretch, bend, core, np.zeros(len(ANGLES)), relief),),
        core=core,
        adult=core,
        stretch=stretch,
        bend=bend,
        heading=angle,
        shape=shape,
        wave=wave,
        relief=relief,
        stride=rng.uniform(0, 2 * np.pi),
        pace=rng.normal(0, 0.5),
    )
    return replace(cell, bodies=(cell.spread,))


def outline_noise(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Draw amplitudes of `HARMONICS` from their stationary distribution, relative to the core radius."""
    size = {"neuron": 0.09, "progenitor": 0.16, "glia": 0.20, "dead": 0.0}[kind]
    return size * (2 / HARMONICS) * (rng.normal(size=7) + 1j * rng.normal(size=7)) / np.sqrt(2)


def outline_lobes(shape: np.ndarray, wave: np.ndarray, core: float) -> np.ndarray:
    """Lobes in um, smoothly kept above 0."""
    noise = (wave[:, None] * _WAVES).real.sum(axis=0)
    return core * (np.logaddexp(0, 6 * (shape + noise)) / 6 + 0.003)


def make_relief(kind: str, parameters: CultureParameters, rng: np.random.Generator) -> np.ndarray:
    """Optical path difference over the material disc in um, `(65, 65)`: cytoplasm, nucleus, granules."""
    x, y = material_grid()
    radius = np.hypot(x, y)
    edge = np.clip((1 - radius) / 0.06, 0, 1)
    if kind == "dead":
        dome = np.sqrt(np.clip(1 - radius**2, 0, 1))
        return (2 * np.mean(parameters.dead_um) * parameters.dead_contrast * dome).astype(np.float32)
    height = {
        "neuron": parameters.soma_height_um,
        "progenitor": parameters.progenitor_height_um,
        "glia": parameters.glia_height_um,
    }[kind] * rng.uniform(0.75, 1.25)
    lamella = {"neuron": 0.3, "progenitor": 0.25, "glia": 0.3}[kind]
    profile = height * (lamella * edge + (1 - lamella) * np.exp(-((radius / 0.55) ** 4)))
    profile = profile * (1 + 0.14 * _noise(4.0, rng) + 0.06 * _noise(1.5, rng))
    nx, ny = rng.normal(0, 0.08, 2)
    inside = np.clip((0.36 - np.hypot(x - nx, (y - ny) * 1.15)) / 0.06, 0, 1)
    path = profile * (parameters.index_contrast + parameters.nucleus_contrast * inside)
    granules = np.zeros_like(path)
    for _ in range(rng.poisson({"neuron": 8, "progenitor": 16, "glia": 26}[kind])):
        r, a = 0.25 + 0.6 * rng.random() ** 0.8, rng.uniform(0, 2 * np.pi)
        gx, gy, size = r * np.cos(a), r * np.sin(a), rng.uniform(0.025, 0.06)
        granules += rng.choice([1.0, 1.0, -0.6]) * np.exp(-((x - gx) ** 2 + (y - gy) ** 2) / (2 * size**2))
    for _ in range(rng.integers(1, 4)):  # nucleoli
        gx, gy = rng.normal(0, 0.13, 2) + (nx, ny)
        granules += 0.8 * np.exp(-((x - gx) ** 2 + (y - gy) ** 2) / (2 * 0.05**2))
    return ((path + 1e-3 * parameters.granule_nm * granules) * edge).astype(np.float32)


def ball_relief(height: float, parameters: CultureParameters) -> np.ndarray:
    """Optical path difference in um of a round cell of `height` um, as in mitosis."""
    x, y = material_grid()
    return (height * parameters.index_contrast * np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))).astype(np.float32)


def _make_clump(
    centre: np.ndarray, numbers: Numbers, relief: np.ndarray, parameters: CultureParameters, rng: np.random.Generator
) -> Cell:
    bodies: list[Body] = []
    place = centre
    for _ in range(rng.integers(1, 5)):
        core = rng.uniform(*parameters.dead_um)
        bodies.append(
            Body(
                uid=next(numbers.pieces),
                centre=place,
                angle=0.0,
                stretch=1.0,
                bend=0.0,
                core=core,
                lobes=np.full(len(ANGLES), 0.02) + 0.06 * core * rng.random() * bump(rng.uniform(0, 6.3), 0.5),
                relief=relief * core / np.float32(np.mean(parameters.dead_um)),
            )
        )
        turn, beside = rng.uniform(0, 2 * np.pi), bodies[rng.integers(len(bodies))]
        place = beside.centre + 1.5 * min(beside.core, core) * np.array([np.cos(turn), np.sin(turn)])
    return Cell(
        number=next(numbers.cells),
        kind="dead",
        bodies=tuple(bodies),
        core=bodies[0].core,
        adult=bodies[0].core,
        stretch=1.0,
        bend=0.0,
        heading=0.0,
        shape=np.zeros(len(ANGLES)),
        wave=np.zeros(7, complex),
        relief=relief,
    )


def _spread(fewest: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """`fewest` to `most` directions that are well apart."""
    count = rng.integers(fewest, most + 1)
    return rng.uniform(0, 2 * np.pi) + 2 * np.pi / count * (np.arange(count) + rng.uniform(-0.3, 0.3, count))


def _noise(scale: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of standard deviation 1, with the shape of a relief."""
    noise = cv2.GaussianBlur(rng.normal(size=(RELIEF_SIDE, RELIEF_SIDE)), (0, 0), scale)
    return noise / noise.std()
