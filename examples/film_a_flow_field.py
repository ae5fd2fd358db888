"""Generate video for a synthetic flow field: cells in the middle move right, those around them stand still.

python examples/film_a_flow_field.py --speed 1.5 --out out/flow_to_video
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.flow import dis_flow
from cellvid_diffusers.io import contact_sheet

CHECKPOINT = Path(__file__).parent.parent / "checkpoints" / "cellvid-tiny"


def main() -> None:
    """Generate videos for the flow field and measure their motion."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default=CHECKPOINT)
    parser.add_argument("--cell-type", help="one that the checkpoint knows")
    parser.add_argument("--speed", type=float, default=1.5, help="pixels per frame")
    parser.add_argument("--out", type=Path, default=Path("out/flow_to_video"))
    options = parser.parse_args()
    pipe = CellVideoPipeline.from_pretrained(options.checkpoint)
    known = (pipe.config.class_names or {}).get("cell_type", [])
    cell_type = options.cell_type or ("t98g" if "t98g" in known else None)
    size, frames = pipe.unet.config.sample_size, 10
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    bump = np.exp(-(rows**2 + columns**2) / (2 * 0.2**2))
    flow = np.zeros((frames, size, size, 2), np.float32)
    flow[..., 0] = options.speed * bump
    out = pipe(flow=flow, cell_type=cell_type, batch_size=4, generator=torch.Generator().manual_seed(0))
    options.out.mkdir(parents=True, exist_ok=True)
    contact_sheet(out.frames, out.flow, path=options.out / "filmed.png")
    measured = np.stack([np.asarray(dis_flow(each)) for each in out.frames])[:, 0]  # u: (clips, frames - 1, H, W)
    middle = bump > 0.5
    print(f"asked for {flow[0, middle, 0].mean():.2f} px/frame to the right in the middle")
    print(f"measured  {measured[:, :, middle].mean():.2f} there, {measured[:, :, ~middle].mean():.2f} around it")


if __name__ == "__main__":
    main()
