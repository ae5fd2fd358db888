"""Keeping cells apart: bodies push each other and never overlap."""

import numpy as np

from .cells import Cell

MOBILITY = {"neuron": 0.5, "progenitor": 0.6, "glia": 0.25, "dead": 3.0}
"""How readily a cell yields: two overlapping cells move in this proportion. Dead clumps hardly adhere."""

CLEARANCE = 1.06
"""Material radius that another body's edge must not enter; 1 is this body's own edge."""

SLACK_UM = 0.3
"""Distance by which a push exceeds the overlap, um. Pushed by the overlap alone, cells would come ever closer to being
free without ever being so."""

PUSHES = 8
"""Rounds of pushing before cells that still overlap are held back. In a dense culture pushes pass on from cell to
cell."""

FARTHEST_UM = 4.0
"""Distance by which pushes can take a cell farther in one step than it would go alone, um."""

SHARES = (0.5,) * 10 + (0.0,) * 4
"""Shares of their way to which cells that still overlap are held back, before all are pushed again; at 0 they stay
where they are, and the others are pushed out of their way."""


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
    """Push apart cells that overlap after a step; those that still overlap are held back.

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
    overlaps = _Overlaps()
    start = np.array([cell.centre for cell in before]).reshape(-1, 2)
    farthest = np.linalg.norm([cell.centre for cell in after] - start, axis=1) + FARTHEST_UM
    for share in SHARES:
        after = _push(after, overlaps, start, farthest)
        clash = overlaps.clashing(after)
        if not clash:
            return after
        after = [cell.kept_back(before[k], share) if k in clash else cell for k, cell in enumerate(after)]
        if share == 0:
            farthest[list(clash)] = 0
    # Each round takes at least one more cell back to its earlier pose; the earlier poses do not overlap.
    back: set[int] = set()
    while fresh := overlaps.clashing(after) - back:
        back |= fresh
        after = [cell.kept_back(before[k], 0) if k in fresh else cell for k, cell in enumerate(after)]
    return after


class _Overlaps:
    """Pairs of cells that overlap, remembered while neither of the two changes."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[Cell, Cell, np.ndarray]] = {}

    def of(self, cells: list[Cell]) -> dict[tuple[int, int], np.ndarray]:
        """The way out for the first cell of each overlapping pair, `(2,)` um, by the pair's indices."""
        found = {}
        for i, j in _near(cells):
            known = self._known.get((i, j))
            if known is None or known[0] is not cells[i] or known[1] is not cells[j]:
                known = self._known[i, j] = cells[i], cells[j], overlap(cells[i], cells[j])
            if known[2].any():
                found[i, j] = known[2]
        return found

    def clashing(self, cells: list[Cell]) -> set[int]:
        """Indices of cells that overlap another."""
        return {k for pair in self.of(cells) for k in pair}


def _push(cells: list[Cell], overlaps: _Overlaps, start: np.ndarray, farthest: np.ndarray) -> list[Cell]:
    """Push overlapping cells apart in up to `PUSHES` rounds, none farther than `farthest` from its `start`."""
    for _ in range(PUSHES):
        pushes = np.zeros((len(cells), 2))
        for (i, j), push in overlaps.of(cells).items():
            push = push * (1 + SLACK_UM / float(np.hypot(*push)))
            share = MOBILITY[cells[i].kind] / (MOBILITY[cells[i].kind] + MOBILITY[cells[j].kind])
            pushes[i] += share * push
            pushes[j] -= (1 - share) * push
        _push_by_cones(cells, pushes)
        if not pushes.any():
            break
        way = np.array([cell.centre for cell in cells]) + pushes - start
        length = np.linalg.norm(way, axis=1)
        pushes -= way * np.maximum(1 - farthest / np.maximum(length, 1e-9), 0)[:, None]
        cells = [cell.shifted(push) if push.any() else cell for cell, push in zip(cells, pushes, strict=True)]
    return cells


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
                if np.hypot(*(body.centre - centres[i])) > body.reach + reach[i]:
                    continue
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
