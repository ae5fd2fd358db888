"""Folders of numbered pictures, one for each frame."""

import re
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median_low

import cv2
import numpy as np
import tifffile

from .source import RecordingError, Source
from .tiff import TIFF_SUFFIXES, invert, tiff_metadata, zero_is_white

PICTURE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")

ELAPSED = re.compile(r"(\d+)d(\d+)h(\d+)m")
"""Time since the first picture in a name, as an Incucyte writes it: `VID1_A1_1_00d01h30m.tif`."""

DATED = re.compile(r"(\d{4})y(\d\d)m(\d\d)d_(\d\d)h(\d\d)m")
"""Date and time in a name, its other way: `VID1_A1_1_2024y02m29d_01h30m.tif`."""


def open_numbered(path: Path, *, as_shown: bool = True) -> Source:
    """Open a folder of pictures, one per frame, ordered by a number in their names (t000.tif, t001.tif, ...).

    It is the only number that differs (img_000000003_Phase_000.tif), else the last one. Names that hold a time are
    ordered by it. `as_shown`: see `open_tiff`.
    """
    pictures = [
        p
        for p in path.iterdir()
        if p.suffix.lower() in PICTURE_SUFFIXES and re.search(r"\d", p.stem) and not p.name.startswith(".")
    ]
    times = [minutes for picture in pictures if (minutes := _minutes(picture.stem)) is not None]
    timed = 0 < len(set(times)) == len(pictures)
    ordered = sorted(zip(times if timed else _numbers(pictures), pictures, strict=True))
    numbers, pictures = [number for number, _ in ordered], [picture for _, picture in ordered]
    if len(set(numbers)) < len(numbers):
        raise RecordingError("numbered pictures must have different numbers, got several series in one folder")
    interval = None
    if timed:
        interval = _interval(numbers, pictures)
    elif numbers and numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        missing = next(n for n in range(numbers[0], numbers[-1]) if n not in numbers)
        raise RecordingError(f"numbered pictures must leave no gap, number {missing} is missing")

    def plane(t: int, c: int, z: int) -> np.ndarray:
        return _read_picture(pictures[t], as_shown)

    shape = plane(0, 0, 0).shape if pictures else ()
    metadata = {}
    if pictures and pictures[0].suffix.lower() in TIFF_SUFFIXES:
        with tifffile.TiffFile(pictures[0]) as tiff:
            metadata = tiff_metadata(tiff)
    if interval:
        metadata["frame_interval_min"] = interval
    colour = len(shape) == 3
    return Source(plane, len(pictures), num_channels=shape[2] if colour else 1, colour=colour, metadata=metadata)


def _numbers(pictures: list[Path]) -> list[int]:
    """The number of each picture: the only one in their names that differs, else the last one."""
    found = [[int(number) for number in re.findall(r"\d+", picture.stem)] for picture in pictures]
    place = -1
    if len({*map(len, found)}) == 1:
        varying = [column for column, values in enumerate(zip(*found, strict=True)) if len(set(values)) > 1]
        place = varying[0] if len(varying) == 1 else -1
    return [numbers[place] for numbers in found]


def _minutes(stem: str) -> int | None:
    """The time that a name holds, in minutes; None if it holds none."""
    if dated := DATED.search(stem):
        year, month, day, hour, minute = map(int, dated.groups())
        try:
            return round((datetime(year, month, day, hour, minute) - datetime(2000, 1, 1)).total_seconds() / 60)
        except ValueError:  # no such day
            return None
    if elapsed := ELAPSED.search(stem):
        days, hours, minutes = map(int, elapsed.groups())
        return 60 * (24 * days + hours) + minutes
    return None


def _interval(minutes: list[int], pictures: list[Path]) -> int | None:
    """Time between pictures in minutes, about even: whole minutes are rounded; None for a single picture."""
    steps = [later - sooner for sooner, later in pairwise(minutes)]
    if not steps:
        return None
    interval = median_low(steps)
    for step, picture in zip(steps, pictures[:-1], strict=True):
        if abs(step - interval) > max(1, interval / 4):
            raise RecordingError(
                f"pictures must leave no gap, the step after {picture.name} is {step} min instead of {interval}"
            )
    return interval


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
