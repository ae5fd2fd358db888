"""Turning windows of a recording into rows of the data set: first a plan for the recording, then each window."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Features

from .corrections import Corrections, flicker_reference, measure_drift, uneven_light
from .dataset import encode_row
from .motion import FLOWS, choose_stride, video_flow
from .patches import blank_frames, noise_level, patch_grid, reject_reason, typical_contrast, window_starts
from .readers import Recording, read_masks, read_recording
from .sidecar import RecordingEntry


@dataclass(frozen=True)
class PrepareOptions:
    """Options that affect the rows; see `prepare`."""

    patch_size: int = 128
    num_frames: int = 10
    overlap: float = 0.25
    frame_stride: int | str = 1
    target_speed: float = 1.0
    flow: str = "pyramid"
    stillness: float | None = None
    downscale: int = 1
    equalize: bool = True
    flatten: bool = False
    register: bool = False
    reject: bool = True

    def __post_init__(self):
        for name in ("patch_size", "num_frames", "downscale"):
            if not isinstance(getattr(self, name), int | np.integer):
                raise ValueError(f"{name} must be a whole number, got {getattr(self, name)}")
        if self.downscale < 1:
            raise ValueError(f"downscale must be at least 1, got {self.downscale}")
        if self.stillness is not None and (self.flow != "pyramid" or not self.stillness >= 0):
            raise ValueError(f"stillness must be at least 0, of flow pyramid, got {self.stillness} of {self.flow}")
        if self.patch_size < 8:
            raise ValueError(f"patch_size must be at least 8, got {self.patch_size}")
        if self.num_frames < 2:
            raise ValueError(f"num_frames must be at least 2, got {self.num_frames}")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must lie in [0, 1), got {self.overlap}")
        if self.frame_stride != "auto" and (
            not isinstance(self.frame_stride, int | np.integer) or self.frame_stride < 1
        ):
            raise ValueError(f"frame_stride must be 'auto' or at least 1, got {self.frame_stride}")
        if not self.target_speed > 0:
            raise ValueError(f"target_speed must be above 0, got {self.target_speed}")
        if self.flow not in FLOWS:
            raise ValueError(f"flow must be one of {', '.join(FLOWS)}, got {self.flow}")


@dataclass(frozen=True)
class Plan:
    """A recording ready to be cut: its entry, and what is measured once over the whole recording.

    `saturated_values` are those of `Recording`, `contrast` is the upper quartile of the standard deviations of its
    frames as recorded, and `noise` is the camera noise after corrections.
    """

    entry: RecordingEntry
    path: Path
    masks: Path | None
    downscale: int
    stride: int
    num_frames: int
    starts: tuple[int, ...]
    intensity_range: tuple[float, float]
    saturated_values: tuple[int, ...]
    corrections: Corrections
    contrast: float
    noise: float
    pixel_size_um: float | None
    frame_interval_min: float | None
    notes: tuple[str, ...] = field(default=())

    def read(self, indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Frames as uint8 `(n, H, W)`, downscaled and without drift: as recorded, and with corrected light."""
        recording = open_entry(self.entry, self.path, self.downscale)
        recorded = recording.read(indices, intensity_range=self.intensity_range)
        return self.corrections.steady(recorded, indices), self.corrections.apply(recorded, indices)

    def read_masks(self, indices: Sequence[int]) -> np.ndarray:
        """Instance masks of the frames, `(n, H, W)`; the recording must have masks."""
        assert self.masks is not None
        masks = read_masks(self.masks, region=self.entry.region, downscale=self.downscale)
        return self.corrections.steady(masks[list(indices)], indices)


def open_entry(entry: RecordingEntry, path: Path, downscale: int) -> Recording:
    """Open the recording of a sidecar entry."""
    return read_recording(path, channel=entry.channel, z=entry.z, region=entry.region, downscale=downscale)


def plan_recording(entry: RecordingEntry, root: Path, options: PrepareOptions) -> Plan:
    """Open a recording, check that it can be cut, and measure its stride, drift, light, level and contrast.

    Raises
    ------
    ValueError
        If the recording cannot be cut. The message is one line that begins with the file's name.
    """
    path, mask_path = _inside(root, entry.file), entry.masks and _inside(root, entry.masks)
    downscale = entry.downscale or options.downscale
    try:
        recording = open_entry(entry, path, downscale)
        sample = recording.read(recording.sample_indices(32))
        contrast = typical_contrast(sample)
        sample = sample[~blank_frames(sample, contrast)]
        corrections = _measure(recording, sample, contrast, options)
        noise = noise_level(corrections.correct_light(sample))
        num_frames = entry.num_frames or options.num_frames
        stride = _stride(entry, recording, corrections, options, noise)
        length, height, width = recording.frames.shape
        if corrections.drift is not None:
            height, width = np.array((height, width)) - np.ptp(corrections.drift, axis=0)
        if min(height, width) < options.patch_size:
            raise ValueError(f"frames must be at least {options.patch_size} px a side, got {height}x{width}")
        starts = window_starts(length, num_frames, stride)
        masks = mask_path or _ctc_masks(path)
        if masks is not None:
            found = read_masks(masks, region=entry.region, downscale=downscale).shape
            if found != recording.frames.shape:
                raise ValueError(f"masks must have the frames' shape {recording.frames.shape}, got {found}")
    except ValueError as error:
        raise ValueError(f"{entry.file}: {str(error).removeprefix(f'{path.name}: ')}") from None
    pixel_size = entry.pixel_size_um and entry.pixel_size_um * downscale
    interval = entry.frame_interval_min or recording.frame_interval_min
    return Plan(
        entry=entry,
        path=path,
        masks=masks,
        downscale=downscale,
        stride=stride,
        num_frames=num_frames,
        starts=tuple(starts),
        intensity_range=recording.intensity_range,
        saturated_values=recording.saturated_values,
        corrections=corrections,
        contrast=contrast,
        noise=noise,
        pixel_size_um=pixel_size or recording.pixel_size_um,
        frame_interval_min=interval and interval * stride,
        notes=_contradictions(entry, recording, downscale),
    )


def _measure(recording: Recording, sample: np.ndarray, contrast: float, options: PrepareOptions) -> Corrections:
    """Measure the corrections that the options request: light and flicker on a sample of good frames, drift on all."""
    light = uneven_light(sample) if options.flatten else None
    reference = flicker_reference(Corrections(light).correct_light(sample)) if options.equalize else None
    every = (recording.read([t])[0] for t in range(len(recording.frames)))
    return Corrections(light, reference, measure_drift(every, contrast) if options.register else None)


def _inside(root: Path, name: str) -> Path:
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ValueError(f"{name}: file must lie inside the data root")
    return path


def _stride(
    entry: RecordingEntry, recording: Recording, corrections: Corrections, options: PrepareOptions, noise: float
) -> int:
    wanted = entry.stride or options.frame_stride
    if wanted != "auto":
        return int(wanted)
    flow = "dis" if options.flow in ("none", "paper") else options.flow  # the paper's flow cannot tell speeds apart
    return choose_stride(
        lambda indices: corrections.apply(recording.read(indices), indices),
        len(recording.frames),
        entry.num_frames or options.num_frames,
        target_speed=options.target_speed,
        flow=flow,
        stillness=options.stillness,
        noise=noise,
    )


def _ctc_masks(path: Path) -> Path | None:
    """Masks next to a Cell Tracking Challenge folder `01`: the silver truth of all frames, `01_ST/SEG`."""
    silver = path.with_name(f"{path.name}_ST") / "SEG"
    return silver if path.is_dir() and silver.is_dir() else None


def _contradictions(entry: RecordingEntry, recording: Recording, downscale: int) -> tuple[str, ...]:
    """Notes on values in which sidecar and file disagree by more than one per cent."""
    notes = []
    in_file = {
        "pixel_size_um": recording.pixel_size_um and recording.pixel_size_um / downscale,
        "frame_interval_min": recording.frame_interval_min,
    }
    for key, found in in_file.items():
        given = getattr(entry, key)
        if given and found and abs(given / found - 1) > 0.01:
            notes.append(f"{entry.file}: {key} is {given:g} in the sidecar, which counts, and {found:g} in the file")
    return tuple(notes)


def cut_window(plan: Plan, t0: int, options: PrepareOptions, features: Features) -> tuple[pa.Table, dict[str, Any]]:
    """Rows of the window that starts at frame `t0`, with its number of candidates, rejections and row hashes."""
    length = plan.starts[-1] + (plan.num_frames - 1) * plan.stride + 1
    # One frame more than is stored gives the last stored frame its flow, unless the recording ends there.
    num_read = plan.num_frames + (options.flow != "none")
    indices = [t for t in range(t0, t0 + plan.stride * num_read, plan.stride) if t < length]
    recorded, frames = plan.read(indices)
    grid = patch_grid(frames.shape[1], frames.shape[2], options.patch_size, options.overlap)
    if options.reject and blank_frames(recorded, plan.contrast).any():
        counts = {"candidates": len(grid), "rejected": {"blank": len(grid)}, "hashes": []}
        return features.arrow_schema.empty_table(), counts
    flow = None
    if options.flow != "none":
        flow = video_flow(frames, options.flow, stillness=options.stillness, num_fields=plan.num_frames)
    masks = plan.read_masks(indices[: plan.num_frames]) if plan.masks else None
    recorded, frames, size = recorded[: plan.num_frames], frames[: plan.num_frames], options.patch_size
    known = {key: getattr(plan.entry, key) for key in ("culture", "cell_type", "density", "maturity", "day")}
    rows, hashes = [], []
    rejected: Counter[str] = Counter()
    for y, x in grid:
        area = np.s_[:, y : y + size, x : x + size]
        reason = None
        if options.reject:
            saturated = plan.saturated_values
            reason = reject_reason(frames[area], plan.noise, recorded=recorded[area], saturated_values=saturated)
        if reason:
            rejected[reason] += 1
            continue
        hashes.append(hashlib.sha256(frames[area].tobytes()).hexdigest())
        row = encode_row(
            features,
            frames=frames[area],
            flow=None if flow is None else flow[area],
            masks=None if masks is None else masks[area],
            x=x,
            y=y,
            t0=t0,
            frame_stride=plan.stride,
            recording=plan.entry.name,
            pixel_size_um=plan.pixel_size_um,
            frame_interval_min=plan.frame_interval_min,
            **known,
        )
        rows.append(row)
    table = pa.Table.from_pylist(rows, schema=features.arrow_schema)
    return table, {"candidates": len(grid), "rejected": dict(rejected), "hashes": hashes}
