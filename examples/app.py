"""A web page that generates clips: `pip install -e ".[app]"`, then `python examples/app.py`.

The page is served to this computer only; `--checkpoint` takes a folder or a Hub id.
"""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.generation import CALIBRATION, write_clip
from cellvid_diffusers.pipelines import roll_out
from cellvid_diffusers.pipelines.classes import value_of

if TYPE_CHECKING:
    from gradio import Blocks

CHECKPOINT = Path(__file__).parent.parent / "checkpoints" / "cellvid-tiny"
DRAWN = "drawn from the training mix"


def make_clip(
    pipe: CellVideoPipeline, classes: dict[str, str | None], num_frames: int, seed: int, first_frame: np.ndarray | None
) -> tuple[str, str | None, list[str], str]:
    """Generate a clip; return the paths of its GIF, of its flow's GIF (`None` for a video-only model) and of the files
    to download, and a description."""
    generator = torch.Generator().manual_seed(seed)
    frame = None if first_frame is None else cut_to_size(first_frame, pipe.unet.config.sample_size)
    out = roll_out(pipe, num_frames, first_frame=frame, generator=generator, **classes)
    known: dict[str, Any] = out.classes[0] if out.classes else {}
    folder = Path(tempfile.mkdtemp(prefix="cellvid-"))
    calibration = {name: value_of(pipe.config, name, known.get("cell_type")) for name in CALIBRATION}
    video = (out.frames[0] * 255).round().astype(np.uint8)
    flow = None if out.flow is None else out.flow[0]
    write_clip(folder, 0, video, flow, **calibration, annotate=False)
    files = [str(folder / name) for name in ("video_00000.ome.tif", "video_00000.mp4")]
    told = ", ".join(name for name in known.values() if name) or "classes left open"
    if flow is None:
        return str(folder / "video_00000.gif"), None, files, told
    speed = np.linalg.norm(flow, axis=-1)
    told += f"; median speed {np.median(speed):.2f}, fastest hundredth {np.percentile(speed, 99):.2f} px/frame"
    files.append(str(folder / "flow_00000.npy"))
    return str(folder / "video_00000.gif"), str(folder / "flow_00000.gif"), files, told


def cut_to_size(picture: np.ndarray, side: int) -> np.ndarray:
    """Cut the middle `(side, side)` out of an 8-bit grey picture, in [0, 1]."""
    if min(picture.shape) < side:
        raise ValueError(f"first frame must be at least {side} px a side, got {picture.shape}")
    y, x = ((length - side) // 2 for length in picture.shape)
    return picture[y : y + side, x : x + side].astype(np.float32) / 255


def build_page(pipe: CellVideoPipeline) -> "Blocks":
    """Build the page: the request on the left, the clip and its flow on the right."""
    import gradio as gr

    kinds: dict[str, list[str]] = pipe.config.class_names or {}

    def make(num_frames: float, seed: float, first_frame: np.ndarray | None, *asked: str) -> tuple:
        classes = {kind: None if name == DRAWN else name for kind, name in zip(kinds, asked, strict=True)}
        try:
            return make_clip(pipe, classes, int(num_frames), int(seed), first_frame)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error

    with gr.Blocks(title="cellvid_diffusers", analytics_enabled=False) as page:
        gr.Markdown("# Clips of living cells, and how they move\nEvery clip is generated; none is a recording.")
        with gr.Row():
            with gr.Column():
                asked = [gr.Dropdown([DRAWN, *names], label=kind.replace("_", " ")) for kind, names in kinds.items()]
                num_frames = gr.Slider(2, 60, 10, step=1, label="frames")
                seed = gr.Number(0, precision=0, label="seed")
                first_frame = gr.Image(image_mode="L", label="first frame to go on from, if any")
                button = gr.Button("Make a clip", variant="primary")
            with gr.Column():
                video = gr.Image(type="filepath", label="video, at stretched contrast")
                flow = gr.Image(type="filepath", label="flow: hue is direction, strength is speed")
                told = gr.Textbox(label="what was made")
                files = gr.Files(label="OME-TIFF with grey values as they are, MP4, flow in px/frame")
        button.click(make, [num_frames, seed, first_frame, *asked], [video, flow, files, told])
    return page


def main() -> None:
    """Serve the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default=CHECKPOINT)
    options = parser.parse_args()
    pipe = CellVideoPipeline.from_pretrained(options.checkpoint)
    pipe.to("cuda" if torch.cuda.is_available() else "cpu")
    build_page(pipe).launch()


if __name__ == "__main__":
    main()
