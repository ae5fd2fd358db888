"""`cellvid`, the command-line interface. Each command imports what it needs when it runs."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .cpu_memory import keep_freed_memory

app = typer.Typer(
    name="cellvid",
    help="Learn, synthesise and measure time-lapse video of living cells and its optical flow.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

CHECKPOINT = "checkpoints/cellvid-tiny"
Out = Annotated[Path, typer.Option("--out", help="Folder to write to.")]
STILLNESS_HELP = (
    "Pyramid only: how strongly the flow of blank background is pulled to zero, in grey levels of 255; default 2. "
    "Faint cells are slowed too; 0 follows all motion, including a shift of the whole frame."
)
Seed = Annotated[int, typer.Option(help="Clip i is made with seed SEED + i.")]


def one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Report a user error (`ValueError`, `OSError`) in one line, without a traceback, and exit with code 1."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (ValueError, OSError) as error:
            print(f"cellvid: {' '.join(str(error).split())}", file=sys.stderr)
            raise typer.Exit(1) from error

    return run


@app.callback()
def start() -> None:
    """Prepare the process for any command."""
    keep_freed_memory()


@app.command()
@one_line_errors
def generate(
    out: Out,
    checkpoint: Annotated[str, typer.Option(help="Folder of a pipeline, or its Hub id.")] = CHECKPOINT,
    num_videos: Annotated[int, typer.Option(min=1, help="Number of clips.")] = 1,
    num_frames: Annotated[
        int | None,
        typer.Option(min=1, help="Frames per clip; default: the checkpoint's. More are rolled out."),
    ] = None,
    height: Annotated[int | None, typer.Option(help="Height in pixels; default: the checkpoint's.")] = None,
    width: Annotated[int | None, typer.Option(help="Width in pixels; default: the checkpoint's.")] = None,
    num_inference_steps: Annotated[
        int, typer.Option(min=1, help="Denoising steps; distilled checkpoints take their own.")
    ] = 25,
    cell_type: Annotated[
        str | None, typer.Option(help="Cell type: t98g or u373 in the embedded checkpoints; default: drawn at random.")
    ] = None,
    density: Annotated[
        str | None,
        typer.Option(help="How crowded: sparse, moderate or dense in the embedded ones; default: drawn at random."),
    ] = None,
    maturity: Annotated[
        str | None, typer.Option(help="Age of the culture, if the checkpoint knows it; the embedded ones do not.")
    ] = None,
    guidance_scale: Annotated[
        float, typer.Option(help="How strongly the classes are enforced (classifier-free guidance); 1 is none.")
    ] = 1.0,
    motion_guidance_scale: Annotated[
        float | None, typer.Option(help="How closely the video follows its flow; default: the checkpoint's.")
    ] = None,
    num_restarts: Annotated[
        int | None,
        typer.Option(min=0, help="How often a clip is partly noised and denoised again; default: the checkpoint's."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Clips made at a time; does not change them.")] = 4,
    seed: Seed = 0,
    annotate: Annotated[bool, typer.Option("--annotate", help="Also write masks, tracks, outlines, tables.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, mps; default: a GPU if there is one.")] = None,
) -> None:
    """Synthesise clips with their flow: video_00000.ome.tif, flow_00000.npy and previews."""
    from .generation import generate_clips

    if checkpoint == CHECKPOINT and not Path(checkpoint).is_dir():
        raise ValueError(f"{CHECKPOINT} is not in {Path.cwd()}: run it in the repository, or say --checkpoint")
    generate_clips(
        out,
        checkpoint=checkpoint,
        num_videos=num_videos,
        batch_size=batch_size,
        seed=seed,
        annotate=annotate,
        device=device,
        num_frames=num_frames,
        height=height,
        width=width,
        num_inference_steps=num_inference_steps,
        cell_type=cell_type,
        density=density,
        maturity=maturity,
        guidance_scale=guidance_scale,
        motion_guidance_scale=motion_guidance_scale,
        num_restarts=num_restarts,
    )


def plane(z: str | None) -> int | str | None:
    """Parse a plane as the user types it: a number or a word."""
    return int(z) if z and z.isdecimal() else z


@app.command()
@one_line_errors
def prepare(
    context: typer.Context,
    out: Out,
    recordings: Annotated[
        list[Path] | None,
        typer.Argument(
            help="TIFF, OME-TIFF, AVI, MP4, ND2, CZI, LIF, OME-Zarr, or folders of numbered pictures; "
            "default: all that the sidecar lists."
        ),
    ] = None,
    patch_size: Annotated[int, typer.Option(help="Side of a patch in pixels.")] = 128,
    num_frames: Annotated[int, typer.Option(help="Frames per patch; training draws shorter windows.")] = 10,
    overlap: Annotated[float, typer.Option(help="Fraction of a patch's side shared by neighbours.")] = 0.25,
    frame_stride: Annotated[str, typer.Option(help="Keep every n-th frame; auto measures the motion.")] = "1",
    target_speed: Annotated[
        float,
        typer.Option(help="With --frame-stride auto: median speed of moving pixels, in px per kept frame."),
    ] = 1.0,
    flow: Annotated[
        str,
        typer.Option(help="pyramid (accurate), dis (fast), paper (the paper's, blind to most motion) or none."),
    ] = "pyramid",
    stillness: Annotated[float | None, typer.Option(min=0, help=STILLNESS_HELP)] = None,
    downscale: Annotated[int, typer.Option(help="Average n x n pixels into one.")] = 1,
    channel: Annotated[int | None, typer.Option(help="Channel to read, where files hold several.")] = None,
    z: Annotated[str | None, typer.Option(help="Plane to read, max or mean, where files hold several.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="paper: its settings (128 px, 120 frames); explicit options win.")
    ] = None,
    sidecar: Annotated[Path | None, typer.Option(help="recordings.yaml or .csv with metadata of each file.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder that the sidecar's files are relative to.")] = None,
    validation: Annotated[
        list[str] | None, typer.Option(help="Name of a recording for validation; repeatable.")
    ] = None,
    equalize: Annotated[bool, typer.Option(help="Remove flicker.")] = True,
    flatten: Annotated[bool, typer.Option("--flatten", help="Correct uneven illumination.")] = False,
    register: Annotated[bool, typer.Option("--register", help="Correct stage drift.")] = False,
    reject: Annotated[bool, typer.Option(help="Leave out empty, saturated, frozen, blank, duplicate patches.")] = True,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 1,
    engine: Annotated[str, typer.Option(help="local, or dask (extra dask).")] = "local",
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler.")] = None,
    push_to_hub: Annotated[
        str | None, typer.Option("--push-to-hub", "--push_to_hub", help="Hub id to upload the data set to.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Upload to a private repository.")] = False,
) -> None:
    """Turn recordings into a data set of patches and flow. If interrupted, the same command resumes."""
    from .data import PRESETS, push_patches
    from .data import prepare as prepare_recordings

    if preset is not None and preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset}")
    if frame_stride != "auto" and not frame_stride.isdecimal():
        raise ValueError(f"frame_stride must be a number or auto, got {frame_stride}")
    options: dict[str, Any] = {
        "patch_size": patch_size,
        "num_frames": num_frames,
        "overlap": overlap,
        "frame_stride": frame_stride if frame_stride == "auto" else int(frame_stride),
        "target_speed": target_speed,
        "flow": flow,
        "stillness": stillness,
        "downscale": downscale,
        "equalize": equalize,
        "flatten": flatten,
        "register": register,
        "reject": reject,
    }
    sources = {name: context.get_parameter_source(name) for name in options}
    typed = {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}
    if "target_speed" in typed and frame_stride != "auto":
        raise ValueError(f"target_speed needs --frame-stride auto, got {frame_stride}")
    if scheduler is not None and engine != "dask":
        raise ValueError(f"scheduler needs --engine dask, got {engine}")
    options |= {name: value for name, value in (PRESETS[preset] if preset else {}).items() if name not in typed}
    try:
        report = prepare_recordings(
            recordings or [],
            out,
            channel=channel,
            z=plane(z),
            sidecar=sidecar,
            root=root,
            validation=validation or (),
            workers=workers,
            engine=engine,
            scheduler=scheduler,
            **options,
        )
    except KeyboardInterrupt:
        print("cellvid: interrupted; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130) from None
    for line in report.notes + report.errors:
        print(f"cellvid: {line}", file=sys.stderr)
    counts = ", ".join(f"{rows} {split}" for split, rows in report.rows.items() if rows)
    left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(report.rejected.items())) or "none"
    print(f"Wrote {counts} patches to {out}; of {report.candidates} cut, left out: {left_out}")
    if push_to_hub:
        try:
            push_patches(out, push_to_hub, private=private)
        except Exception as error:  # the Hub's client fails in many ways
            again = f"cellvid_diffusers.data.push_patches({str(out)!r}, {push_to_hub!r}) tries again"
            raise ValueError(f"{out} is written, but could not be pushed ({error}): {again}") from error
        print(f"Pushed to {push_to_hub}")
    if report.errors:
        raise typer.Exit(1)


@app.command()
@one_line_errors
def simulate(
    out: Out,
    num_videos: Annotated[int, typer.Option(min=1, help="Number of clips.")] = 1,
    size: Annotated[int, typer.Option(help="Side in pixels.")] = 128,
    num_frames: Annotated[int, typer.Option(help="Frames of each clip.")] = 10,
    density: Annotated[str, typer.Option(help="very_sparse, sparse, moderate, dense or very_dense.")] = "moderate",
    maturity: Annotated[str, typer.Option(help="very_young, mature or very_mature.")] = "mature",
    pixel_size_um: Annotated[float, typer.Option(help="Micrometres per pixel.")] = 1.0,
    frame_interval_min: Annotated[float, typer.Option(help="Minutes between frames.")] = 10.0,
    seed: Seed = 0,
) -> None:
    """Simulate cultures with known masks, tracks, neurites and flow."""
    from .data import write_simulated

    write_simulated(
        out,
        num_videos=num_videos,
        size=size,
        num_frames=num_frames,
        density=density,
        maturity=maturity,
        pixel_size_um=pixel_size_um,
        frame_interval_min=frame_interval_min,
        seed=seed,
    )
    print(f"Wrote {num_videos} simulated clip(s) to {out}")


@app.command()
@one_line_errors
def flow(
    recording: Annotated[Path, typer.Argument(help="Recording to measure.")],
    out: Out,
    mode: Annotated[
        str, typer.Option(help="pyramid (accurate), dis (fast) or paper (the paper's, blind to most motion).")
    ] = "pyramid",
    channel: Annotated[int | None, typer.Option(help="Channel to read, where the file holds several.")] = None,
    z: Annotated[str | None, typer.Option(help="Plane to read, max or mean, where the file holds several.")] = None,
    downscale: Annotated[int, typer.Option(help="Average n x n pixels into one.")] = 1,
    equalize: Annotated[bool, typer.Option(help="Remove flicker, which would be measured as motion.")] = True,
    stillness: Annotated[float | None, typer.Option(min=0, help=STILLNESS_HELP)] = None,
) -> None:
    """Measure the optical flow of a recording: flow.npy (F-1, H, W, 2) in pixels per frame, and a colour preview."""
    from .data import read_recording, write_flow

    opened = read_recording(recording, channel=channel, z=plane(z), downscale=downscale)
    blank = write_flow(opened, out, mode, equalize=equalize, stillness=stillness)
    print(f"Wrote {len(opened.frames) - 1} flow fields to {out}")
    if blank:
        print(f"cellvid: frames {blank} show nothing: the flow to and from them is no motion", file=sys.stderr)


@app.command()
@one_line_errors
def segment(
    recording: Annotated[Path, typer.Argument(help="Recording to segment.")],
    out: Out,
    channel: Annotated[int | None, typer.Option(help="Channel to read, where the file holds several.")] = None,
    z: Annotated[str | None, typer.Option(help="Plane to read, max or mean, where the file holds several.")] = None,
    downscale: Annotated[
        int, typer.Option(help="Average n x n pixels into one; masks, outlines and px are then of these.")
    ] = 1,
    pixel_size_um: Annotated[
        float | None, typer.Option(help="Micrometres per pixel of the file; overrides its metadata.")
    ] = None,
    frame_interval_min: Annotated[float | None, typer.Option(help="Minutes between its frames; likewise.")] = None,
) -> None:
    """Segment and track the cells of a recording: masks/ (Cell Tracking Challenge), rois.zip (ImageJ), outlines.mp4,
    cells.csv, neurites.csv and tracks.csv, in px and, where the scale is known, in µm and µm/min. The recording is
    held in memory, with some 45 bytes a pixel and frame."""
    from .evaluation.annotation import annotate_recording

    count = annotate_recording(
        recording,
        out,
        channel=channel,
        z=plane(z),
        downscale=downscale,
        pixel_size_um=pixel_size_um,
        frame_interval_min=frame_interval_min,
    )
    print(f"Wrote {count} tracks to {out}")


@app.command()
@one_line_errors
def evaluate(
    real: Annotated[str, typer.Argument(help="Real clips: a data set's folder or name, or a folder of TIFF stacks.")],
    synth: Annotated[str, typer.Argument(help="Synthetic clips, likewise.")],
    out: Out,
    train: Annotated[
        str | None, typer.Option(help="Training data of the model, to search for copies; default: REAL's train split.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split of REAL; default: test, else validation, else train.")
    ] = None,
    crop: Annotated[bool, typer.Option("--crop", help="Crop the larger clips to the size of the smaller.")] = False,
    keep_mix: Annotated[
        bool, typer.Option("--keep-mix", help="Do not match the cell types of SYNTH to REAL's.")
    ] = False,
    omit_real_frames: Annotated[
        bool, typer.Option("--omit-real-frames", help="Keep recorded frames out of the report.")
    ] = False,
    learned: Annotated[bool, typer.Option("--learned", help="Add FVD, KVD, FID and KID (extra learned).")] = False,
    max_clips: Annotated[int, typer.Option(min=4, help="Most clips of each set; larger sets are sampled.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of random choices and resampling.")] = 0,
) -> None:
    """Measure how realistic synthetic clips are, and with what certainty: report.html, report.json, and tables."""
    from .evaluation import evaluate as evaluate_clips

    evaluate_clips(
        real,
        synth,
        out,
        train=train,
        split=split,
        crop=crop,
        omit_real_frames=omit_real_frames,
        match_mix=not keep_mix,
        learned=learned,
        max_clips=max_clips,
        seed=seed,
    )
    print(f"Wrote {out / 'report.html'}")


if __name__ == "__main__":
    app()
