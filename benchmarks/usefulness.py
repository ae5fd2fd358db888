"""Do generated clips help when recordings are few? Frame prediction and segmentation, with and without them.

    python benchmarks/usefulness.py --train data/tiny --real data/tiny_validation --clips CLIPS \\
        --data_dir RECORDINGS --out docs/usefulness.md --figure docs/images/usefulness.png

Networks are trained on a share of the real training data: alone; with generated data; on generated data alone; on the
same real data repeated, for as many steps as with the generated data; or for as many steps with flips, rotations,
contrast and brightness. They are tested on held-out real data only. Differences are from the repeated real data, which
costs as much, with a 95 % interval over held-out groups and seeds, paired by both.

The model that generated the clips was trained on all of the real training clips, so at a small share its clips carry
information from the others: the small shares show what a finished checkpoint is worth to somebody with few recordings,
not what could be achieved from few recordings alone.
"""

import argparse
import os
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from low_data import Curve
from matplotlib import pyplot as plt
from predict_frames import skill_curves
from segment_frames import segmentation_curves

from cellvid_diffusers.evaluation.clips import load_clips

PREDICTION = """## Frame prediction

A small network sees three frames and predicts the frame {ahead} frames later: {real} real patches of {frames} frames,
{generated} generated clips, {held_out} held-out clips. Skill is 1 - (mean squared error) / (that of persistence or of
flow extrapolation); 0 is no better than these."""
SEGMENTATION = """## Segmentation

A small U-Net with the targets and the loss of the network in `segment_cells`, at 1.74 µm per pixel, tested only on
hand-drawn masks. Generated frames (first and last of each clip) are labelled by the network trained on the same real
share repeated; simulated frames, of the same number, come with ground truth."""


def draw(path: Path, curves: list[Curve]) -> None:
    """Draw a panel for every curve."""
    figure, axes = plt.subplots(1, len(curves), figsize=(5 * len(curves), 4), layout="constrained", squeeze=False)
    for axis, curve in zip(axes[0], curves, strict=True):
        curve.draw(axis)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="data set whose training split is real")
    parser.add_argument("--real", type=Path, required=True, help="data set whose validation split is held out")
    parser.add_argument("--clips", type=Path, required=True, help="generated clips: cellvid generate --out CLIPS")
    parser.add_argument("--data_dir", type=Path, help="recordings with hand-annotated frames, for segmentation")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.1, 0.25, 1.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600, help="of every arm but real alone, which takes fewer")
    parser.add_argument("--ahead", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--figure", type=Path, required=True)
    arguments = parser.parse_args()
    generated = load_clips(arguments.clips, max_clips=1000)
    size = generated.frames.shape[1:]
    real = load_clips(arguments.train, split="train", max_clips=1000)
    real = real.crop(real.frames.shape[1], *size[1:])
    held_out = load_clips(arguments.real, split="validation", max_clips=1000).crop(*size)

    budget = {"shares": sorted(arguments.shares), "seeds": arguments.seeds, "steps": arguments.steps}
    prediction = skill_curves(real, generated.frames, held_out, **budget, ahead=arguments.ahead)
    said = {"real": len(real), "frames": real.frames.shape[1], "generated": len(generated), "held_out": len(held_out)}
    sections = [PREDICTION.format(ahead=arguments.ahead, **said), *(curve.table() for curve in prediction)]
    shown = prediction[:1]
    if arguments.data_dir:
        segmentation = segmentation_curves(arguments.data_dir, generated.frames, **budget)
        sections += [SEGMENTATION, *(curve.table() for curve in segmentation)]
        shown += segmentation
    draw(arguments.figure, shown)
    picture = f"![Scores by share of real data]({os.path.relpath(arguments.figure, arguments.out.parent)})"
    run = f"{arguments.steps} steps (real alone: fewer, in proportion to its data), {arguments.seeds} seeds."
    arguments.out.write_text("\n\n".join([f"# {(__doc__ or '').strip()}", run, picture, *sections]) + "\n")
    print("\n\n".join(sections))


if __name__ == "__main__":
    main()
