"""Recordings in, training clips out: readers, patches, the data set and its scales, and random clips."""

from .card import PrepareReport
from .clip_bank import ClipBank
from .clips import ClipDataset, ClipStream
from .corrections import equalize_flicker
from .dataset import (
    DENSITIES,
    MATURITIES,
    decode_flow,
    decode_frames,
    load_patches,
    patch_features,
    write_patches,
)
from .hub import push_patches
from .motion import write_flow
from .patches import patch_grid
from .prepare import PRESETS, prepare
from .readers import Recording, read_recording
from .scales import Scales, minmax_normalize
from .sidecar import RecordingEntry, read_sidecar
from .simulated import write_simulated
from .transforms import ClipTransform

__all__ = [
    "DENSITIES",
    "MATURITIES",
    "PRESETS",
    "ClipBank",
    "ClipDataset",
    "ClipStream",
    "ClipTransform",
    "PrepareReport",
    "Recording",
    "RecordingEntry",
    "Scales",
    "decode_flow",
    "decode_frames",
    "equalize_flicker",
    "load_patches",
    "minmax_normalize",
    "patch_features",
    "patch_grid",
    "prepare",
    "push_patches",
    "read_recording",
    "read_sidecar",
    "write_flow",
    "write_patches",
    "write_simulated",
]
