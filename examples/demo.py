"""Generate cell videos with their motion from the embedded checkpoint: `make demo`, or `python examples/demo.py`."""

from pathlib import Path

from cellvid_diffusers.generation import generate_clips
from cellvid_diffusers.training_utils import keep_freed_memory

ROOT = Path(__file__).parent.parent
ASKED = {"cell_type": ["t98g", "u373", "t98g", "u373"], "density": ["dense", "dense", "moderate", "moderate"]}

if __name__ == "__main__":
    keep_freed_memory()
    out = Path("out/demo")
    generate_clips(out, checkpoint=ROOT / "checkpoints" / "cellvid-tiny", num_videos=4, num_frames=10, seed=0, **ASKED)
    print("Start with contact_sheet.png: each row is a clip, the colours under it are its motion.")
    for path in sorted(out.iterdir()):
        print(f"  {path}")
