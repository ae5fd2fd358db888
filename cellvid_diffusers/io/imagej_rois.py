"""Cell outlines as an ImageJ ROI archive, which opens in Fiji's ROI manager when dragged onto the window.

Layout of a `.roi` file (big-endian): a header of 64 bytes, the corners relative to the bounding box as 16-bit x, then
y, a second header of 64 bytes, and the name in UTF-16.
Reference: https://imagej.net/ij/source/ij/io/RoiDecoder.java
"""

import struct
import zipfile
from pathlib import Path

import numpy as np
from scipy import ndimage

from .atomic import replacing

VERSION, TRACED = 228, 8


def write_imagej_rois(path: str | Path, masks: np.ndarray) -> None:
    """Write the outline of every cell in every frame.

    Outlines run along pixel edges, so that filling one reproduces the mask, except that holes are filled. A cell in
    several pieces has one outline per piece. Names are `frame-label`, both counted from 1 and zero-padded, and each
    outline is assigned to its slice of the stack.

    Parameters
    ----------
    path : path
        Usually `*.zip`.
    masks : ndarray
        `(F, H, W)` integer labels, 0 is background.

    Raises
    ------
    ValueError
        If the masks are not integer labels `(F, H, W)`.
    OSError
        If the file cannot be written; an earlier file of this name is kept.
    """
    masks = np.asarray(masks)
    if masks.ndim != 3 or not np.issubdtype(masks.dtype, np.integer):
        raise ValueError(f"masks must be integer labels (F, H, W), got {masks.dtype} {masks.shape}")
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for frame, labels in enumerate(masks):
            for label, (rows, columns) in _boxes(labels):
                pieces, count = ndimage.label(labels[rows, columns] == label)
                for piece in range(1, count + 1):
                    corners = trace_outline(pieces == piece) + [columns.start, rows.start]
                    name = f"{frame + 1:04d}-{label:04d}" + (f"-{piece}" if count > 1 else "")
                    archive.writestr(f"{name}.roi", encode_roi(corners, name=name, position=frame + 1))


def _boxes(labels: np.ndarray) -> list[tuple[int, tuple[slice, slice]]]:
    found = ndimage.find_objects(labels)
    return [(number, box) for number, box in enumerate(found, start=1) if box is not None]


def trace_outline(region: np.ndarray) -> np.ndarray:
    """Corners of the outer edge of a region, clockwise as displayed.

    Parameters
    ----------
    region : ndarray
        `(H, W)` bool, one 4-connected region.

    Returns
    -------
    ndarray
        `(N, 2)` int: x and y of the corners; pixel (row, column) covers x in [column, column + 1].
    """
    padded = np.pad(region, 1)
    # From each corner, the directions of the pixel edges that leave it with the region on their right.
    leaving: dict[tuple[int, int], list[int]] = {}
    for direction, (dx, dy) in enumerate(_OUTSIDE):
        outside = ~np.roll(padded, (-dy, -dx), axis=(0, 1))
        for y, x in np.argwhere(padded & outside) - 1:
            corner = x + _START[direction][0], y + _START[direction][1]
            leaving.setdefault(corner, []).append(direction)
    x, y = start = min(leaving, key=lambda corner: (corner[1], corner[0]))
    heading, corners = 0, [start]
    while True:
        x, y = x + _STEP[heading][0], y + _STEP[heading][1]
        if (x, y) == start:
            return np.array(corners)
        # Where two pixels touch at a corner, turning right stays with the current pixel.
        turned = next(turn % 4 for turn in (heading + 1, heading, heading + 3) if turn % 4 in leaving[x, y])
        if turned != heading:
            corners.append((x, y))
        heading = turned


# Directions 0 to 3 are right, down, left, up. An edge has the outside on its left as it runs in its direction.
_STEP = ((1, 0), (0, 1), (-1, 0), (0, -1))
_OUTSIDE = ((0, -1), (1, 0), (0, 1), (-1, 0))
_START = ((0, 0), (1, 0), (1, 1), (0, 1))


def encode_roi(corners: np.ndarray, *, name: str, position: int) -> bytes:
    """Encode a `.roi` file: a closed outline with corners `(N, 2)` (x, y) on slice `position`, counted from 1."""
    left, top = corners.min(axis=0)
    right, bottom = corners.max(axis=0)
    coordinates = (corners - [left, top]).T.astype(">i2").tobytes()
    text = name.encode("utf-16-be")
    second = 64 + len(coordinates)
    header = struct.pack(">4shBx4hH", b"Iout", VERSION, TRACED, top, left, bottom, right, len(corners))
    header = header.ljust(56, b"\0") + struct.pack(">ii", position, second)
    header2 = (b"\0" * 16 + struct.pack(">ii", second + 64, len(name))).ljust(64, b"\0")
    return header + coordinates + header2 + text
