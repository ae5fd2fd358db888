"""Advancing cells by one frame: migration, shape change, mitosis, and the neurites that follow."""

from dataclasses import dataclass, replace

import numpy as np

from .body import ANGLES, Body, shortest_turn
from .cells import DIVIDING, Cell, Numbers, ball_relief, make_relief, outline_noise
from .crowding import separate
from .neurites import Neurite, Obstacles, grow_new, step_neurite
from .parameters import CultureParameters, Maturity

ROUNDED = 0.4
"""Share of mitosis after which a cell is round."""

CLEAVAGE = 0.6
"""Share of mitosis after which a cell splits into two halves."""

SHRINKS = 0.5 ** (1 / 3)
"""Ratio of a daughter's radius to its mother's when the daughters separate: half of the volume."""

SPREADS = 0.85
"""Ratio of a daughter's radius to her mother's once she has spread, before she grows."""

SPREADING_MIN = 60.0
"""Time in which daughters spread again, min."""


@dataclass
class World:
    """State shared by all cells: side of the simulated field in um, minutes per step, parameters and random numbers."""

    side_um: float
    minutes: float
    maturity: Maturity
    parameters: CultureParameters
    numbers: Numbers
    rng: np.random.Generator


def roundness(cell: Cell) -> float:
    """0 for a spread cell, 1 for a round one in mitosis."""
    if cell.mitosis is None:
        return 0.0
    if cell.mitosis < 0:
        return min(1.0, -cell.mitosis / SPREADING_MIN)
    return min(1.0, cell.mitosis / ROUNDED)


def divide(cells: list[Cell], world: World) -> list[Cell]:
    """Change identities without changing the geometry: a round body becomes two halves, two halves become two cells."""
    result = []
    for cell in cells:
        if cell.mitosis is None or cell.mitosis < CLEAVAGE:
            result.append(cell)
        elif len(cell.bodies) == 1:
            axis = np.array([np.cos(cell.heading), np.sin(cell.heading)])
            halves = (
                replace(cell.bodies[0], uid=next(world.numbers.pieces)).shifted(sign * 0.001 * axis) for sign in (1, -1)
            )
            result.append(replace(cell, bodies=tuple(halves)))
        elif _apart(cell) > 2.2:
            for body, turn in zip(cell.bodies, (0, np.pi), strict=True):
                result.append(
                    replace(
                        cell,
                        number=next(world.numbers.cells),
                        parent=cell.number,
                        bodies=(body,),
                        core=SPREADS * cell.core,
                        heading=cell.heading + turn,
                        wave=outline_noise(cell.kind, world.rng),
                        relief=make_relief(cell.kind, world.parameters, world.rng),
                        mitosis=-SPREADING_MIN,
                    )
                )
        else:
            result.append(cell)
    return result


def amid_mitosis(cell: Cell, share: float, world: World) -> list[Cell]:
    """Advance a cell, as if alone, through a share in [0, 1) of its mitosis; return its daughters once separated."""
    world = replace(world, minutes=max(world.minutes, 1.0))
    pace = world.minutes / world.parameters.mitosis_min
    cells = [replace(cell, mitosis=share % pace)]
    for _ in range(int(share / pace)):
        cells = divide([_advance(each, world) for each in cells], world)
    return cells


def step(cells: list[Cell], world: World) -> list[Cell]:
    """Advance all cells by one frame."""
    after = separate(cells, [_advance(cell, world) for cell in cells])
    obstacles = Obstacles(after)
    return [_with_neurites(cell, obstacles, world) if cell.neurites else cell for cell in after]


def _advance(cell: Cell, world: World) -> Cell:
    """Migrate and change shape as if alone."""
    rng, minutes, parameters = world.rng, world.minutes, world.parameters
    if cell.kind == "dead":
        return cell
    cell = _mitosis(cell, world)
    if len(cell.bodies) == 2:
        return _draw_apart(cell, minutes / parameters.mitosis_min)
    round_ = roundness(cell)
    body, core = cell.bodies[0], cell.adult + (cell.core - cell.adult) * np.exp(-minutes / 60 / parameters.growth_h)
    # Turn inwards near the field's border, which lies outside the frame.
    margin = body.centre - np.clip(body.centre, body.reach, world.side_um - body.reach)
    heading = cell.heading + rng.normal(0, np.sqrt(2 * minutes / parameters.persistence_min))
    if margin.any():
        heading = np.arctan2(-margin[1], -margin[0])
    memory = np.exp(-minutes * world.maturity.motility / parameters.shape_memory_min)
    pace = memory * cell.pace + np.sqrt(1 - memory**2) * rng.normal(0, 0.5)
    wave = memory * cell.wave + np.sqrt(1 - memory**2) * outline_noise(cell.kind, rng)
    stride = cell.stride + 2 * np.pi * minutes / parameters.stride_min
    # The body advances fastest while it lengthens and slowest while it shortens and drags its rear along.
    speed = parameters.speed_um_per_h[cell.kind] * world.maturity.motility * np.exp(pace - 0.125)
    move = (1 - round_) * speed * minutes / 60 * (1 + 0.7 * np.cos(stride))
    turn = shortest_turn(body.angle, heading)
    if cell.kind != "progenitor":
        turn = np.clip(turn, -0.06, 0.06) * 0.5
    cell = replace(cell, core=core, heading=heading, wave=wave, pace=pace, stride=stride)
    body = replace(
        cell.spread,
        centre=body.centre + move * np.array([np.cos(heading), np.sin(heading)]),
        angle=body.angle + (1 - round_) * turn * (1 - np.exp(-minutes / 30)),
    )
    return replace(cell, bodies=(_rounded(body, cell, round_, parameters) if round_ else body,))


def _rounded(spread: Body, cell: Cell, share: float, parameters: CultureParameters) -> Body:
    """A spread body, turned by a share into the ball that it is in mitosis.

    Its optical path is scaled so that the sum over the cell changes evenly, too: shape and thickness change together.
    """
    if cell.mitosis is not None and cell.mitosis < 0:  # a daughter spreads from her size at separation
        radius = SHRINKS * min(cell.core / SPREADS, parameters.round_um)
    else:
        radius = min(cell.core, parameters.round_um)
    ball = _ball(spread, radius, ball_relief(2 * radius, parameters))
    body = spread.towards(ball, share)
    volume = (1 - share) * spread.optical_volume + share * ball.optical_volume
    return replace(body, relief=body.relief * np.float32(volume / body.optical_volume))


def _ball(body: Body, radius: float, relief: np.ndarray) -> Body:
    return replace(body, stretch=1.0, bend=0.0, core=radius, lobes=np.zeros(len(ANGLES)), relief=relief)


def _mitosis(cell: Cell, world: World) -> Cell:
    """Begin, continue or end mitosis."""
    if cell.mitosis is None:
        rate = world.maturity.division_per_h if cell.kind in DIVIDING else 0.0
        starts = world.rng.random() < rate * world.minutes / 60
        return replace(cell, mitosis=0.0) if starts else cell
    if cell.mitosis < 0:
        later = cell.mitosis + world.minutes
        return replace(cell, mitosis=later if later < 0 else None)
    return replace(cell, mitosis=cell.mitosis + world.minutes / world.parameters.mitosis_min)


def _apart(cell: Cell) -> float:
    """Distance between the two halves over their radius: beyond 2 they do not touch, whatever their shape."""
    first, second = cell.bodies
    return float(np.linalg.norm(first.centre - second.centre) / max(first.reach, second.reach))


def _radius_of_halves(apart: float) -> float:
    """Radius of two balls whose centres are `apart` radii apart, over that of a ball of the volume of their union."""
    return float((4 / (8 - (4 + apart) * max(2 - apart, 0) ** 2 / 4)) ** (1 / 3))


def _draw_apart(cell: Cell, share: float) -> Cell:
    """Move the halves apart while they shrink to `SHRINKS` of the mother's radius; together they keep her volume."""
    first, second = cell.bodies
    axis = first.centre - second.centre
    axis = axis / np.linalg.norm(axis)
    now = _apart(cell)
    then = min(2.3, now + 2.3 * share / (1 - CLEAVAGE))
    shrink = _radius_of_halves(then) / _radius_of_halves(now)
    core = first.core * shrink
    middle = (first.centre + second.centre) / 2
    bodies = tuple(
        replace(_ball(body, core, shrink * body.relief), centre=middle + sign * axis * core * then / 2)
        for body, sign in zip(cell.bodies, (1, -1), strict=True)
    )
    return replace(cell, bodies=bodies)


def _with_neurites(cell: Cell, obstacles: Obstacles, world: World) -> Cell:
    """Let neurites follow their body, grow, retract and branch."""
    rng, parameters = world.rng, world.parameters
    neurites: list[Neurite] = []
    for neurite in cell.neurites:
        if neurite.parent is None:
            start = cell.bodies[0].to_field(neurite.root)
        else:
            start = neurites[neurite.parent[0]].nodes[neurite.parent[1]]
        others = obstacles.near(neurite.nodes[-1], 12.0, cell.number)
        neurites.append(step_neurite(neurite, start, world.minutes, others, parameters, rng))
    stem = int(rng.integers(len(neurites)))
    starts = rng.random() < len(neurites) * world.maturity.branching_per_h * world.minutes / 60
    if starts and neurites[stem].length > 15:
        neurites.append(_branch(stem, neurites[stem].nodes, 2.5, cell.number, obstacles, world))
    return replace(cell, neurites=tuple(neurites))


def sprout(cell: Cell, obstacles: Obstacles, world: World) -> Cell:
    """Add neurites to a neuron to match its culture's maturity; one of them, the axon, is longer than the rest."""
    rng, maturity = world.rng, world.maturity
    body, around = cell.bodies[0], np.arange(-3, 4)
    peaks = [i for i in range(len(ANGLES)) if cell.shape[i] == cell.shape[(around + i) % len(ANGLES)].max()]
    neurites: list[Neurite] = []
    for order, peak in enumerate(rng.permutation(peaks)):
        root = 0.8 * np.array([np.cos(ANGLES[peak]), np.sin(ANGLES[peak])])
        start, ahead = body.to_field(root), body.to_field(1.05 * root)
        direction = float(np.arctan2(*(ahead - start)[::-1]))
        length = max(4.0, maturity.neurite_um * (1.5 if order == 0 else 0.75) * rng.lognormal(-0.08, 0.4))
        others = obstacles.near(start, length + 12, cell.number)
        hidden = float(np.hypot(*(body.outline[peak] - start)))
        uids = next(world.numbers.pieces), next(world.numbers.pieces)
        neurites.append(grow_new(uids, start, direction, length + hidden, root, None, others, world.parameters, rng))
        stem = len(neurites) - 1
        # As many branches as it would have started while growing to its length.
        expected = maturity.branching_per_h * length / world.parameters.growth_um_per_h
        if neurites[stem].length > 15:
            for _ in range(min(3, rng.poisson(expected))):
                short = maturity.neurite_um * rng.uniform(0.1, 0.5)
                neurites.append(_branch(stem, neurites[stem].nodes, short, cell.number, obstacles, world))
    return replace(cell, neurites=tuple(neurites))


def _branch(stem: int, nodes: np.ndarray, length: float, number: int, obstacles: Obstacles, world: World) -> Neurite:
    """Grow a new branch from a middle node of the neurite with index `stem`."""
    rng = world.rng
    at = int(rng.integers(8, len(nodes) - 3))
    dx, dy = nodes[at + 1] - nodes[at - 1]
    direction = float(np.arctan2(dy, dx) + rng.choice([-1, 1]) * rng.uniform(0.5, 1.2))
    others = obstacles.near(nodes[at], length + 12, number)
    uids = next(world.numbers.pieces), next(world.numbers.pieces)
    return grow_new(uids, nodes[at], direction, length, np.zeros(2), (stem, at), others, world.parameters, rng)
