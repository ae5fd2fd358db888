"""Shortest paths along a skeleton: from where it leaves a soma, or the frame, to its tips."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

BORDER = 4
"""Largest number of pixels that thinning removes where a line leaves the frame."""


@dataclass(frozen=True)
class Route:
    """Pixels `(N, 2)` of a neurite from base to tip, and its properties derived from the skeleton."""

    pixels: np.ndarray
    label: int
    origin: str
    connects: int
    censored: bool
    branch_points: int
    branch_length: float


def find_routes(pixels: np.ndarray, beside: np.ndarray, min_length: float) -> list[Route]:
    """Find the neurites of one connected piece of skeleton: at most one for each place where it leaves a soma.

    Routes are chosen longest first. Each uses up its root, and one that connects two cells the roots at both ends.
    """
    graph = _link_pixels(pixels)
    at_border = ((pixels < BORDER) | (pixels >= np.array(beside.shape) - BORDER)).any(axis=1) & (
        np.diff(graph.indptr) <= 1
    )
    owner = beside[tuple(pixels.T)]
    roots, origin = _find_roots(graph, owner), "soma"
    if not len(roots):
        exits = np.flatnonzero(at_border)
        far = dijkstra(graph, indices=exits[0] if len(exits) else 0)
        roots, origin = (exits[:1], "border") if len(exits) else (np.array([far.argmax()]), "none")
    distance, before, source = dijkstra(graph, indices=roots, min_only=True, return_predecessors=True)
    candidates: list[tuple[float, tuple[int, ...], np.ndarray]] = []
    for root in roots:
        tip = int(np.where(source == root, distance, -1).argmax())
        candidates.append((distance[tip], (root,), _walk(before, tip)))
    start, end = graph.nonzero()
    crossing = (source[start] < source[end]) & (owner[source[start]] != owner[source[end]])
    for p, q in zip(start[crossing], end[crossing], strict=True):
        route = np.concatenate([_walk(before, int(p)), _walk(before, int(q))[::-1]])
        candidates.append((distance[p] + distance[q] + 1, (source[p], source[q]), route))
    routes: list[Route] = []
    taken: set[int] = set()
    for _, ends, route in sorted(candidates, key=lambda candidate: -candidate[0]):
        if taken.isdisjoint(ends):
            taken.update(ends)
            branch_points, branch_length = _count_branches(before, distance, np.isin(source, ends), route, min_length)
            leaves = bool(at_border[route[-1]])
            routes.append(
                Route(
                    pixels=pixels[route],
                    label=int(owner[ends[0]]) if origin == "soma" else 0,
                    origin="across" if origin == "border" and leaves else origin,
                    connects=int(owner[ends[1]]) if len(ends) == 2 else 0,
                    censored=origin == "border" or leaves,
                    branch_points=branch_points,
                    branch_length=branch_length,
                )
            )
    return routes


def _link_pixels(pixels: np.ndarray) -> sparse.csr_matrix:
    """Graph of 8-connected pixels, weighted by distance; no diagonal where two straight steps make the connection."""
    index = {tuple(pixel): k for k, pixel in enumerate(pixels.tolist())}
    links = []
    for (y, x), k in index.items():
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            other = index.get((y + dy, x + dx))
            if other is not None and not (dy and dx and ((y + dy, x) in index or (y, x + dx) in index)):
                links.append((k, other, np.hypot(dy, dx)))
    start, end, weight = np.array(links).reshape(-1, 3).T
    upper = sparse.coo_matrix((weight, (start.astype(int), end.astype(int))), shape=(len(pixels),) * 2)
    return (upper + upper.T).tocsr()


def _find_roots(graph: sparse.csr_matrix, owner: np.ndarray) -> np.ndarray:
    """One pixel for each place where the skeleton meets a soma."""
    contacts = np.flatnonzero(owner)
    _, group = sparse.csgraph.connected_components(graph[contacts][:, contacts])
    return contacts[np.unique(group, return_index=True)[1]]


def _walk(before: np.ndarray, end: int) -> np.ndarray:
    """Pixels from the root to `end` along the predecessors."""
    route = [end]
    while before[route[-1]] >= 0:
        route.append(before[route[-1]])
    return np.array(route[::-1])


def _count_branches(
    before: np.ndarray, distance: np.ndarray, mine: np.ndarray, route: np.ndarray, min_length: float
) -> tuple[int, float]:
    """Number of points where branches of at least `min_length` leave what is already traced, and their total length."""
    traced = np.zeros(len(before), bool)
    traced[route] = True
    points, total = set(), 0.0
    leaves = np.setdiff1d(np.flatnonzero(mine), before)
    for leaf in leaves[np.argsort(-distance[leaves], kind="stable")]:
        branch = [leaf]
        while not traced[branch[-1]]:
            branch.append(before[branch[-1]])
        length = distance[leaf] - distance[branch[-1]]
        if length >= min_length:
            traced[branch] = True
            points.add(branch[-1])
            total += length
    return len(points), total
