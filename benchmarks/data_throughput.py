"""Speed of data preparation and loading: patches/s of `prepare`, the share spent on flow, and clips/s of the loaders.

    python benchmarks/data_throughput.py --out docs/data_throughput.md

The recording is simulated and stored in a temporary folder.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from markdown import table
from torch.utils.data import DataLoader, Dataset

from cellvid_diffusers.data import ClipDataset, ClipStream, ClipTransform, Scales, load_patches, prepare
from cellvid_diffusers.simulation import simulate


def prepared_per_second(recording: Path, out: Path, **options: Any) -> float:
    """Patches per second of a preparation, including the start of the workers."""
    start = time.perf_counter()
    report = prepare([recording], out, progress=False, reject=False, **options)
    return sum(report.rows.values()) / (time.perf_counter() - start)


def read_per_second(clips: Dataset, workers: int, count: int) -> float:
    """Clips per second of a loader, after its first batch."""
    batches = iter(DataLoader(clips, batch_size=8, num_workers=workers))
    next(batches)
    start, read = time.perf_counter(), 0
    for batch in batches:
        read += len(batch["video"])
        if read >= count:
            break
    return read / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=480, help="side of the recording")
    parser.add_argument("--frames", type=int, default=60, help="frames of the recording, at least 30")
    parser.add_argument("--reads", type=int, default=400, help="clips that each loader reads")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    size = arguments.size
    lines = [
        f"# {(__doc__ or '').strip()}\n",
        f"{arguments.frames} frames of {size} x {size} in patches of 30 x 128 x 128, {os.cpu_count()} cores:\n",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = folder / "recording.tif"
        tile = np.asarray(simulate(num_frames=arguments.frames, size=160, seed=0).video)
        repeats = -(-size // 160)
        tifffile.imwrite(recording, np.tile(tile, (1, repeats, repeats))[:, :size, :size], metadata={"axes": "TYX"})
        speeds = {}
        for workers in (1, 2):
            for flow in ("pyramid", "dis", "none"):
                out = folder / f"{flow}-{workers}"
                speeds[workers, flow] = prepared_per_second(recording, out, num_frames=30, flow=flow, workers=workers)
        rows = ([str(workers), flow, f"{speed:.2f}"] for (workers, flow), speed in speeds.items())
        lines.append(table(["workers", "flow", "patches/s"], rows))
        share = 1 - speeds[1, "pyramid"] / speeds[1, "none"]
        lines.append(f"\nFlow takes {100 * share:.0f} % of the preparation time with one worker.\n")
        patches = load_patches(folder / "pyramid-1")
        options = {"num_frames": 10, "size": 64, "scales": Scales(), "length": 100_000}
        stream = ClipStream(
            load_patches(folder / "pyramid-1", streaming=True).repeat(200),
            scales=Scales(),
            transform=ClipTransform(num_frames=10, size=64),
        )
        kinds = {
            "preloaded": ClipDataset(patches, **options),
            "from disk, requested window only": ClipDataset(patches, preload=False, **options),
            "streamed": stream,
        }
        lines.append("Random windows of 10 x 64 x 64, rotated by any angle:\n")
        rows = (
            [kind, *(f"{read_per_second(clips, workers, arguments.reads):.0f}/s" for workers in (0, 1, 2))]
            for kind, clips in kinds.items()
        )
        lines.append(table(["loader", "0 workers", "1 worker", "2 workers"], rows))
    arguments.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
