"""A long video from a model of ten frames: `python examples/long_video.py --num-frames 60`."""

import argparse
from pathlib import Path

import numpy as np
import torch

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.io import contact_sheet, write_gif
from cellvid_diffusers.pipelines import roll_out

CHECKPOINT = Path(__file__).parent.parent / "checkpoints" / "cellvid-tiny"


def main() -> None:
    """Roll out the model, window by window."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default=CHECKPOINT)
    parser.add_argument("--cell-type", help="one that the checkpoint knows")
    parser.add_argument("--num-frames", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("out/long_video"))
    options = parser.parse_args()
    pipe = CellVideoPipeline.from_pretrained(options.checkpoint)
    known = (pipe.config.class_names or {}).get("cell_type", [])
    cell_type = options.cell_type or ("t98g" if "t98g" in known else None)
    generator = [torch.Generator().manual_seed(seed) for seed in range(2)]
    out = roll_out(pipe, options.num_frames, batch_size=2, cell_type=cell_type, generator=generator)
    options.out.mkdir(parents=True, exist_ok=True)
    write_gif(options.out / "long_video.gif", np.concatenate(list(out.frames), axis=-1))
    contact_sheet(out.frames, out.flow, path=options.out / "long_video.png")
    print(f"Wrote {options.out}")


if __name__ == "__main__":
    main()
