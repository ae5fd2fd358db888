"""Labels of the cells visible in each frame: tracks with lineage, as the Cell Tracking Challenge defines them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Labels:
    """Labelled masks.

    Attributes
    ----------
    masks, cells : ndarray of shape (F, H, W), int32
        Bodies, and bodies with neurites.
    tracks : ndarray of shape (N, 4), int
        Label, first frame, last frame, parent of each track of `masks`.
    kinds : dict of int to str
    table : dict of int to ndarray of shape (F,)
        Label of each cell number in each frame.
    """

    masks: np.ndarray
    cells: np.ndarray
    tracks: np.ndarray
    kinds: dict[int, str]
    table: dict[int, np.ndarray]

    def of(self, number: int, frame: int) -> int:
        """Label of a cell in a frame; 0 if no part of it is ever visible."""
        return int(self.table[number][frame]) if number in self.table else 0


def label_tracks(bodies: np.ndarray, cells: np.ndarray, origin: dict[int, tuple[str, int]]) -> Labels:
    """Assign a label to each uninterrupted stay of a body in the frame.

    Parameters
    ----------
    bodies, cells : ndarray of shape (F, H, W), int32
        Cell numbers of the bodies, and of bodies with neurites.
    origin : dict of int to (str, int)
        Kind and mother's number of each cell.
    """
    frames = len(bodies)
    seen = np.array([np.isin(list(origin), frame) for frame in bodies]).T.reshape(len(origin), frames)
    stays = []  # first frame, last frame, cell number
    for number, present in zip(origin, seen, strict=True):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], present, [0]])))
        stays += [(first, end - 1, number) for first, end in edges.reshape(-1, 2)]
    stays.sort()
    table: dict[int, np.ndarray] = {}
    tracks, kinds = [], {}
    ended: dict[int, tuple[int, int]] = {}  # cell number -> label and last frame of its latest stay
    for label, (first, last, number) in enumerate(stays, start=1):
        kind, mother = origin[number]
        parent, mothers_end = ended.get(mother, (0, -1))
        tracks.append((label, first, last, parent if mothers_end == first - 1 else 0))
        kinds[label] = kind
        ended[number] = (label, last)
        # Frames in which only neurites are visible belong to the stay before them, or else to the first stay.
        row = table.setdefault(number, np.full(frames, label))
        row[first:] = label
    for number in np.unique(cells):
        if number and number not in table:
            label = len(kinds) + 1
            table[int(number)] = np.full(frames, label)
            kinds[label] = origin[int(number)][0]
    lookup = np.zeros((frames, max([*origin, 0]) + 1), np.int32)
    for number, row in table.items():
        lookup[:, number] = row
    index = np.arange(frames)[:, None, None]
    return Labels(
        masks=lookup[index, bodies],
        cells=lookup[index, cells],
        tracks=np.array(tracks, int).reshape(-1, 4),
        kinds=kinds,
        table=table,
    )
