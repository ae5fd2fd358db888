"""Write generated clips as files that Fiji, napari and a browser can open."""

import csv
import re
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from .flow import flow_to_rgb
from .flow.render import speed_of_full_colour
from .io import contact_sheet, stretch_contrast, write_gif, write_mp4, write_ome_tiff
from .pipelines import CellVideoPipeline, roll_out
from .pipelines.classes import of_clips, value_of
from .pipelines.roll_out import GIVEN_TO_ONE_WINDOW

CALIBRATION = ("pixel_size_um", "frame_interval_min")
METADATA = "metadata.csv"
SHOWN = 8
"""Largest number of clips on the contact sheet."""


def generate_clips(
    out: Path,
    *,
    checkpoint: str | Path,
    num_videos: int,
    batch_size: int = 4,
    seed: int = 0,
    annotate: bool = False,
    device: str | None = None,
    **arguments: Any,
) -> None:
    """
    Generate clips and write them one by one.

    Args:
        out (`Path`): Folder for `video_00000.ome.tif` (uint8, TYX), `flow_00000.npy` (T, H, W, 2; px/frame), previews
            as GIF and MP4 and `contact_sheet.png` at stretched contrast, and `metadata.csv` with the seed and the
            classes of each file. Clips of an earlier run, as listed there, are removed.
        checkpoint (`str` or `Path`): Folder of a pipeline, or its Hub id.
        num_videos (`int`): Number of clips.
        batch_size (`int`): Clips generated at a time; does not change them.
        seed (`int`): Clip i is made with seed `seed + i`.
        annotate (`bool`): Also segment and track the cells: `masks_00000/` in the layout of the Cell Tracking
            Challenge, `rois_00000.zip` for ImageJ, `outlines_00000.mp4`, and tables `cells_00000.csv`,
            `neurites_00000.csv` and `tracks_00000.csv`.
        device (`str`, *optional*): Name of a torch device; by default a GPU if there is one.
        **arguments: Passed to [`CellVideoPipeline.__call__`]; classes may be lists with one entry per clip. Clips with
            more frames than the training clips are rolled out, if the checkpoint can.

    Raises:
        ValueError: If the folder holds clips that no earlier run wrote, or an argument is out of range.
    """
    check_folder(out)
    pipe = CellVideoPipeline.from_pretrained(checkpoint)
    try:
        pipe.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except (AssertionError, RuntimeError) as error:  # torch built without it, or unknown name
        raise ValueError(f"device must be one that torch can use here, got {device} ({error})") from None
    pipe.set_progress_bar_config(desc="denoising", leave=False)
    make = partial(roll_out, pipe) if must_be_rolled_out(pipe, arguments) else pipe
    out.mkdir(parents=True, exist_ok=True)
    videos: list[np.ndarray] = []
    flows: list[np.ndarray] = []
    labels: list[str] = []
    with tqdm(total=num_videos, unit="clip") as bar:
        for start in range(0, num_videos, batch_size):
            part = slice(start, min(start + batch_size, num_videos))
            seeds = range(seed, seed + num_videos)[part]
            result = make(
                batch_size=len(seeds),
                generator=[torch.Generator().manual_seed(each) for each in seeds],
                **of_clips(arguments, part),
            )
            if start == 0:  # not before: a failed call must not delete earlier clips
                remove_clips(out)
            classes = result.classes or [{}] * len(seeds)
            labels += [clip_label(start + n, each) for n, each in enumerate(classes)]
            for offset, frames in enumerate(result.frames):
                video = (frames * 255).round().astype(np.uint8)
                flow = None if result.flow is None else result.flow[offset]
                known = {"seed": seeds[offset], **classes[offset]}
                calibration = {name: value_of(pipe.config, name, known.get("cell_type")) for name in CALIBRATION}
                write_metadata(out, start + offset, known)  # before the clip: the next run removes what is listed
                write_clip(out, start + offset, video, flow, **calibration, annotate=annotate)
                if len(videos) < SHOWN:
                    videos.append(stretch_contrast(video))
                    flows.extend([] if flow is None else [flow])
                bar.update()
    contact_sheet(videos, flows or None, path=out / "contact_sheet.png", labels=labels[:SHOWN])
    print(f"Wrote {num_videos} clip(s) to {out}")


def clip_label(index: int, classes: dict[str, str | None]) -> str:
    """Number and classes of a clip, for its row on a contact sheet."""
    return "\n".join([f"clip {index}", *(name for name in classes.values() if name)])


def must_be_rolled_out(pipe: CellVideoPipeline, arguments: Mapping[str, Any]) -> bool:
    """Whether clips are longer than the training clips, can be rolled out, and no argument is for one window only."""
    longest, asked = pipe.config.num_frames, arguments.get("num_frames")
    alone = all(arguments.get(name) is None for name in GIVEN_TO_ONE_WINDOW)
    return bool(longest and asked and asked > longest > 1 and alone and "prediction" in pipe.config.noise_patterns)


def listed_clips(out: Path) -> list[str]:
    """Numbers (`"00000"`, ...) of the clips listed in a folder's `metadata.csv`."""
    if not (out / METADATA).is_file():
        return []
    with open(out / METADATA, newline="") as file:
        names = [row.get("file_name") or "" for row in csv.DictReader(file)]
    return [match[1] for match in (re.fullmatch(r"video_(\d{5,})\.ome\.tif", name) for name in names) if match]


def check_folder(out: Path) -> None:
    """Raise `ValueError` if a folder holds clips that no earlier run wrote, such as those of a simulated data set.

    A clip that is not listed but has a GIF may be left over from an interrupted run.
    """
    listed = {f"video_{number}.ome.tif" for number in listed_clips(out)}
    for path in sorted(out.glob("video_[0-9]*.ome.tif")):
        ours = (out / path.name.replace(".ome.tif", ".gif")).exists() and not (out / "data").exists()
        if path.name not in listed and not ours:
            raise ValueError(
                f"out must be new, or hold clips of an earlier run, got {out} with another {path.name}: "
                "choose another folder, or move that away"
            )


def remove_clips(out: Path) -> None:
    """Remove the clips that an earlier `generate_clips` wrote to a folder."""
    for number in listed_clips(out):
        for stem in ("video", "flow", "rois", "outlines", "cells", "neurites", "tracks"):
            for path in out.glob(f"{stem}_{number}.*"):
                path.unlink()
        shutil.rmtree(out / f"masks_{number}", ignore_errors=True)


def write_clip(
    out: Path,
    index: int,
    video: np.ndarray,
    flow: np.ndarray | None,
    *,
    pixel_size_um: float | None,
    frame_interval_min: float | None,
    annotate: bool,
) -> None:
    """Write one clip: video `(F, H, W)` uint8, flow `(F, H, W, 2)` in px/frame or None."""
    write_ome_tiff(
        out / f"video_{index:05d}.ome.tif",
        video,
        pixel_size_um=pixel_size_um,
        frame_interval_min=frame_interval_min,
    )
    shown = stretch_contrast(video)
    write_gif(out / f"video_{index:05d}.gif", shown)
    write_mp4(out / f"video_{index:05d}.mp4", shown)
    if flow is not None:
        np.save(out / f"flow_{index:05d}.npy", flow.astype(np.float32))
        write_gif(out / f"flow_{index:05d}.gif", overlay_flow(shown, flow))
    if annotate:
        from .evaluation.annotation import write_cells

        def numbered(name: str) -> Path:
            stem, dot, suffix = name.partition(".")
            return out / f"{stem}_{index:05d}{dot}{suffix}"

        write_cells(video, numbered, pixel_size_um=pixel_size_um, frame_interval_min=frame_interval_min)


def write_metadata(out: Path, index: int, known: dict[str, Any]) -> None:
    """Append a row to `metadata.csv`, which `datasets` reads along with the files; the first one starts the table."""
    row = {"file_name": f"video_{index:05d}.ome.tif", **known}
    with open(out / METADATA, "a" if index else "w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if index == 0:
            writer.writeheader()
        writer.writerow(row)


def overlay_flow(video: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Blend the flow's colours over the video in proportion to speed: `(F, H, W)` -> `(F, H, W, 3)` uint8."""
    speed = np.linalg.norm(flow, axis=-1, keepdims=True)
    fastest = speed_of_full_colour(speed)
    share = 0.8 * np.clip(speed / fastest, 0, 1)
    colours = flow_to_rgb(flow, max_speed=fastest)
    return ((1 - share) * video[..., None] + share * colours).round().astype(np.uint8)
