"""Real clips beside generated ones, for whoever has the recordings: no real frame is part of this repository.

python examples/real_beside_generated.py data/tiny --split validation --out out/beside
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.data import ClipDataset, load_patches
from cellvid_diffusers.io import contact_sheet

CHECKPOINT = Path(__file__).parent.parent / "checkpoints" / "cellvid-tiny"


def main() -> None:
    """Draw four clips of either side, with their flow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset_name", help="folder or Hub id of a patch data set")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--checkpoint", default=CHECKPOINT)
    parser.add_argument("--out", type=Path, default=Path("out/beside"))
    options = parser.parse_args()
    pipe = CellVideoPipeline.from_pretrained(options.checkpoint)
    drawn = pipe(batch_size=4, generator=[torch.Generator().manual_seed(seed) for seed in range(4)])
    frames, size = drawn.frames.shape[1:3]
    clips = ClipDataset(load_patches(options.dataset_name, options.split), num_frames=frames, size=size)
    real = torch.stack([clips.scales.denormalize(clips[index]["video"]) for index in range(4)])
    videos = [*real[:, 0].numpy(), *drawn.frames]
    flows = [*real[:, 1:].permute(0, 2, 3, 4, 1).numpy(), *drawn.flow]
    labels = [f"{side} {number}" for side in ("real", "made") for number in range(4)]
    options.out.mkdir(parents=True, exist_ok=True)
    contact_sheet(videos, [np.asarray(flow) for flow in flows], path=options.out / "beside.png", labels=labels)
    print(f"Wrote {options.out / 'beside.png'}")


if __name__ == "__main__":
    main()
