"""The sidecar: what the lab knows about its recordings, in YAML or CSV.

    recordings:
    - file: culture3/day14.ome.tif      # relative to the data root
      culture: culture3
      cell_type: neuron
      density: sparse                   # very_sparse, sparse, moderate, dense, very_dense
      maturity: mature                  # very_young, mature, very_mature
      day: 14
      stride: 2                         # take every second frame
      downscale: 2                      # average 2 x 2 pixels into one
      region: [0, 660, 0, 620]          # y0, y1, x0, x1 in pixels of the file
      split: train                      # train, validation, test

A file may be listed twice with regions that do not overlap, so that one recording can serve two splits.
"""

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from .dataset import DENSITIES, MATURITIES, SPLITS
from .readers import recording_name


@dataclass(frozen=True)
class RecordingEntry:
    """One entry of the sidecar; None means unknown, or the default of `prepare`.

    Attributes
    ----------
    file : str
        Path relative to the data root.
    name : str
        Recording name stored in the rows; by default the file's name without its suffix, plus the region where a file
        is listed twice.
    culture, cell_type : str, optional
    density, maturity : str, optional
        One of `DENSITIES`, `MATURITIES`.
    day : float, optional
        Days in culture.
    stride, num_frames, downscale : int, optional
        Override `frame_stride`, `num_frames` and `downscale` of `prepare`.
    channel : int, optional
    z : int, "max" or "mean", optional
    region : (y0, y1, x0, x1), optional
        In pixels of the file.
    split : str
    pixel_size_um, frame_interval_min : float, optional
        Of the file, before downscaling and stride; these take precedence over the file's own metadata.
    masks : str, optional
        File or folder of instance masks, relative to the data root.
    """

    file: str
    name: str = ""
    culture: str | None = None
    cell_type: str | None = None
    density: str | None = None
    maturity: str | None = None
    day: float | None = None
    stride: int | str | None = None
    num_frames: int | None = None
    downscale: int | None = None
    channel: int | None = None
    z: int | str | None = None
    region: tuple[int, int, int, int] | None = None
    split: str = "train"
    pixel_size_um: float | None = None
    frame_interval_min: float | None = None
    masks: str | None = None


_NAMES = {f.name for f in fields(RecordingEntry)}
_INTEGERS = ("num_frames", "downscale", "channel")
_NUMBERS = ("day", "pixel_size_um", "frame_interval_min")


def read_sidecar(path: str | Path) -> list[RecordingEntry]:
    """Read a sidecar's entries: `.yaml` with a list `recordings`, or `.csv` with the same names as columns.

    Raises
    ------
    ValueError
        If an entry breaks a rule. The message names both.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"sidecar must be a file, got {path}")
    text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    if path.suffix.lower() == ".csv":
        items: Any = _csv_rows(text)
    else:
        try:
            loaded = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(f"sidecar must be valid YAML, got {' '.join(str(error).split())}") from None
        items = loaded.get("recordings") if isinstance(loaded, dict) else loaded
    if not isinstance(items, list) or not all(isinstance(item, dict) and "file" in item for item in items):
        raise ValueError(f"sidecar must be a list of recordings, each with a file, got {path.name}")
    return name_entries([_entry(item) for item in items])


def _csv_rows(text: str) -> list[dict[str, str]]:
    """Rows of a CSV file, separated by commas or semicolons, without empty cells and rows."""
    lines = text.splitlines()
    separator = ";" if lines and lines[0].count(";") > lines[0].count(",") else ","
    rows = [
        {key.strip(): value.strip() for key, value in row.items() if key and value and value.strip()}
        for row in csv.DictReader(lines, delimiter=separator)
    ]
    return [row for row in rows if row]


def _entry(item: dict[str, Any]) -> RecordingEntry:
    """Check an item read from YAML or CSV and return its entry; empty values are unknown."""
    item = {key: value for key, value in item.items() if value is not None}
    where = item.get("file")
    for key, path in (("file", where), ("masks", item.get("masks", ""))):
        if not isinstance(path, str):  # YAML reads 01 as the number 1
            raise ValueError(f"{where}: {key} must be text, in quotes if it is a number, got {path}")
    item |= {key: str(item[key]) for key in ("name", "culture", "cell_type") if key in item}
    unknown = sorted(set(item) - _NAMES)
    if unknown:
        raise ValueError(f"{where}: sidecar knows {', '.join(sorted(_NAMES))}, got {unknown[0]}")
    try:
        for key in _INTEGERS:
            if key in item:
                item[key] = int(item[key])
        for key in _NUMBERS:
            if key in item:
                item[key] = float(item[key])
        for key in ("stride", "z"):
            if str(item.get(key, "")).lstrip("-").isdigit():
                item[key] = int(item[key])
        if "region" in item:
            region = item["region"]
            y0, y1, x0, x1 = (int(v) for v in (region.split() if isinstance(region, str) else region))
            item["region"] = (y0, y1, x0, x1)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: sidecar holds a value of the wrong kind ({error})") from None
    if not isinstance(item.get("stride", 1), int) and item["stride"] != "auto":
        raise ValueError(f"{where}: stride must be a whole number or auto, got {item['stride']}")
    for key, least in (("num_frames", 2), ("downscale", 1), ("stride", 1)):
        if isinstance(item.get(key), int) and item[key] < least:
            raise ValueError(f"{where}: {key} must be at least {least}, got {item[key]}")
    for key in ("pixel_size_um", "frame_interval_min"):
        if key in item and not item[key] > 0:
            raise ValueError(f"{where}: {key} must be above 0, got {item[key]:g}")
    for key, allowed in (("density", DENSITIES), ("maturity", MATURITIES), ("split", SPLITS)):
        if key in item and item[key] not in allowed:
            raise ValueError(f"{where}: {key} must be one of {', '.join(allowed)}, got {item[key]}")
    return RecordingEntry(**item)


def distinct_names(files: Sequence[Path]) -> list[str]:
    """Shortest names that distinguish recordings, given their paths relative to one folder.

    File names without suffix; if these clash, with the parent folders in front; if these clash, also with the suffix.
    """
    ways: tuple[Callable[[Path], str], ...] = (
        recording_name,
        lambda file: "_".join([*file.parts[:-1], recording_name(file)]),
        lambda file: "_".join(file.parts),
    )
    return next(names for way in ways if len(set(names := [way(file) for file in files])) == len(set(files)))


def name_entries(entries: Sequence[RecordingEntry]) -> list[RecordingEntry]:
    """Fill in missing names, and check that names differ and that entries of one file do not overlap."""
    files = [entry.file for entry in entries]
    named = []
    for entry in entries:
        place = "_y{}-{}_x{}-{}".format(*entry.region) if entry.region and files.count(entry.file) > 1 else ""
        named.append(entry if entry.name else replace(entry, name=recording_name(Path(entry.file)) + place))
    for a, b in combinations(named, 2):
        if os.path.normpath(a.file) == os.path.normpath(b.file) and _overlap(a, b):
            raise ValueError(
                f"{a.file}: a file may be listed twice only with regions apart, got {a.region}, {b.region}"
            )
        if a.name == b.name:
            raise ValueError(f"recordings must have different names, got {a.name} twice: give one a name")
    return named


def _overlap(a: RecordingEntry, b: RecordingEntry) -> bool:
    """Whether the regions of two entries of a file overlap; in one split, different channels or planes never do."""
    if (a.channel, a.z) != (b.channel, b.z) and a.split == b.split:
        return False
    if a.region is None or b.region is None:
        return True
    return all(max(a.region[i], b.region[i]) < min(a.region[i + 1], b.region[i + 1]) for i in (0, 2))
