"""Fill in missing frames: `python examples/fill_in_frames.py CLIP.tif` hides a clip's middle frames and generates them.

Takes the first ten frames of the recording and the middle of the picture. Without a recording, a clip is generated.
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
    """Compare the generated frames with linear blending of the given ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", nargs="?", type=Path)
    parser.add_argument("--checkpoint", default=CHECKPOINT)
    parser.add_argument("--cell-type", help="one that the checkpoint knows")
    parser.add_argument("--downscale", type=int, default=1, help="average n x n pixels of the recording")
    parser.add_argument("--out", type=Path, default=Path("out/filled_in"))
    options = parser.parse_args()
    recording = options.clip and read_recording(options.clip, downscale=options.downscale)
    pipe = CellVideoPipeline.from_pretrained(options.checkpoint)
    known = (pipe.config.class_names or {}).get("cell_type", [])
    cell_type = options.cell_type or ("t98g" if "t98g" in known else None)
    if recording is None:
        clip = pipe(cell_type=cell_type, generator=torch.Generator().manual_seed(3)).frames[0]
    else:
        frames = recording.read(slice(10)).astype(np.float32) / 255
        size = pipe.unet.config.sample_size
        if len(frames) < 10 or min(frames.shape[1:]) < size:
            parser.error(f"the recording must have 10 frames of {size} pixels a side at least, got {frames.shape}")
        y, x = ((side - size) // 2 for side in frames.shape[1:])
        clip = frames[:, y : y + size, x : x + size]
    given = np.array([1, 1, 1, 0, 0, 0, 0, 1, 1, 1], bool)
    generator = torch.Generator().manual_seed(4)
    drawn = pipe(frames=clip, frame_mask=given, cell_type=cell_type, generator=generator).frames[0]
    share = np.linspace(0, 1, 6)[1:-1, None, None]
    blended = clip.copy()
    blended[~given] = (1 - share) * clip[2] + share * clip[7]
    options.out.mkdir(parents=True, exist_ok=True)
    contact_sheet([clip, drawn, blended], path=options.out / "filled_in.png", labels=["whole", "drawn", "blended"])
    print(f"Wrote {options.out / 'filled_in.png'}")


if __name__ == "__main__":
    main()
