"""A data set and a checkpoint that are small enough for a benchmark to run within seconds."""

from pathlib import Path

import numpy as np
import pytest
import torch
from launching import ROOT

from cellvid_diffusers import CellVideoPipeline, UNet3DModel, simulate
from cellvid_diffusers.data import patch_features, write_patches
from cellvid_diffusers.data.dataset import encode_row

TILES = [(y, x) for y in range(0, 256, 64) for x in range(0, 256, 64)]


@pytest.fixture(scope="session")
def patches(tmp_path_factory) -> Path:
    """Patches of 10 frames of 64 x 64 of one simulated culture, as a data set: 12 to train on and 4 held out, each a
    recording of its own."""
    culture = simulate(num_frames=10, size=256, seed=0)
    flow = np.concatenate([culture.flow, culture.flow[-1:]])
    features, rows = patch_features(["neuron"]), []
    for index, (y, x) in enumerate(TILES):
        area = np.s_[:, y : y + 64, x : x + 64]
        row = encode_row(
            features,
            frames=culture.video[area],
            flow=flow[area],
            x=x,
            y=y,
            t0=0,
            frame_stride=1,
            recording=f"part_{index}",
            cell_type="neuron",
        )
        rows.append(row)
    folder = tmp_path_factory.mktemp("benchmarks") / "patches"
    return write_patches({"train": rows[:12], "validation": rows[12:]}, folder, features)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """The embedded checkpoint with a tiny network of random weights in place of its own."""
    pipe = CellVideoPipeline.from_pretrained(ROOT / "checkpoints" / "cellvid-tiny")
    given = {name: value for name, value in pipe.unet.config.items() if not name.startswith("_")}
    small = {"block_out_channels": [8, 16], "spatial_attention": [False, True], "temporal_layers": ["conv", "both"]}
    torch.manual_seed(0)
    unet = UNet3DModel(**{**given, **small, "attention_head_dim": 8})
    for weights in unet.parameters():
        torch.nn.init.normal_(weights, std=0.05)
    folder = tmp_path_factory.mktemp("benchmarks") / "checkpoint"
    CellVideoPipeline.from_pipe(pipe, unet=unet).save_pretrained(folder)
    return folder
