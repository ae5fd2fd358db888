"""Generate cell videos with their motion from the embedded checkpoints: `make demo`, or `python examples/demo.py`."""

from pathlib import Path

from cellvid_diffusers.cpu_memory import keep_freed_memory
from cellvid_diffusers.generation import generate_clips

ROOT = Path(__file__).parent.parent
DEMO = Path("out/demo")
SMALL = {"cell_type": ["t98g", "u373", "t98g", "u373"], "density": ["dense"] * 4}  # other small fields are half empty
LARGE = {"cell_type": ["t98g", "u373"], "density": ["moderate", "dense"]}

if __name__ == "__main__":
    keep_freed_memory()
    for name, out, asked in (("cellvid-tiny", DEMO, SMALL), ("cellvid-base", DEMO / "cellvid-base", LARGE)):
        checkpoint, count = ROOT / "checkpoints" / name, len(asked["cell_type"])
        generate_clips(out, checkpoint=checkpoint, num_videos=count, num_frames=10, seed=0, **asked)
    print("Start with the two contact_sheet.png: each row is a clip, the colours under it are its motion.")
    for path in sorted(path for path in DEMO.rglob("*") if path.is_file()):
        print(f"  {path}")
