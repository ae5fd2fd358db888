"""Score `segment_cells` on hand-annotated frames: `python benchmarks/segmentation.py --data_dir ../shared/data`.

Prints foreground Dice and instance F1 (overlap over union above 0.5) of each frame that was used neither for training
nor for choosing thresholds (`training/train_segmentation.py` says which), at full and at half resolution, by density,
and of the other recordings with masks. `--calibrate` prints the scores of a grid of thresholds on the frames kept for
that; the best go to `cellvid_diffusers/evaluation/calibration.json`.
"""

import argparse
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import tifffile

from cellvid_diffusers.evaluation.segment import see_cells, segment_cells, split_cells
from cellvid_diffusers.evaluation.segmentation_scores import foreground_dice, instance_f1

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from train_segmentation import read_annotated

SCALES = (1.0, 0.5)
OTHERS = {
    "u373": ("u373/u373_train01_aspect_restored", (40, 49)),
    **{f"nsc {name[4]}": (f"nsc/{name}", (2, 8)) for name in ("nsc_A_a029-a041", "nsc_B_a056-a100", "nsc_G_a201-a219")},
}


def resize(frame: np.ndarray, labels: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Area mean of the frame, nearest label of the masks."""
    size = round(frame.shape[1] * scale), round(frame.shape[0] * scale)
    small = cv2.resize(labels.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA), small.astype(np.int32)


def read_frames(folder: Path) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Source, name, frame and labels of every frame to be scored."""
    for name, frame, labels in read_annotated(folder, "test"):
        yield "usiigaci_annotated", name, frame, labels
    for source, (stem, frames) in OTHERS.items():
        video, masks = (tifffile.imread(folder / f"{stem}{end}.tif") for end in ("", "_masks"))
        for k in frames:
            yield source, f"frame {k}", video[k], masks[k]


def score(folder: Path) -> pd.DataFrame:
    rows = []
    for source, name, frame, labels in read_frames(folder):
        for scale in SCALES:
            image, truth = resize(frame, labels, scale)
            found = segment_cells(image[None])[0]
            rows.append(
                {
                    "source": source,
                    "frame": name,
                    "scale": scale,
                    "cells": truth.max() and len(np.unique(truth)) - 1,
                    "found": found.max(),
                    "covered": (truth > 0).mean(),
                    "dice": foreground_dice(found, truth),
                    "f1": instance_f1(found, truth),
                }
            )
    return pd.DataFrame(rows)


def calibrate(folder: Path) -> pd.DataFrame:
    """Mean scores over the frames kept for tuning, at both scales, for each choice of thresholds."""
    rows = []
    for _, frame, labels in read_annotated(folder, "tune"):
        for scale in SCALES:
            image, truth = resize(frame, labels, scale)
            (maps,) = see_cells(image[None] / np.float32(255))
            for threshold, weight, prominence in product((0.4, 0.5, 0.6), (0, 0.5, 1), (0.1, 0.15, 0.2, 0.3)):
                found = split_cells(*maps, threshold=threshold, contact_weight=weight, prominence=prominence)
                scores = (foreground_dice(found, truth), instance_f1(found, truth))
                rows.append((scale, threshold, weight, prominence, *scores))
    columns = ["scale", "foreground", "contact_weight", "prominence", "dice", "f1"]
    table = pd.DataFrame(rows, columns=columns).pivot_table(
        index=columns[1:4], columns="scale", values=["dice", "f1"], aggfunc="mean"
    )
    return table.assign(mean_f1=table["f1"].mean(axis=1)).sort_values("mean_f1", ascending=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--calibrate", action="store_true")
    options = parser.parse_args()
    if options.calibrate:
        print(calibrate(options.data_dir).round(3).head(12).to_string())
    else:
        table = score(options.data_dir)
        print(table.round(3).to_string(index=False))
        print(table.groupby(["source", "scale"])[["dice", "f1"]].mean().round(3))
        annotated = table[table["source"] == "usiigaci_annotated"]
        density = pd.cut(annotated["covered"], [0, 0.1, 0.15, 1], labels=["below 10 %", "10-15 %", "above 15 %"])
        print("by share of the frame that cells cover:")
        print(annotated.groupby(["scale", density], observed=True)[["dice", "f1"]].mean().round(3))
