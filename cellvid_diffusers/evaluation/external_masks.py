"""Masks from other tools: arrays, TIFF stacks (as written by Cellpose and others), Cell Tracking Challenge, ImageJ."""

import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from skimage.draw import polygon
from skimage.measure import label

from ..io import read_ctc

OUTLINES = {0: "polygon", 1: "rectangle", 2: "oval", 7: "freehand", 8: "traced"}
SUBPIXEL = 128


def check_masks(masks: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return masks as `(F, H, W)` int32 labels for a video of `shape`. Raise `ValueError` if they do not fit."""
    masks = np.asarray(masks)
    if not (np.issubdtype(masks.dtype, np.integer) or masks.dtype == bool):
        raise ValueError(f"masks must be integer labels, got {masks.dtype}")
    if masks.shape != tuple(shape):
        raise ValueError(f"masks must have the shape of their video {tuple(shape)}, got {masks.shape}")
    if masks.size and (masks.min() < 0 or masks.max() > 2**31 - 1):
        raise ValueError(f"labels must lie in 0..2^31 - 1, got {masks.min()}..{masks.max()}")
    if masks.size and masks.max() in (1, 255) and ((masks == 0) | (masks == masks.max())).all():
        pieces = max(label(frame > 0, return_num=True)[1] for frame in masks)
        if pieces > 1:
            raise ValueError(
                f"masks must be labels, one number a cell, got a binary one with {pieces} pieces in a frame: "
                "number them with skimage.measure.label"
            )
    return masks.astype(np.int32)


def read_masks(path: str | Path, shape: Sequence[int]) -> np.ndarray:
    """Read the masks of one video.

    Parameters
    ----------
    path : path
        A folder in the layout of the Cell Tracking Challenge; a TIFF stack of labels (Cellpose: `*_cp_masks.tif`); an
        array as `.npy`, or under the key `masks` in `.npz`; ImageJ outlines as `.zip` or `.roi`. Cellpose's `_seg.npy`
        is a pickle, which could run code: save masks as TIFF instead.
    shape : (int, int, int)
        Frames, height and width of the video.

    Returns
    -------
    ndarray
        `(F, H, W)` int32 labels, 0 is background.

    Raises
    ------
    ValueError
        If the masks do not fit the video or the format is unknown.
    """
    path = Path(path)
    if path.is_dir():
        return check_masks(read_ctc(path)[0], shape)
    match path.suffix.lower():
        case ".tif" | ".tiff":
            masks = tifffile.imread(path)
        case ".npy":
            masks = np.load(path, allow_pickle=False)
        case ".npz":
            arrays = np.load(path, allow_pickle=False)
            if "masks" not in arrays:
                raise ValueError(f"an .npz must hold masks, got {sorted(arrays)} in {path}")
            masks = arrays["masks"]
        case ".zip" | ".roi":
            masks = read_imagej_rois(path, shape)
        case other:
            raise ValueError(f"masks must be a folder, .tif, .npy, .npz, .zip or .roi, got {other or path.name}")
    return check_masks(masks[None] if masks.ndim == 2 and shape[0] == 1 else masks, shape)


def read_imagej_rois(path: str | Path, shape: Sequence[int]) -> np.ndarray:
    """Fill ImageJ outlines; each is a cell, and where two overlap, the later one is on top.

    Parameters
    ----------
    path : path
        `.zip` from the ROI manager or a single `.roi`. Outlines without a slice belong to the first frame.
    shape : (int, int, int)
        Frames, height and width of the video.

    Returns
    -------
    ndarray
        `(F, H, W)` int32; labels count from 1 in each frame.

    Raises
    ------
    ValueError
        If a file is not an outline, or belongs to a frame that the video does not have.
    """
    path = Path(path)
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist() if name.lower().endswith(".roi")}
        if not entries:
            raise ValueError(f"a .zip must hold ImageJ outlines (.roi), got none in {path}")
    else:
        entries = {path.name: path.read_bytes()}
    masks = np.zeros(tuple(shape), np.int32)
    for name, data in entries.items():
        corners, position = decode_roi(data, name=name)
        frame = max(position, 1) - 1
        if frame >= len(masks):
            raise ValueError(
                f"outlines must lie in the {len(masks)} frames of the video, got {name} in frame {frame + 1}"
            )
        # Corners lie on pixel edges, `polygon` counts from pixel centres; the tiny shift settles pixels on the line.
        rows, columns = polygon(corners[:, 1] - 0.5 + 1e-6, corners[:, 0] - 0.5 + 1e-6, masks.shape[1:])
        masks[frame, rows, columns] = masks[frame].max() + 1
    return masks


def decode_roi(data: bytes, *, name: str = "roi") -> tuple[np.ndarray, int]:
    """Corners `(N, 2)` of an outline (x, y, px from the upper left of the frame) and its slice (1-based; 0: none).

    Reference: https://imagej.net/ij/source/ij/io/RoiDecoder.java
    """
    if len(data) < 64 or data[:4] != b"Iout":
        raise ValueError(f"an ImageJ outline starts with 'Iout' and has a header of 64 bytes, got {name}")
    kind = data[6]
    if kind not in OUTLINES:
        raise ValueError(f"outlines must be one of {', '.join(OUTLINES.values())}, got type {kind} in {name}")
    top, left, bottom, right, count = struct.unpack_from(">hhhhH", data, 8)
    if struct.unpack_from(">i", data, 36)[0] > 0:
        raise ValueError(
            f"outlines must be single and without holes, got a composite one in {name}: split it in ImageJ"
        )
    (options,) = struct.unpack_from(">H", data, 50)
    (position,) = struct.unpack_from(">i", data, 56)
    (extra,) = struct.unpack_from(">i", data, 60)
    if position == 0 and 0 < extra <= len(data) - 16:
        position = max(struct.unpack_from(">iii", data, extra + 4)[1:])  # slice or frame of a hyperstack
    if OUTLINES[kind] == "rectangle":
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float), position
    if OUTLINES[kind] == "oval":
        angle = np.linspace(0, 2 * np.pi, 128, endpoint=False)
        centre, radii = np.array([left + right, top + bottom]) / 2, np.array([right - left, bottom - top]) / 2
        return centre + radii * np.stack([np.cos(angle), np.sin(angle)], 1), position
    if options & SUBPIXEL:
        corners = np.frombuffer(data, ">f4", 2 * count, offset=64 + 4 * count).reshape(2, count).T
        return corners.astype(float), position
    corners = np.frombuffer(data, ">i2", 2 * count, offset=64).reshape(2, count).T
    return corners + np.array([left, top], float), position
