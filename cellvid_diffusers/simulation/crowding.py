"""Keeping cells apart: bodies push each other and never overlap."""

import numpy as np

from .cells import Cell

MOBILITY = {"neuron": 0.5, "progenitor": 0.6, "glia": 0.25, "dead": 3.0}
"""How readily a cell yields: two overlapping cells move in this proportion. Dead clumps hardly adhere."""

CLEARANCE = 1.06
"""Material radius that another body's edge must not enter; 1 is this body's own edge."""

SLACK_UM = 0.1
"""Distance by which a push exceeds the overlap, um. Pushed by the overlap alone, cells would come ever closer to being
free without ever being so."""


def overlap(first: Cell, second: Cell) -> np.ndarray:
    """How far `first` has to move to leave `second`, `(2,)` um; zero if they do not overlap."""
    worst, push = 0.0, np.zeros(2)
    for one in first.bodies:
        for other in second.bodies:
            if np.hypot(*(one.centre - other.centre)) > one.reach + other.reach + 1:
                continue
            for mover, fixed, sign in ((one, other, 1.0), (other, one, -1.0)):
                gap = mover.outline - fixed.centre
                close = np.hypot(gap[:, 0], gap[:, 1]) < fixed.reach + 1
                if not close.any():
                    continue
                points = mover.outline[close]
                material = fixed.to_material(points)
                radius = np.hypot(material[:, 0], material[:, 1])
                deepest = radius.argmin()
                if radius[deepest] >= CLEARANCE:
                    continue
                # Push direction: from the fixed body's centre through the point, and towards the mover's centre.
                inward = points[deepest] - fixed.centre
                way = _unit(_unit(inward) + _unit(mover.centre - fixed.centre))
                depth = (CLEARANCE - radius[deepest]) / max(radius[deepest], 0.3) * float(np.hypot(*inward))
                if depth > worst:
                    worst, push = depth, sign * depth * way
    return push


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.hypot(*vector)), 1e-6)


def separate(before: list[Cell], after: list[Cell]) -> list[Cell]:
    """Push apart cells that overlap after a step; those that still overlap go back to their pose before the step.

    Parameters
    ----------
    before : list of Cell
        Cells that do not overlap.
    after : list of Cell
        The same cells, each moved as if it were alone.

    Returns
    -------
    list of Cell
        Cells that do not overlap.
    """
    after = list(after)
    for _ in range(6):
        pushes = np.zeros((len(after), 2))
        for i, j in _near(after):
            push = overlap(after[i], after[j])
            if push.any():
                push *= 1 + SLACK_UM / float(np.hypot(*push))
                share = MOBILITY[after[i].kind] / (MOBILITY[after[i].kind] + MOBILITY[after[j].kind])
                pushes[i] += share * push
                pushes[j] -= (1 - share) * push
        _push_by_cones(after, pushes)
        if not pushes.any():
            return after
        after = [cell.shifted(push) if push.any() else cell for cell, push in zip(after, pushes, strict=True)]
    while True:  # each round resets at least one more cell to its earlier pose; the earlier poses do not overlap
        clash = {k for pair in _near(after) if overlap(after[pair[0]], after[pair[1]]).any() for k in pair}
        clash = {k for k in clash if after[k] is not before[k]}
        if not clash:
            return after
        for k in clash:
            after[k] = before[k]


def _push_by_cones(cells: list[Cell], pushes: np.ndarray) -> None:
    """Add to `pushes` those of growth cones, which push dead clumps out of their way."""
    cones = [neurite.cone for cell in cells for neurite in cell.neurites]
    if not cones:
        return
    centres, reach = np.array([cone.centre for cone in cones]), np.array([cone.reach for cone in cones])
    for k, cell in enumerate(cells):
        if cell.kind != "dead":
            continue
        gap = cell.centre - centres
        for i in np.flatnonzero(np.hypot(gap[:, 0], gap[:, 1]) < cell.reach + reach):
            for body in cell.bodies:
                material = body.to_material(cones[i].outline)
                radius = float(np.hypot(material[:, 0], material[:, 1]).min())
                if radius < 1:
                    pushes[k] += (1 - radius) * body.core * _unit(gap[i])


def _near(cells: list[Cell]) -> list[tuple[int, int]]:
    """Index pairs of cells whose bounding circles are less than 1 um apart."""
    if len(cells) < 2:
        return []
    centres, reach = np.array([cell.centre for cell in cells]), np.array([cell.reach for cell in cells])
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    close = np.triu(distance < reach[:, None] + reach[None] + 1, 1)
    return [(int(i), int(j)) for i, j in np.argwhere(close)]
