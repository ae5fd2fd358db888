"""Cells detected by `segment_cells` compared with hand-annotated ones.

    python benchmarks/segmentation.py --data_dir RECORDINGS --out docs/segmentation.md

Foreground Dice and instance F1 (intersection over union above 0.5) on frames used neither for training nor for choosing
thresholds (see `training/segmentation_data.py`), at full and at half resolution, by the share of the frame that cells
cover; and on other recordings with masks: the silver truth of the Cell Tracking Challenge, and seven clips of neural
stem cells (nsc; one to four cells per frame, outlined by hand with all processes), on which nothing here was trained.

Location of the wrong pixels in the annotated frames: in cells that were detected but not annotated, or annotated but
not detected (less than a tenth shared), otherwise within 2 px of an annotated outline, or elsewhere.

Events of cells detected in recordings, per 100 cells and frame, compared with those in the masks (from a tracker for
T98G, from the challenge's silver truth for U373; parts of both were used for training): the reference for the event
counts of a report.

`--calibrate` prints the scores for a grid of thresholds on the frames reserved for it; the best go to
`cellvid_diffusers/evaluation/calibration.json`.
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
from markdown import table
from recorded_events import recorded_events

from cellvid_diffusers.evaluation.segment import drop_unsure, see_cells, segment_cells
from cellvid_diffusers.evaluation.segmentation_scores import foreground_dice, instance_f1
from cellvid_diffusers.evaluation.split import split_cells

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from segmentation_data import read_annotated, resize

SCALES = (1.0, 0.5)
NARROW = (9, 13, 18)
"""Values tried for `see_cells`."""
GRID = {
    "threshold": (0.4, 0.5, 0.6),
    "contact_weight": (0.5, 1),
    "prominence": (0.15, 0.2, 0.3),
}
"""Values tried for `split_cells`."""
CONFIDENCES = (0.75, 0.8, 0.85)
"""Values tried for `drop_unsure`."""
OTHERS = {"u373": "u373/u373_train01_aspect_restored", "nsc": "nsc/nsc_*"}
"""Names of further recordings with masks, by source."""
FIRST_UNSEEN = {"u373": 40}
"""First frame that was not trained on, of recordings that were."""
FRAMES = 4
"""Frames that are scored of each further recording."""


def read_frames(folder: Path) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Source, name, frame and labels of every frame to be scored."""
    for name, frame, labels in read_annotated(folder, "test"):
        yield "usiigaci_annotated", name, frame, labels
    for source, pattern in OTHERS.items():
        for file in sorted(folder.glob(f"{pattern}_masks.tif")):
            stem = file.name.removesuffix("_masks.tif")
            video, masks = tifffile.imread(file.with_name(f"{stem}.tif")), tifffile.imread(file)
            for k in np.linspace(FIRST_UNSEEN.get(source, 1), len(video) - 2, FRAMES).astype(int):
                yield source, f"{stem.split('_')[1]} frame {k}", video[k], masks[k]


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
                    **place_errors(found, truth),
                }
            )
    return pd.DataFrame(rows)


def place_errors(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Share of the wrong foreground pixels of a frame by location; labels `(H, W)`."""
    wrong = (found > 0) != (truth > 0)
    undrawn = wrong & np.isin(found, _apart(found, truth))
    unfound = wrong & np.isin(truth, _apart(truth, found))
    drawn = (truth > 0).astype(np.uint8)
    square = np.ones((5, 5), np.uint8)
    outline = wrong & (cv2.dilate(drawn, square) != cv2.erode(drawn, square)) & ~undrawn & ~unfound
    parts = {"found, not drawn": undrawn, "drawn, not found": unfound, "within 2 px of an outline": outline}
    parts["elsewhere"] = wrong & ~np.any(list(parts.values()), axis=0)
    return {name: part.sum() / max(wrong.sum(), 1) for name, part in parts.items()}


def _apart(labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Labels of cells that are covered by the others by less than a tenth."""
    areas = np.bincount(labels.ravel())
    shared = np.bincount(labels.ravel(), (others > 0).ravel(), len(areas))
    return np.flatnonzero((shared < 0.1 * areas) & (np.arange(len(areas)) > 0))


def calibrate(folder: Path) -> pd.DataFrame:
    """Mean scores over the frames kept for tuning, at both scales, for each choice of thresholds."""
    rows = []
    for _, frame, labels in read_annotated(folder, "tune"):
        for scale in SCALES:
            image, truth = resize(frame, labels, scale)
            for narrow in NARROW:
                (maps,) = see_cells(image[None] / np.float32(255), narrow=narrow)
                for choice in product(*GRID.values()):
                    split = split_cells(*maps, **dict(zip(GRID, choice, strict=True)))
                    for confidence in CONFIDENCES:
                        found = drop_unsure(split[None], maps[:1], confidence=confidence)[0]
                        scores = foreground_dice(found, truth), instance_f1(found, truth)
                        rows.append((scale, narrow, *choice, confidence, *scores))
    options = ["narrow", *GRID, "confidence"]
    means = pd.DataFrame(rows, columns=["scale", *options, "dice", "f1"]).pivot_table(
        index=options, columns="scale", values=["dice", "f1"], aggfunc="mean"
    )
    return means.assign(mean=means.mean(axis=1)).sort_values("mean", ascending=False)


def page(scores: pd.DataFrame, events: pd.DataFrame) -> str:
    """Page with means by source and by cover, locations of errors, events, and every frame."""
    annotated = scores[scores["source"] == "usiigaci_annotated"]
    cover = pd.cut(annotated["covered"], [0, 0.1, 0.15, 1], labels=["below 10 %", "10 to 15 %", "above 15 %"])
    places = list(place_errors(*np.zeros((2, 1, 1), int)))
    scores, wrong = scores.drop(columns=places), annotated[["frame", "scale", *places]]
    parts = {
        "Mean per source": scores.groupby(["source", "scale"], as_index=False)[["dice", "f1"]].mean(),
        "Annotated frames, by the share of the frame that cells cover": annotated.groupby(
            ["scale", cover], as_index=False, observed=True
        )[["dice", "f1"]].mean(),
        "Location of the wrong pixels in the annotated frames": wrong,
        "Events in recordings, from masks and from detected cells": events,
        "Each frame": scores,
    }
    sections = [f"## {title}\n\n{markdown_of(part)}" for title, part in parts.items()]
    return "\n\n".join([f"# {(__doc__ or '').strip()}", *sections]) + "\n"


def markdown_of(scores: pd.DataFrame) -> str:
    """Markdown table with floats at two decimal places."""
    rows = scores.itertuples(index=False)
    cells = ([f"{value:.2f}" if isinstance(value, float) else str(value) for value in row] for row in rows)
    return table(list(scores.columns), cells)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True)
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--out", type=Path, help="page to write; printed if not given")
    options = parser.parse_args()
    if options.calibrate:
        print(calibrate(options.data_dir).round(3).head(12).to_string())
    else:
        text = page(score(options.data_dir), recorded_events(options.data_dir))
        options.out.write_text(text) if options.out else print(text)
