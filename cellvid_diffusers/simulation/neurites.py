"""Neurites: centre lines of material nodes that grow and retract at their tips, branch, and end in growth cones.

A neurite's nodes are material: node i of one frame is node i of the next. Growth by a length dl moves the material at
arc length s of a neurite of length l by dl (s / l)^3 along the path, so that the shaft near the body lies still on the
substrate while the tip advances; retraction is the reverse. The root follows the body, and the rest of the neurite
follows less with increasing distance from the root.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import CubicSpline

from .body import Body, bump, material_grid, shortest_turn
from .parameters import CultureParameters

if TYPE_CHECKING:
    from .cells import Cell

NODES = 20
"""Number of material nodes of a neurite."""

FOLLOWING_UM = 20.0
"""Length over which a moving body drags its neurites along, um."""

_TURNS = np.array([1.0, 1.0, 2.0, 4.0, 6.0, 8.0])
"""Increasingly wide turns that a growing neurite tries where a body is in its way."""


@dataclass(frozen=True, eq=False)
class Neurite:
    """One neurite in one frame.

    Attributes
    ----------
    uid : int
    nodes : ndarray of shape (20, 2)
        Centre line from the root to the tip, um.
    radius : ndarray of shape (20,)
        Half thickness at the nodes, um.
    root : ndarray of shape (2,)
        Material point of the body where the neurite starts; unused by branches.
    parent : tuple of (int, int) or None
        For a branch, index of its stem among the cell's neurites and of the node at which it starts.
    pace : float
        Speed of the tip over the mean: above 0 growing, 0 resting, below 0 retracting.
    index_contrast : float
        Refractive index minus that of the medium.
    cone : Body
        Growth cone at the tip.
    """

    uid: int
    nodes: np.ndarray
    radius: np.ndarray
    root: np.ndarray
    parent: tuple[int, int] | None
    pace: float
    index_contrast: float
    cone: Body

    @property
    def length(self) -> float:
        """Length of the centre line, um."""
        return float(np.linalg.norm(np.diff(self.nodes, axis=0), axis=1).sum())

    def samples(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Centre line, unit normals and half thickness at `count` material points, the same in every frame."""
        value, slope = _spline(count)
        tangent = slope @ self.nodes
        tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
        return value @ self.nodes, np.stack([-tangent[:, 1], tangent[:, 0]], axis=1), value @ self.radius


@lru_cache(maxsize=16)
def _spline(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Matrices that map nodes to `count` points of a spline through them and to its slope there."""
    spline = CubicSpline(np.arange(NODES), np.eye(NODES))
    where = np.linspace(0, NODES - 1, count)
    return spline(where), spline(where, 1)


class Obstacles:
    """Bodies that growth cones must not enter."""

    def __init__(self, cells: Sequence["Cell"]) -> None:
        owned = [(cell.number, body) for cell in cells if cell.kind != "dead" for body in cell.bodies]
        self.owners = np.array([number for number, _ in owned], int)
        self.bodies = [body for _, body in owned]
        self.centres = np.array([body.centre for body in self.bodies]).reshape(-1, 2)
        self.reach = np.array([body.reach for body in self.bodies])

    def near(self, point: np.ndarray, distance: float, but_not: int) -> list[Body]:
        """Bodies within `distance` um of a point, except those of the cell `but_not`."""
        gap = np.hypot(*(self.centres - point).T) - self.reach
        return [self.bodies[i] for i in np.flatnonzero((gap < distance) & (self.owners != but_not))]


def blocked(points: np.ndarray, bodies: list[Body], clearance: float = 1.5) -> np.ndarray:
    """Whether points `(N, 2)` lie in a body or within about `clearance` um of it."""
    result = np.zeros(len(points), bool)
    for body in bodies:
        gap = points - body.centre
        distance = np.hypot(gap[:, 0], gap[:, 1])
        close = distance < body.reach + clearance
        if close.any():
            material = body.to_material(points[close])
            radius = np.hypot(material[:, 0], material[:, 1])
            result[close] |= radius < 1 + clearance / np.maximum(distance[close], 1.0)
    return result


def grow_new(
    uids: tuple[int, int],
    start: np.ndarray,
    direction: float,
    length: float,
    root: np.ndarray,
    parent: tuple[int, int] | None,
    others: list[Body],
    parameters: CultureParameters,
    rng: np.random.Generator,
) -> Neurite:
    """Grow a neurite with its cone, at most `length` um long, from `start`; it turns away from bodies in its way."""
    step = 2.0
    path = [start]
    for _ in range(max(2, int(length / step))):
        turns = direction + rng.normal(0, 0.14, 6) * _TURNS
        nexts = path[-1] + step * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        free = ~blocked(nexts, others)
        if not free.any() and len(path) > 2:
            break
        direction, nearest = turns[free.argmax()], nexts[free.argmax()]
        path.append(nearest)
    line = _along(np.array(path), np.linspace(0, 1, NODES))
    thick = rng.uniform(*parameters.neurite_radius_um)
    beads = 1 + 0.2 * rng.normal(size=NODES)  # varicosities
    radius = thick * np.clip(beads, 0.6, 1.6) * np.linspace(1.25, 0.85, NODES)
    return Neurite(
        uid=uids[0],
        nodes=line,
        radius=radius,
        root=root,
        parent=parent,
        pace=_new_pace(parameters, rng),
        index_contrast=parameters.neurite_contrast,
        cone=make_cone(uids[1], line, parameters, rng),
    )


def make_cone(uid: int, nodes: np.ndarray, parameters: CultureParameters, rng: np.random.Generator) -> Body:
    """Make a growth cone at the end of a centre line: a palm and filopodia."""
    core = rng.uniform(*parameters.cone_um)
    fingers = sum(
        rng.uniform(0.6, 2.2) * bump(rng.normal(0, 0.9), rng.uniform(0.10, 0.2)) for _ in range(rng.integers(2, 5))
    )
    x, y = material_grid()
    relief = 1.2 * parameters.neurite_contrast * np.clip((1 - np.hypot(x, y)) / 0.3, 0, 1)
    return Body(
        uid=uid,
        centre=nodes[-1],
        angle=_direction(nodes),
        stretch=1.25,
        bend=0.0,
        core=core,
        lobes=core * (0.25 * bump(0, 0.8) + fingers),
        relief=relief.astype(np.float32),
    )


def step_neurite(
    neurite: Neurite,
    start: np.ndarray,
    minutes: float,
    others: list[Body],
    parameters: CultureParameters,
    rng: np.random.Generator,
) -> Neurite:
    """Advance by `minutes`, with the root now at `start`; the tip stops and retracts where a body is in its way."""
    nodes, pace = neurite.nodes, neurite.pace
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(nodes, axis=0), axis=1))])
    nodes = nodes + np.exp(-arc / FOLLOWING_UM)[:, None] * (start - nodes[0])
    length = np.linalg.norm(np.diff(nodes, axis=0), axis=1).sum()
    if rng.random() < minutes / parameters.switching_min:
        pace = _new_pace(parameters, rng)
    growth = pace * parameters.growth_um_per_h * minutes / 60
    path = nodes
    if growth > 0:
        direction = _direction(nodes) + rng.normal(0, 0.25)
        tip = nodes[-1] + growth * np.array([np.cos(direction), np.sin(direction)])
        if blocked(tip[None], others)[0]:
            growth, pace = 0.0, -0.3
        else:
            path = np.vstack([nodes, tip])
    else:
        growth = max(growth, min(0.0, 5.0 - length), -0.25 * length)
    if growth:
        share = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(nodes, axis=0), axis=1))]) / length
        total = max(length, length + growth)
        nodes = _along(path, (share * length + growth * share**3) / total)
    return replace(neurite, nodes=nodes, pace=pace, cone=_step_cone(neurite.cone, nodes, pace, minutes, rng))


def _step_cone(cone: Body, nodes: np.ndarray, pace: float, minutes: float, rng: np.random.Generator) -> Body:
    """Move the cone with the tip, turn it and change its filopodia; it collapses while retracting."""
    turn = shortest_turn(cone.angle, _direction(nodes))
    fingers = 0.25 * bump(0, 0.8)
    if pace >= 0:
        fingers = fingers + sum(rng.uniform(0.6, 2.2) * bump(rng.normal(0, 0.9), 0.15) for _ in range(3))
    blend = 1 - np.exp(-minutes / 8)  # filopodia live for minutes
    lobes = cone.lobes + blend * (cone.core * fingers - cone.lobes)
    return replace(cone, centre=nodes[-1], angle=cone.angle + 0.7 * turn, lobes=lobes)


def _new_pace(parameters: CultureParameters, rng: np.random.Generator) -> float:
    if rng.random() < 0.3:
        return 0.0
    return rng.lognormal(0, 0.4) * (-1 if rng.random() < parameters.retracting else 1)


def _direction(nodes: np.ndarray) -> float:
    dx, dy = nodes[-1] - nodes[-3]
    return float(np.arctan2(dy, dx))


def _along(path: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Points at the given shares of a path's length."""
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    return np.stack([np.interp(share * arc[-1], arc, path[:, axis]) for axis in (0, 1)], axis=1)
