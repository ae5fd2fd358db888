"""`cellvid`: the package from the command line. Each command imports what it needs when it runs."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="cellvid",
    help="Learn, synthesise and measure time-lapse video of living cells and its optical flow.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Out = Annotated[Path, typer.Option("--out", help="Folder to write to.")]
Seed = Annotated[int, typer.Option(help="Clip i is made with seed SEED + i.")]


def one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Tell a user's mistake (`ValueError`, `OSError`) in one line, without a traceback, with exit code 1."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (ValueError, OSError) as error:
            print(f"cellvid: {' '.join(str(error).split())}", file=sys.stderr)
            raise typer.Exit(1) from error

    return run


@app.command()
@one_line_errors
def generate(
    out: Out,
    checkpoint: Annotated[str, typer.Option(help="Folder of a pipeline, or its Hub id.")] = "checkpoints/cellvid-tiny",
    num_videos: Annotated[int, typer.Option(min=1, help="Number of clips.")] = 1,
    num_frames: Annotated[int, typer.Option(min=1, help="Frames of each clip.")] = 10,
    height: Annotated[int | None, typer.Option(help="Height in pixels; the checkpoint's own without it.")] = None,
    width: Annotated[int | None, typer.Option(help="Width in pixels; the checkpoint's own without it.")] = None,
    num_inference_steps: Annotated[int, typer.Option(min=1, help="Denoising steps.")] = 25,
    cell_type: Annotated[str | None, typer.Option(help="Class that the checkpoint knows.")] = None,
    density: Annotated[str | None, typer.Option(help="Class that the checkpoint knows.")] = None,
    maturity: Annotated[str | None, typer.Option(help="Class that the checkpoint knows.")] = None,
    guidance_scale: Annotated[float, typer.Option(help="Classifier-free guidance; 1 is none.")] = 1.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Clips made at a time; changes no clip.")] = 4,
    seed: Seed = 0,
    annotate: Annotated[bool, typer.Option("--annotate", help="Write cell masks, tracks and outlines too.")] = False,
) -> None:
    """Synthesise clips with their flow: video_00000.ome.tif, flow_00000.npy and previews."""
    from .generation import generate_clips

    generate_clips(
        out,
        checkpoint=checkpoint,
        num_videos=num_videos,
        batch_size=batch_size,
        seed=seed,
        annotate=annotate,
        num_frames=num_frames,
        height=height,
        width=width,
        num_inference_steps=num_inference_steps,
        cell_type=cell_type,
        density=density,
        maturity=maturity,
        guidance_scale=guidance_scale,
    )


@app.command()
@one_line_errors
def prepare(
    recordings: Annotated[list[Path], typer.Argument(help="Recordings: TIFF, OME-TIFF, AVI, MP4, or a folder.")],
    out: Out,
    patch_size: Annotated[int, typer.Option(help="Side of a patch in pixels.")] = 128,
    num_frames: Annotated[int, typer.Option(help="Frames of a patch.")] = 10,
    overlap: Annotated[float, typer.Option(help="Share of a patch's side that neighbours have in common.")] = 0.25,
    frame_stride: Annotated[int, typer.Option(help="Keep every n-th frame.")] = 1,
    flow: Annotated[str, typer.Option(help="pyramid, paper or none.")] = "pyramid",
    downscale: Annotated[int, typer.Option(help="Average n x n pixels into one.")] = 1,
    sidecar: Annotated[Path | None, typer.Option(help="recordings.yaml with what is known of each file.")] = None,
) -> None:
    """Turn recordings into a patch + flow data set."""
    from .data import prepare as prepare_recordings

    prepare_recordings(
        recordings,
        out,
        patch_size=patch_size,
        num_frames=num_frames,
        overlap=overlap,
        frame_stride=frame_stride,
        flow=flow,
        downscale=downscale,
        sidecar=sidecar,
    )


@app.command()
@one_line_errors
def simulate(
    out: Out,
    num_videos: Annotated[int, typer.Option(min=1, help="Number of clips.")] = 1,
    size: Annotated[int, typer.Option(help="Side in pixels.")] = 128,
    num_frames: Annotated[int, typer.Option(help="Frames of each clip.")] = 10,
    density: Annotated[str, typer.Option(help="very_sparse, sparse, moderate, dense or very_dense.")] = "moderate",
    maturity: Annotated[str, typer.Option(help="very_young, mature or very_mature.")] = "mature",
    seed: Seed = 0,
) -> None:
    """Simulate cultures whose masks, tracks, neurites and flow are known."""
    from .data import write_simulated

    write_simulated(
        out, num_videos=num_videos, size=size, num_frames=num_frames, density=density, maturity=maturity, seed=seed
    )


@app.command()
@one_line_errors
def flow(
    recording: Annotated[Path, typer.Argument(help="Recording to measure.")],
    out: Out,
    mode: Annotated[str, typer.Option(help="pyramid or paper.")] = "pyramid",
) -> None:
    """Measure the optical flow of a recording: flow.npy (T, H, W, 2) in pixels per frame, and a colour preview."""
    import numpy as np

    from .data import read_recording
    from .flow import flow_to_rgb, horn_schunck
    from .io import write_gif

    frames = np.asarray(read_recording(recording).frames)
    motion = horn_schunck(frames, mode=mode).permute(1, 2, 3, 0).numpy()
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "flow.npy", motion)
    write_gif(out / "flow.gif", flow_to_rgb(motion), scale=1)
    print(f"Wrote {len(motion)} flow fields to {out}")


@app.command()
@one_line_errors
def evaluate(
    real: Annotated[str, typer.Argument(help="Real clips: a data set's folder or name, or a folder of TIFF stacks.")],
    synth: Annotated[str, typer.Argument(help="Synthetic clips, likewise.")],
    out: Out,
    train: Annotated[
        str | None, typer.Option(help="What the model was trained on, to search for copies; else REAL's train split.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of REAL; else test, validation or train.")] = None,
    crop: Annotated[bool, typer.Option("--crop", help="Cut the larger side to the size of the smaller.")] = False,
    omit_real_frames: Annotated[
        bool, typer.Option("--omit-real-frames", help="Keep recorded frames out of the report.")
    ] = False,
    learned: Annotated[bool, typer.Option("--learned", help="Add FVD, KVD, FID and KID.")] = False,
    max_clips: Annotated[int, typer.Option(min=4, help="Clips of each side; more are drawn from at random.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the random choices and the resampling.")] = 0,
) -> None:
    """Say how real synthetic clips are, and how sure that is: report.html, report.json, cells.csv, tracks.csv."""
    from .evaluation import evaluate as evaluate_clips

    evaluate_clips(
        real,
        synth,
        out,
        train=train,
        split=split,
        crop=crop,
        omit_real_frames=omit_real_frames,
        learned=learned,
        max_clips=max_clips,
        seed=seed,
    )
    print(f"Wrote {out / 'report.html'}")


if __name__ == "__main__":
    app()
