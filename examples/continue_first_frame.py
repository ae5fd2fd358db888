"""Go on from one frame: `python examples/continue_first_frame.py FRAME.tif --out out/continued`.

The frame is grey, of any bit depth, and as large as the checkpoint's clips (64 x 64 pixels for cellvid-tiny, at about
1.3 to 1.7 micrometres a pixel). Without one, the first frame of a generated clip is taken.
"""

import argparse
from pathlib import Path

import numpy as np
import tifffile
import torch

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.io import contact_sheet

CHECKPOINT = Path(__file__).parent.parent / "checkpoints" / "cellvid-tiny"


def main() -> None:
    """Draw three futures of the same frame."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("frame", nargs="?", type=Path)
    parser.add_argument("--checkpoint", default=CHECKPOINT)
    parser.add_argument("--cell-type", default="u373")
    parser.add_argument("--out", type=Path, default=Path("out/continued"))
    options = parser.parse_args()
    pipe = CellVideoPipeline.from_pretrained(options.checkpoint)
    if options.frame is None:
        frame = pipe(cell_type=options.cell_type, generator=torch.Generator().manual_seed(0)).frames[0, 0]
    else:
        frame = tifffile.imread(options.frame).astype(np.float32)
        frame = (frame - frame.min()) / max(float(frame.max() - frame.min()), 1e-6)
    out = pipe(first_frame=frame, cell_type=options.cell_type, batch_size=3, generator=torch.Generator().manual_seed(1))
    options.out.mkdir(parents=True, exist_ok=True)
    contact_sheet(out.frames, out.flow, path=options.out / "futures.png")
    print(f"Wrote {options.out / 'futures.png'}: three futures of one frame, and their flow")


if __name__ == "__main__":
    main()
