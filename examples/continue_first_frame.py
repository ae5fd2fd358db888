"""Continue one frame: `python examples/continue_first_frame.py RECORDING.tif --downscale 2 --out out/continued`.

Takes the middle of the recording's first frame, as large as the checkpoint's clips (64 x 64 pixels for cellvid-tiny, at
about 1.7 to 2 micrometres per pixel), or, without a recording, the first frame of a generated clip.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.data import read_recording
from cellvid_diffusers.io import contact_sheet

CHECKPOINT = Path(__file__).parent.parent / "checkpoints" / "cellvid-tiny"


def main() -> None:
    """Generate three futures of the same frame."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", nargs="?", type=Path)
    parser.add_argument("--checkpoint", default=CHECKPOINT)
    parser.add_argument("--cell-type", help="one that the checkpoint knows")
    parser.add_argument("--downscale", type=int, default=1, help="average n x n pixels of the recording")
    parser.add_argument("--out", type=Path, default=Path("out/continued"))
    options = parser.parse_args()
    recording = options.recording and read_recording(options.recording, downscale=options.downscale)
    pipe = CellVideoPipeline.from_pretrained(options.checkpoint)
    known = (pipe.config.class_names or {}).get("cell_type", [])
    cell_type = options.cell_type or ("u373" if "u373" in known else None)
    if recording is None:
        frame = pipe(cell_type=cell_type, generator=torch.Generator().manual_seed(0)).frames[0, 0]
    else:
        whole = recording.read([0])[0].astype(np.float32) / 255
        size = pipe.unet.config.sample_size
        if min(whole.shape) < size:
            parser.error(f"the recording must have at least {size} pixels a side, got {whole.shape}")
        y, x = ((side - size) // 2 for side in whole.shape)
        frame = whole[y : y + size, x : x + size]
    out = pipe(first_frame=frame, cell_type=cell_type, batch_size=3, generator=torch.Generator().manual_seed(1))
    options.out.mkdir(parents=True, exist_ok=True)
    contact_sheet(out.frames, out.flow, path=options.out / "futures.png")
    print(f"Wrote {options.out / 'futures.png'}: three futures of one frame, and their flow")


if __name__ == "__main__":
    main()
