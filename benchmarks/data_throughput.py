"""How fast data is prepared and read: patches/s of `prepare`, the share that flow takes, and clips/s of the loaders.

python benchmarks/data_throughput.py            # a simulated recording, in a temporary folder
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from torch.utils.data import DataLoader

from cellvid_diffusers.data import ClipDataset, ClipStream, ClipTransform, Scales, load_patches, prepare
from cellvid_diffusers.simulation import simulate


def prepared_per_second(recording: Path, out: Path, **options) -> float:
    """Patches per second of a preparation, start of the workers included."""
    start = time.perf_counter()
    report = prepare([recording], out, progress=False, reject=False, **options)
    return sum(report.rows.values()) / (time.perf_counter() - start)


def read_per_second(clips, workers: int, count: int = 400) -> float:
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = folder / "recording.tif"
        tile = np.asarray(simulate(num_frames=60, size=160, seed=0).video)
        tifffile.imwrite(recording, np.tile(tile, (1, 2, 2)), metadata={"axes": "TYX"})
        print("60 frames of 320 x 320, rows of 30 x 128 x 128\n\n| workers | flow | patches/s |\n|---|---|---|")
        speeds = {}
        for workers in (1, 2):
            for flow in ("pyramid", "dis", "none"):
                out = folder / f"{flow}-{workers}"
                speeds[workers, flow] = prepared_per_second(recording, out, num_frames=30, flow=flow, workers=workers)
                print(f"| {workers} | {flow} | {speeds[workers, flow]:.2f} |")
        share = 1 - speeds[1, "pyramid"] / speeds[1, "none"]
        print(f"\nFlow takes {100 * share:.0f} % of the preparation with one worker.\n")
        rows = load_patches(folder / "pyramid-1")
        options = {"num_frames": 10, "size": 64, "scales": Scales(), "length": 100_000}
        stream = ClipStream(
            load_patches(folder / "pyramid-1", streaming=True).repeat(200),
            scales=Scales(),
            transform=ClipTransform(num_frames=10, size=64),
        )
        kinds = {
            "preloaded": ClipDataset(rows, **options),
            "from disk, wanted window only": ClipDataset(rows, preload=False, **options),
            "streamed": stream,
        }
        print("Clips of 10 x 64 x 64 at any angle\n\n| loader | 0 workers | 1 worker | 2 workers |\n|---|---|---|---|")
        for kind, clips in kinds.items():
            print(f"| {kind} | " + " | ".join(f"{read_per_second(clips, n):.0f}/s" for n in (0, 1, 2)) + " |")


if __name__ == "__main__":
    main()
