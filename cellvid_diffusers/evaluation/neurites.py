"""Neurites: dark ridges and thin arms of cells, traced from the soma to the tip.

A frame's ridges are where the Hessian of the smoothed image has a strongly positive eigenvalue, measured in standard
deviations of the background, over several scales. Ridges and thin parts of cells are thinned to a skeleton; shortest
paths along it lead from somata (or the border, when the soma is out of view) to tips. A path is then moved onto the
ridge line with sub-pixel precision and smoothed, since counting pixels makes oblique lines up to 8 % too long and pulls
directions towards the axes and diagonals.

References
----------
.. [1] An unbiased detector of curvilinear structures (Steger, 1998), https://doi.org/10.1109/34.659930
.. [2] Multiscale vessel enhancement filtering (Frangi et al., 1998), https://doi.org/10.1007/BFb0056195
"""

from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
from scipy import ndimage, sparse
from scipy.sparse.csgraph import dijkstra
from skimage.filters import apply_hysteresis_threshold
from skimage.morphology import skeletonize

from .calibration import THRESHOLDS

COLUMNS = {
    "label": int,
    "length": float,
    "total_length": float,
    "direction": float,
    "branch_points": int,
    "base_y": float,
    "base_x": float,
    "tip_y": float,
    "tip_x": float,
    "origin": object,
    "connects": int,
    "censored": bool,
}
SMOOTHING, BENT, REACH, STEP = 2.0, 4, 4, 0.25  # px
CORE = 0.3
"""Share of the strength on the line that still counts as line: keeps bold lines as narrow as faint ones."""


@dataclass(frozen=True)
class Ridges:
    """Ridge strength in background standard deviations and the offset to the ridge line, both of a frame's shape.

    `offset` is `(H, W, 2)`: y and x, in pixels, from the centre of the pixel to the nearest point of the line.
    """

    strength: np.ndarray
    offset: np.ndarray


def find_ridges(frame: np.ndarray, *, scales: tuple[float, ...] = tuple(THRESHOLDS["neurites"]["scales"])) -> Ridges:
    """Dark lines of `(H, W)` frames over several widths.

    Parameters
    ----------
    frame : ndarray
        `(H, W)`, any range.
    scales : tuple of float
        Standard deviations of the smoothing, px; a line of width w answers most at w / sqrt(12) to w / 2.

    Returns
    -------
    Ridges
        Of the scale that answers most, at each pixel.
    """
    strength = np.full(frame.shape, -np.inf, np.float32)
    offset = np.zeros((*frame.shape, 2), np.float32)
    for sigma in scales:
        smooth = cv2.GaussianBlur(frame.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
        gy, gx = np.gradient(smooth)
        (hyy, hyx), (_, hxx) = np.gradient(gy), np.gradient(gx)
        mean, half = (hyy + hxx) / 2, np.hypot((hyy - hxx) / 2, hyx)
        curvature = mean + half
        angle = np.arctan2(2 * hyx, hyy - hxx) / 2  # of the normal, from the y axis
        ny, nx = np.cos(angle), np.sin(angle)
        step = -(gy * ny + gx * nx) / np.where(np.abs(curvature) < 1e-9, np.inf, curvature)
        spread = 1.4826 * np.median(np.abs(curvature - np.median(curvature)))
        answer = (curvature - np.median(curvature)) / max(spread, 1e-6)
        better = answer > strength
        strength[better] = answer[better]
        offset[better] = np.clip(step, -1, 1)[better, None] * np.stack([ny, nx], -1)[better]
    return Ridges(strength, offset)


def find_somata(labels: np.ndarray, *, share: float = THRESHOLDS["neurites"]["soma_share"]) -> np.ndarray:
    """The compact body of each cell: its mask opened by a disc of `share` times its largest inscribed radius.

    Parameters
    ----------
    labels : ndarray
        `(H, W)` int.
    share : float

    Returns
    -------
    ndarray
        `(H, W)` int labels, arms taken off.
    """
    somata = np.zeros_like(labels)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        region = np.pad(labels[box] == label, 1)
        depth = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        radius = share * depth.max()
        core = cv2.distanceTransform((depth < radius).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        body = ((core < radius) & region)[1:-1, 1:-1]
        somata[box][body] = label
    return somata


def trace_neurites(
    frame: np.ndarray,
    labels: np.ndarray,
    *,
    seed: float = THRESHOLDS["neurites"]["seed"],
    grow: float = THRESHOLDS["neurites"]["grow"],
    min_length: float = THRESHOLDS["neurites"]["min_length"],
) -> pd.DataFrame:
    """Trace the neurites of one frame.

    Parameters
    ----------
    frame : ndarray
        `(H, W)`, any range; neurites are darker than what surrounds them.
    labels : ndarray
        `(H, W)` int, cells; 0 is background.
    seed, grow : float
        Ridge strength, in background standard deviations, that starts a neurite and that continues it.
    min_length : float
        Shorter ones, in px, are left out; side branches shorter than that are no branches.

    Returns
    -------
    DataFrame
        A row for each neurite: ``label`` of its cell (0: out of view or none), ``length`` of the longest path and
        ``total_length`` with its branches (px), ``direction`` from base to tip (rad, 0 to the right, growing
        downwards), ``branch_points``, ``base_y``, ``base_x``, ``tip_y``, ``tip_x`` (px), ``origin`` (`soma`,
        `border` or `none`: a loose piece, told from its darker end), ``connects`` (label of the cell at its other end,
        or 0) and ``censored`` (it leaves the frame, so its length is a lower bound).
    """
    ridges = find_ridges(frame)
    somata = find_somata(labels)
    seams = (ndimage.maximum_filter(labels, 3) != labels) & (labels > 0)
    touching = seams & (ndimage.minimum_filter(np.where(labels > 0, labels, labels.max() + 1), 3) < labels)
    strength = np.where(labels > 0, 0, ridges.strength)
    core = strength > CORE * ndimage.maximum_filter(strength, 7)
    lines = apply_hysteresis_threshold(strength, grow, seed) & core
    skeleton = skeletonize(lines | ((labels > 0) & ~touching)) & (somata == 0)
    beside = ndimage.maximum_filter(somata, 3)
    pieces, _ = ndimage.label(skeleton, structure=np.ones((3, 3)))
    rows = []
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        pixels = np.argwhere(pieces[box] == number) + [box[0].start, box[1].start]
        if len(pixels) >= min_length / 2:
            rows += [
                _measure(route, frame, labels, somata, ridges) for route in _find_routes(pixels, beside, min_length)
            ]
    return pd.DataFrame([row for row in rows if row["length"] >= min_length], columns=list(COLUMNS)).astype(COLUMNS)


@dataclass(frozen=True)
class _Route:
    """Pixels `(N, 2)` of a neurite from base to tip, and what the skeleton tells of it."""

    pixels: np.ndarray
    label: int
    origin: str
    connects: int
    censored: bool
    branch_points: int
    branch_length: float


def _find_routes(pixels: np.ndarray, beside: np.ndarray, min_length: float) -> list[_Route]:
    """The neurites of one connected piece of skeleton: at most one for each place where it leaves a soma.

    Longest first, a route takes its root, and one that bridges two cells takes the roots at both ends.
    """
    graph = _link_pixels(pixels)
    at_border = ((pixels <= 1) | (pixels >= np.array(beside.shape) - 2)).any(axis=1) & (np.diff(graph.indptr) <= 1)
    owner = beside[tuple(pixels.T)]
    roots, origin = _find_roots(graph, owner), "soma"
    if not len(roots):
        exits = np.flatnonzero(at_border)
        far = dijkstra(graph, indices=exits[0] if len(exits) else 0)
        roots, origin = (exits[:1], "border") if len(exits) else (np.array([far.argmax()]), "none")
    distance, before, source = dijkstra(graph, indices=roots, min_only=True, return_predecessors=True)
    candidates = []
    for root in roots:
        tip = np.where(source == root, distance, -1).argmax()
        candidates.append((distance[tip], (root,), _walk(before, tip)))
    start, end = graph.nonzero()
    crossing = (source[start] < source[end]) & (owner[source[start]] != owner[source[end]])
    for p, q in zip(start[crossing], end[crossing], strict=True):
        route = np.concatenate([_walk(before, p), _walk(before, q)[::-1]])
        candidates.append((distance[p] + distance[q] + 1, (source[p], source[q]), route))
    routes, taken = [], set()
    for _, ends, route in sorted(candidates, key=lambda candidate: -candidate[0]):
        if taken.isdisjoint(ends):
            taken.update(ends)
            branch_points, branch_length = _count_branches(before, distance, np.isin(source, ends), route, min_length)
            routes.append(
                _Route(
                    pixels=pixels[route],
                    label=int(owner[ends[0]]) if origin == "soma" else 0,
                    origin=origin,
                    connects=int(owner[ends[1]]) if len(ends) == 2 else 0,
                    censored=origin == "border" or bool(at_border[route[-1]]),
                    branch_points=branch_points,
                    branch_length=branch_length,
                )
            )
    return routes


def _link_pixels(pixels: np.ndarray) -> sparse.csr_matrix:
    """Graph of 8-connected pixels, weighted by distance; no diagonal where two straight steps lead the same way."""
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
    """Points where branches of at least `min_length` leave what was traced before, and the length of all of them."""
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


def _measure(route: _Route, frame: np.ndarray, labels: np.ndarray, somata: np.ndarray, ridges: Ridges) -> dict:
    """Length, direction and ends of a route on the ridge line."""
    at = tuple(route.pixels.T)
    line = route.pixels + np.where((labels[at] == 0)[:, None], ridges.offset[at], 0)
    again = tuple(np.rint(line).astype(int).clip(0, np.array(frame.shape) - 1).T)
    line = np.where((labels[at] == 0)[:, None], np.array(again).T + ridges.offset[again], line)
    width = min(int(3 * SMOOTHING), len(line) - 1)
    padded = np.pad(line, ((width, width), (0, 0)), mode="reflect", reflect_type="odd")
    line = ndimage.gaussian_filter1d(padded, SMOOTHING, axis=0, truncate=3)[width : len(line) + width]
    if route.origin == "soma":
        line = _find_base(line, somata)
    if route.connects:
        line = _find_base(line[::-1], somata)[::-1]
    elif not (labels[at][-1] or route.censored):
        line = _find_tip(line, frame)
    if route.origin == "none":
        line = _find_tip(line[::-1], frame)[::-1]
        ends = ndimage.map_coordinates(
            frame.astype(float), np.array([line[2:6].mean(0), line[-6:-2].mean(0)]).T, order=1
        )
        line = line[::-1] if ends[0] > ends[1] else line
    length = float(np.hypot(*np.diff(line, axis=0).T).sum())
    (base_y, base_x), (tip_y, tip_x) = line[0], line[-1]
    return {
        "label": route.label,
        "length": length,
        "total_length": length + route.branch_length,
        "direction": float(np.arctan2(tip_y - base_y, tip_x - base_x)),
        "branch_points": route.branch_points,
        "base_y": base_y,
        "base_x": base_x,
        "tip_y": tip_y,
        "tip_x": tip_x,
        "origin": route.origin,
        "connects": route.connects,
        "censored": route.censored,
    }


def _find_base(line: np.ndarray, somata: np.ndarray) -> np.ndarray:
    """Lead a line `(N, 2)` straight back to the edge of its soma, which bends the skeleton of the last pixels."""
    line, back = _straighten(line[::-1])
    inside = ndimage.map_coordinates((somata > 0).astype(np.float32), back.T, order=1) >= 0.5
    return np.concatenate([line, back[: inside.argmax()]])[::-1]


def _find_tip(line: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """End a line `(N, 2)` where its contrast to both sides falls to half: the skeleton stops too early or too late."""
    line, ahead = _straighten(line)
    long = np.concatenate([line, ahead])
    tangent = np.gradient(long, axis=0)
    side = 5 * tangent[:, ::-1] * [-1, 1] / np.maximum(np.hypot(*tangent.T), 1e-6)[:, None]
    smooth = cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 1.0)
    left, middle, right = (
        ndimage.map_coordinates(smooth, (long + k * side).T, order=1, mode="nearest") for k in (-1, 0, 1)
    )
    contrast = (left + right) / 2 - middle
    start = max(len(line) - 2 * REACH, 2)
    past = np.flatnonzero(contrast[start:] < np.median(contrast[: len(line)]) / 2)
    return long[: start + past[0]] if len(past) else long


def _straighten(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut the end of a line `(N, 2)`, where a skeleton turns to a corner; the rest and its way straight ahead."""
    kept = line[: len(line) - min(BENT, len(line) // 4)]
    ahead = kept[-1] - kept[-min(9, len(kept))]
    steps = np.arange(STEP, BENT + REACH, STEP)[:, None]
    return kept, kept[-1] + steps * ahead / max(np.hypot(*ahead), 1e-6)
