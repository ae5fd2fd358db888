"""Simulated cultures as a data set, together with their ground truth."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from datasets import Features
from tqdm import tqdm

from ..io import write_ctc, write_gif, write_ome_tiff
from ..io.ome_tiff import scale_metadata
from ..simulation import SimulatedCulture, simulate
from .dataset import atomic_folder, encode_row, patch_features, write_rows


def write_simulated(
    out: str | Path,
    *,
    num_videos: int = 1,
    size: int = 128,
    num_frames: int = 10,
    density: str = "moderate",
    maturity: str = "mature",
    pixel_size_um: float = 1.0,
    frame_interval_min: float = 10.0,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Simulate cultures and write them as `cellvid simulate` does.

    The folder is a patch data set, masks included. Each clip is a recording of its own; of two or more clips the last
    tenth, at least one, form the validation split. The folder also contains, for clip i, `video_0000i.ome.tif`;
    `video_0000i.gif`; `masks_0000i/`, the cell bodies and their tracks with lineage in the layout of the Cell Tracking
    Challenge; `cells_0000i.ome.tif`, the same labels on bodies, neurites and growth cones; `kinds_0000i.json`, the kind
    of each label; `flow_0000i.npy` `(F - 1, H, W, 2)` in pixels per frame; and `neurites_0000i.json`: for each frame,
    the cell, the centre line (x, y) and the length of each neurite in pixels, and its direction from root to tip in
    degrees (0 right, 90 down).

    Parameters
    ----------
    out : path
        Folder to create; must be new or empty.
    num_videos : int
        Number of clips.
    size, num_frames, density, maturity, pixel_size_um, frame_interval_min
        Passed to `simulate` for each clip.
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
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    labels = {"density": density, "maturity": maturity}
    options: dict[str, Any] = {"pixel_size_um": pixel_size_um, "frame_interval_min": frame_interval_min, **labels}
    held_out = max(1, num_videos // 10) if num_videos > 1 else 0
    features = patch_features(["neuron"], masks=True)
    out = Path(out)
    with (
        atomic_folder(out) as folder,
        tqdm(total=num_videos, desc="simulating", unit="clip", disable=not progress) as bar,
    ):

        def rows(indices: Iterable[int]) -> Iterator[dict[str, Any]]:
            """Simulate clip by clip, and write the ground truth of each into the folder."""
            for index in indices:
                culture = simulate(num_frames=num_frames, size=size, seed=seed + index, **options)
                _write_truth(folder, index, culture)
                bar.update()
                yield _row(features, culture, f"simulated_{seed + index:05d}", labels)

        splits = {
            "train": rows(range(num_videos - held_out)),
            "validation": rows(range(num_videos - held_out, num_videos)),
        }
        write_rows(splits, folder, features, "Simulated phase-contrast cultures with exact flow and masks.\n")
    return out


def _row(features: Features, culture: SimulatedCulture, name: str, labels: dict[str, str]) -> dict[str, Any]:
    flow = culture.flow
    return encode_row(
        features,
        frames=culture.video,
        flow=np.concatenate([flow, flow[-1:]]) if len(flow) else np.zeros((*culture.video.shape, 2)),
        masks=culture.masks,
        x=0,
        y=0,
        t0=0,
        frame_stride=1,
        recording=name,
        culture=name,
        cell_type="neuron",
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
    scale = scale_metadata(culture.pixel_size_um, culture.frame_interval_min)
    tifffile.imwrite(cells, culture.cells.astype(np.uint16), ome=True, metadata={"axes": "TYX", **scale})
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
