"""Show real clips next to generated ones. Needs the recordings: no real frame is part of this repository.

python examples/real_beside_generated.py data/tiny --split validation --out out/beside
"""

import argparse
from pathlib import Path

import torch

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.data import ClipDataset, load_patches
from cellvid_diffusers.io import contact_sheet

CHECKPOINT = Path(__file__).parent.parent / "checkpoints" / "cellvid-tiny"


def main() -> None:
    """Draw four real and four generated clips of the same cell types, with their flow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset_name", help="folder or Hub id of a patch data set")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--checkpoint", default=CHECKPOINT)
    parser.add_argument("--out", type=Path, default=Path("out/beside"))
    options = parser.parse_args()
    rows = load_patches(options.dataset_name, options.split)
    pipe = CellVideoPipeline.from_pretrained(options.checkpoint)
    names, size = (pipe.config.class_names or {}).get("cell_type", []), pipe.unet.config.sample_size
    clips = ClipDataset(
        rows, size=size, class_columns={"cell_type": names} if names else {}, balance="cell_type" if names else None
    )
    items = [clips[index] for index in range(4)]
    real = torch.stack([clips.scales.denormalize(item["video"]) for item in items])
    numbers = [int(item["class_labels"][0]) for item in items] if names else [-1] * 4
    kinds = [names[number] if number >= 0 else None for number in numbers]  # -1 is unknown: left to be drawn
    generator = [torch.Generator().manual_seed(seed) for seed in range(4)]
    drawn = pipe(batch_size=4, cell_type=kinds, generator=generator)
    made = [each.get("cell_type") for each in drawn.classes or [{}] * 4]
    videos = [*real[:, 0].numpy(), *drawn.frames]
    flows = None if drawn.flow is None else [*real[:, 1:].permute(0, 2, 3, 4, 1).numpy(), *drawn.flow]
    labels = [f"{side}\n{kind or ''}" for side, row in (("real", kinds), ("made", made)) for kind in row]
    options.out.mkdir(parents=True, exist_ok=True)
    contact_sheet(videos, flows, path=options.out / "beside.png", labels=labels)
    print(f"Wrote {options.out / 'beside.png'}")


if __name__ == "__main__":
    main()
