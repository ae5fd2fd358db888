"""Folders of numbered pictures, one for each frame."""

import re
from pathlib import Path

import cv2
import numpy as np
import tifffile

from .source import RecordingError, Source
from .tiff import TIFF_SUFFIXES, invert, tiff_metadata, zero_is_white

PICTURE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")


def open_numbered(path: Path, *, as_shown: bool = True) -> Source:
    """Open a folder of pictures, one per frame, ordered by a number in their names (t000.tif, t001.tif, ...).

    It is the only number that differs (img_000000003_Phase_000.tif), else the last one. `as_shown`: see `open_tiff`.
    """
    pictures = [
        p
        for p in path.iterdir()
        if p.suffix.lower() in PICTURE_SUFFIXES and re.search(r"\d", p.stem) and not p.name.startswith(".")
    ]
    found = [[int(number) for number in re.findall(r"\d+", p.stem)] for p in pictures]
    place = -1
    if len({*map(len, found)}) == 1:
        varying = [column for column, values in enumerate(zip(*found, strict=True)) if len(set(values)) > 1]
        place = varying[0] if len(varying) == 1 else -1
    ordered = sorted((values[place], picture) for values, picture in zip(found, pictures, strict=True))
    numbers, pictures = [number for number, _ in ordered], [picture for _, picture in ordered]
    if len(set(numbers)) < len(numbers):
        raise RecordingError("numbered pictures must have different numbers, got several series in one folder")
    if numbers and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        missing = next(n for n in range(numbers[0], numbers[-1]) if n not in numbers)
        raise RecordingError(f"numbered pictures must leave no gap, number {missing} is missing")

    def plane(t: int, c: int, z: int) -> np.ndarray:
        return _read_picture(pictures[t], as_shown)

    shape = plane(0, 0, 0).shape if pictures else ()
    metadata = {}
    if pictures and pictures[0].suffix.lower() in TIFF_SUFFIXES:
        with tifffile.TiffFile(pictures[0]) as tiff:
            metadata = tiff_metadata(tiff)
    colour = len(shape) == 3
    return Source(plane, len(pictures), num_channels=shape[2] if colour else 1, colour=colour, metadata=metadata)


def _read_picture(path: Path, as_shown: bool) -> np.ndarray:
    """Read a file with one picture, `(H, W)`, or `(H, W, 3 or 4)` with red first."""
    if path.suffix.lower() not in TIFF_SUFFIXES:
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if picture is None:
            raise RecordingError(f"{path.name} is no picture")
        if picture.ndim == 2:
            return picture
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB if picture.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    with tifffile.TiffFile(path) as tiff:
        picture, axes = tiff.series[0].asarray(), tiff.series[0].axes
        picture = invert(picture) if as_shown and zero_is_white(tiff.series[0]) else picture
    others = tuple(place for place, axis in enumerate(axes) if axis not in "YXS")
    if any(picture.shape[place] > 1 for place in others):
        raise RecordingError(f"numbered pictures must hold one plane each, got shape {picture.shape}")
    plane = picture.squeeze(others)
    return np.moveaxis(plane, 0, -1) if "S" in axes and not axes.endswith("S") else plane
