"""Store a trained pipeline for a repository: `python training/export.py runs/tiny checkpoints/cellvid-tiny`.

Weights become float16 safetensors in shards of at most 15 MB; `from_pretrained` loads them as float32.
"""

import argparse
import json
from pathlib import Path

import torch

from cellvid_diffusers import CellVideoPipeline


def main() -> None:
    """Load, halve, save, and forget where the weights came from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    pipe = CellVideoPipeline.from_pretrained(options.source, dtype=torch.float16)
    pipe.save_pretrained(options.target, max_shard_size="15MB")
    for path in options.target.rglob("*.json"):
        content = json.loads(path.read_text())
        content.pop("_name_or_path", None)
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    size = sum(path.stat().st_size for path in options.target.rglob("*") if path.is_file())
    print(f"Wrote {options.target}, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
