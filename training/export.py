"""Export a trained pipeline for a repository: `python training/export.py runs/tiny checkpoints/cellvid-tiny`.

Weights become safetensors in shards of at most 10 MB: float16, or 8-bit floats for tensors of at least `LARGE` values.
`from_pretrained` loads both as float32.
"""

import argparse
import json
from pathlib import Path

import torch

from cellvid_diffusers import CellVideoPipeline

LARGE = 100_000
"""Tensors of at least this many values are rounded to 8 bits. The errors of up to 6 % (up to 1/1024 for values below
1/64) average out over so many values: the held-out loss of `cellvid-tiny` rises by at most a thousandth
(docs/training_log.md); with every tensor rounded it rises by 3 %."""


def main() -> None:
    """Load, round and save, without the path that the weights came from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    if not options.source.is_dir():
        parser.error(f"source must be a pipeline's folder, got {options.source}")
    pipe = CellVideoPipeline.from_pretrained(str(options.source)).to(torch.float16)
    for weights in pipe.unet.parameters():
        if weights.numel() >= LARGE:
            weights.data = weights.data.to(torch.float8_e4m3fn)
    for stale in options.target.glob("unet/diffusion_pytorch_model*"):  # an index, or more shards, of a larger model
        stale.unlink()
    pipe.save_pretrained(options.target, max_shard_size="10MB")
    for path in options.target.rglob("*.json"):
        content = json.loads(path.read_text())
        content.pop("_name_or_path", None)
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    size = sum(path.stat().st_size for path in options.target.rglob("*") if path.is_file())
    print(f"Wrote {options.target}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
