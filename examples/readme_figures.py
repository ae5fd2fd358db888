"""Draw the README's pictures: uncurated clips of a checkpoint, one of each class, and their flow.

    python examples/readme_figures.py              # cellvid-tiny
    python examples/readme_figures.py cellvid-base

Each clip is shown at its own contrast, stretched fourfold at most.
"""

import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.flow import flow_to_rgb
from cellvid_diffusers.io import contact_sheet, stretch_contrast, write_gif

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
ASKED = list(itertools.product(("t98g", "u373"), ("dense", "moderate", "sparse")))
"""Cell type and density for each seed, from 0 on."""


def main(name: str = "cellvid-tiny") -> None:
    """Write `samples.gif` and `contact_sheet.webp` to `docs/images`, with the name of other checkpoints as prefix."""
    pipe = CellVideoPipeline.from_pretrained(ROOT / "checkpoints" / name)
    generator = [torch.Generator().manual_seed(seed) for seed in range(len(ASKED))]
    cell_types, densities = (list(names) for names in zip(*ASKED, strict=True))
    out = pipe(batch_size=len(ASKED), cell_type=cell_types, density=densities, generator=generator)
    video = np.stack([stretch_contrast(clip) for clip in out.frames])
    fastest = float(np.percentile(np.linalg.norm(out.flow, axis=-1), 99))
    colours = flow_to_rgb(out.flow, max_speed=fastest)
    grey = np.repeat(video[..., None], 3, axis=-1)
    beside = np.concatenate([np.concatenate(list(each), axis=2) for each in (grey, colours)], axis=1)
    IMAGES.mkdir(parents=True, exist_ok=True)
    prefix, scale = "" if name == "cellvid-tiny" else f"{name}_", max(1, 128 // video.shape[-1])
    write_gif(IMAGES / f"{prefix}samples.gif", beside, fps=5, scale=scale)
    labels = ["\n".join(names) for names in ASKED]
    with tempfile.TemporaryDirectory() as folder:
        sheet = Path(folder) / "sheet.png"
        contact_sheet(video, out.flow, path=sheet, labels=labels, max_frames=640 // video.shape[-1])
        with Image.open(sheet) as picture:  # a quarter of the size, and no visible difference
            picture.convert("RGB").save(IMAGES / f"{prefix}contact_sheet.webp", quality=90)


if __name__ == "__main__":
    main(*sys.argv[1:])
