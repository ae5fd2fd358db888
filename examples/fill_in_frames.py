"""Fill in missing frames: `python examples/fill_in_frames.py` hides the middle of a clip and draws it again."""

from pathlib import Path

import numpy as np
import torch

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.io import contact_sheet

CHECKPOINT = Path(__file__).parent.parent / "checkpoints" / "cellvid-tiny"


def main() -> None:
    """Compare the drawn frames with linear blending of the given ones."""
    pipe = CellVideoPipeline.from_pretrained(CHECKPOINT)
    clip = pipe(cell_type="t98g", generator=torch.Generator().manual_seed(3)).frames[0]
    given = np.array([1, 1, 1, 0, 0, 0, 0, 1, 1, 1], bool)
    drawn = pipe(frames=clip, frame_mask=given, cell_type="t98g", generator=torch.Generator().manual_seed(4)).frames[0]
    share = np.linspace(0, 1, 6)[1:-1, None, None]
    blended = clip.copy()
    blended[~given] = (1 - share) * clip[2] + share * clip[7]
    folder = Path("out/filled_in")
    folder.mkdir(parents=True, exist_ok=True)
    contact_sheet([clip, drawn, blended], path=folder / "filled_in.png", labels=["whole", "drawn", "blended"])
    print(f"Wrote {folder / 'filled_in.png'}")


if __name__ == "__main__":
    main()
