"""Simulated cultures as a data set, with their truth beside it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from datasets import Features
from tqdm import tqdm

from ..io import write_ctc, write_gif, write_ome_tiff
from ..simulation import SimulatedCulture, simulate
from .dataset import encode_row, patch_features, write_patches


def write_simulated(
    out: str | Path,
    *,
    num_videos: int = 1,
    size: int = 128,
    num_frames: int = 10,
    density: str = "moderate",
    maturity: str = "mature",
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Simulate cultures and write them as `cellvid simulate` does.

    The folder is a patch data set (masks included; the last tenth, at least one of two or more, is the validation
    split, and each clip a recording of its own). Beside it lie, for clip i, `video_0000i.ome.tif`; `masks_0000i/`, the
    bodies and their tracks with lineage in the layout of the Cell Tracking Challenge; `cells_0000i.ome.tif`, the same
    labels on bodies, neurites and growth cones; `kinds_0000i.json`, the kind of each label; `flow_0000i.npy`
    `(F - 1, H, W, 2)` in pixels per frame; and `neurites_0000i.json`: for each frame, the cell, the centre line (x, y)
    and the length of each neurite in pixels, and its direction from root to tip in degrees (0 right, 90 down).

    Parameters
    ----------
    out : path
        Folder to make; must not hold anything.
    num_videos, size, num_frames, density, maturity
        See `simulate`.
    seed : int
        Clip i is simulated with seed `seed + i`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Path
        `out`.
    """
    if num_videos < 1:
        raise ValueError(f"num_videos must be at least 1, got {num_videos}")
    cultures = [
        simulate(num_frames=num_frames, size=size, density=density, maturity=maturity, seed=seed + index)
        for index in tqdm(range(num_videos), desc="simulating", unit="clip", disable=not progress)
    ]
    held_out = max(1, num_videos // 10) if num_videos > 1 else 0
    features = patch_features(["neuron"], masks=True)
    labels = {"cell_type": "neuron", "density": density, "maturity": maturity}
    first = num_videos - held_out
    splits = {
        "train": _rows(features, cultures[:first], seed, labels),
        "validation": _rows(features, cultures[first:], seed + first, labels),
    }
    out = write_patches(splits, out, features, "Simulated phase-contrast cultures with exact flow and masks.\n")
    for index, culture in enumerate(cultures):
        _write_truth(out, index, culture)
    return out


def _rows(
    features: Features, cultures: list[SimulatedCulture], seed: int, labels: dict[str, str]
) -> Iterator[dict[str, Any]]:
    for number, culture in enumerate(cultures, start=seed):
        flow = culture.flow
        yield encode_row(
            features,
            frames=culture.video,
            flow=np.concatenate([flow, flow[-1:]]) if len(flow) else np.zeros((*culture.video.shape, 2)),
            masks=culture.masks,
            x=0,
            y=0,
            t0=0,
            frame_stride=1,
            recording=f"simulated_{number:05d}",
            culture=f"simulated_{number:05d}",
            pixel_size_um=culture.pixel_size_um,
            frame_interval_min=culture.frame_interval_min,
            **labels,
        )


def _write_truth(out: Path, index: int, culture: SimulatedCulture) -> None:
    name = f"{index:05d}"
    write_ome_tiff(
        out / f"video_{name}.ome.tif",
        culture.video,
        pixel_size_um=culture.pixel_size_um,
        frame_interval_min=culture.frame_interval_min,
    )
    write_gif(out / f"video_{name}.gif", culture.video)
    write_ctc(out / f"masks_{name}", culture.masks, culture.tracks)
    cells = out / f"cells_{name}.ome.tif"
    tifffile.imwrite(cells, culture.cells.astype(np.uint16), ome=True, metadata={"axes": "TYX"})
    (out / f"kinds_{name}.json").write_text(json.dumps(culture.kinds))
    np.save(out / f"flow_{name}.npy", culture.flow)
    neurites = [
        [
            {
                "cell": neurite.cell,
                "length": round(neurite.length, 2),
                "direction": round(neurite.direction, 2),
                "line": neurite.line.round(2).tolist(),
            }
            for neurite in frame
        ]
        for frame in culture.neurites
    ]
    (out / f"neurites_{name}.json").write_text(json.dumps(neurites))
