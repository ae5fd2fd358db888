"""Write the measurements of `run.py` as Markdown."""

from typing import Any

from markdown import table
from networks import OURS


def markdown(results: dict[str, Any]) -> str:
    """The whole page."""
    parts = [heading(results), networks(results), limits(results)]
    for key, write in SECTIONS.items():
        if key in results:
            parts.append(write(results[key]))
    return "\n\n".join(parts) + "\n"


def seconds(row: dict[str, Any]) -> str:
    """Median, with the spread where there was more than one repeat."""
    if row["repeats"] == 1:
        return f"{short(row['seconds'])} (once)"
    return f"{short(row['seconds'])} ({short(row['fastest'])} to {short(row['slowest'])})"


def short(value: float) -> str:
    return f"{value:.2f} s" if 0.1 < value < 10 else f"{value:,.0f} s" if value >= 10 else f"{value * 1e3:.1f} ms"


def heading(results: dict[str, Any]) -> str:
    parts, alike = results["parts"], {}
    for name, part in parts.items():
        alike.setdefault(told(part), []).append((name, part["load"]))
    rows = "\n".join(
        f"* {', '.join(name for name, _ in each)}: {text}; machine load at the start "
        f"{', '.join(f'{load:.1f}' for _, load in each)}"
        for text, each in alike.items()
    )
    quick = [name for name, part in parts.items() if part["quick"]]
    shape = "4 x 32 x 32" if "networks" in quick else "10 x 128 x 128, one at a time"
    return f"""# Benchmarks

Written by `make bench` (`benchmarks/run.py`); the figures are in `benchmarks.json` beside this page. Nothing here is
typed by hand.

Measured, by part:

{rows}

Clips are {shape}. Candidates take turns in one process, after one warm-up round: median (fastest to slowest). \
Whatever takes longer than five seconds runs once. All of our code runs without `torch.compile`.\
{f" **Quick mode of {', '.join(quick)}: tiny sizes, no figure to quote.**" if quick else ""}"""


def told(part: dict[str, Any]) -> str:
    """Date, commit and hardware of the measurement of a part."""
    return (
        f"{part['date']}, commit {part['commit']}, {part['processor']}, {part['cores']} cores, torch {part['torch']}, "
        f"{part['threads']} thread(s) unless said otherwise, {part['repeats']} rounds"
    )


def networks(results: dict[str, Any]) -> str:
    rows = results["networks"]
    body = [
        [
            name,
            f"{row['parameters'] / 1e6:.1f} M",
            seconds(row["forward"]),
            seconds(row["training"]),
            f"{row['forward_gflops']:.0f}" if "forward_gflops" in row else "",
            f"{row['share_of_layer_rate']:.0%}" if "share_of_layer_rate" in row else "",
        ]
        for name, row in rows.items()
    ]
    head = ["network", "parameters", "forward", "training step", "forward, GFLOP/s", "share of the layers' own rate"]
    memory = [
        [
            name,
            task,
            f"{row['parameters_mb']:.0f}",
            f"{row['working_mb']:,.0f}",
            f"{row['resident_peak_mb']:,.0f}",
        ]
        for task, each in results["memory"].items()
        for name, row in each.items()
    ]
    return f"""## Networks

{table(head, body)}

The last column is the rate of the whole network as a share of the rate that its convolutions and matrix products reach
when run one by one, on the same shapes and in the same dtype, with nothing between them.

{chr(10).join(ratios(results))}

### Peak memory

{table(["network", "task", "parameters, MB", "activations, gradients, optimiser, MB", "peak resident, MB"], memory)}

Each in its own process; activations, gradients and optimiser: rise in resident memory from before the first call.

### A finished clip

{table(["sampler", "time per clip"], [[name, seconds(row)] for name, row in results["samples"].items()])}"""


def ratios(results: dict[str, Any]) -> list[str]:
    """How many times faster and smaller than each peer."""
    rows, lines = results["networks"], []
    for ours in (name for name in rows if name.startswith(OURS)):
        for peer in (name for name in rows if not name.startswith(OURS)):
            if ("bfloat16" in peer) and ("bfloat16" not in ours):
                continue
            faster = [rows[peer][task]["seconds"] / rows[ours][task]["seconds"] for task in ("forward", "training")]
            line = f"* {ours} against {peer}: forward {faster[0]:.0f} times, training step {faster[1]:.0f} times faster"
            memory = results["memory"]["training"]
            if ours in memory and peer in memory:
                share = memory[ours]["resident_peak_mb"] / memory[peer]["resident_peak_mb"]
                line += f", peak memory of the step {share:.0%}"
            lines.append(line + ".")
    return lines


def limits(results: dict[str, Any]) -> str:
    limit = results["limits"]
    body = [
        ["memory bandwidth (copy)", f"{limit['bandwidth_gb_per_s']:.1f} GB/s"],
        *[[f"matrix product 1024, {name}", f"{row['gflops']:.0f} GFLOP/s"] for name, row in limit["product"].items()],
        *[[f"layers of {name}", f"{rate / 1e9:.0f} GFLOP/s"] for name, rate in limit["layers"].items()],
    ]
    return f"## The machine's limits, measured in the same run\n\n{table(['limit', 'rate'], body)}"


def checkpoint(row: dict[str, Any]) -> str:
    body = [[name, seconds(each)] for name, each in row["rows"].items()]
    return f"""## The embedded checkpoint

One clip of `cellvid-tiny` at its own size, default steps, {row["cores"]} cores.

{table(["dtype", "time per clip"], body)}

Under `torch.autocast("cpu", torch.bfloat16)` the frames of one seed differ from those in float32 by \
{row["bfloat16_difference_in_std"]:.1%} of their standard deviation on average."""


def flow(result: dict[str, Any]) -> str:
    rows = result["rows"]
    clips = [key for key in next(iter(rows.values())) if key.startswith("residual_")]
    head = [
        "estimator",
        "time per clip",
        "pairs/s",
        *[f"residual, {key[9:]}" for key in clips],
        "end-point error, simulated",
    ]
    body = [
        [
            name,
            seconds(row),
            f"{row['pairs_per_second']:.1f}",
            *[f"{row[key]:.2f}" for key in clips],
            f"{row['end_point_error_px']:.2f} px",
        ]
        for name, row in rows.items()
    ]
    return f"""## Optical flow

{table(head, body)}

Residual: mean difference of frames after warping, as a share of the difference before. With the paper's kernels,
pyoptflow's result differs from ours by {result["paper_against_pyoptflow"]:.1e} of the largest value away from the \
border, which it treats differently."""


def data(rows: dict[str, Any]) -> str:
    body = [[name, f"{row['clips_per_second']:.0f}"] for name, row in rows.items()]
    return f"## Data loading\n\nOne process, with rotation by any angle.\n\n{table(['clips', 'clips/s'], body)}"


def evaluation(row: dict[str, Any]) -> str:
    return f"## Evaluation\n\n`cellvid evaluate` on {row['clips']} simulated clips, half on each side: {seconds(row)}."


def start_up(rows: dict[str, Any]) -> str:
    return f"## Start-up\n\n{table(['new process', 'time'], [[name, seconds(row)] for name, row in rows.items()])}"


def scaling(fits: dict[str, Any]) -> str:
    body = [
        [
            axis,
            ", ".join(map(str, fit["sizes"])),
            ", ".join(short(each) for each in fit["seconds"]),
            f"{fit['exponent']:.2f}"
            + (f" ({fit['exponent_in_pixels']:.2f} in pixels)" if "exponent_in_pixels" in fit else ""),
        ]
        for axis, fit in fits.items()
    ]
    return f"""## Scaling

Forward pass as one size varies and the others are fixed; the exponent b of cost = a size^b is fitted. 1 is linear.

{table(["axis", "sizes", "forward", "exponent"], body)}"""


def projection(result: dict[str, Any]) -> str:
    body = [
        [devices, f"{row['clips_per_second']:,.1f}", short(row["exchange_seconds"]), f"{row['efficiency']:.1%}"]
        for devices, row in result["devices"].items()
    ]
    return f"""### Projection to more devices

A projection, not a measurement: the step measured on one device here ({short(result["step_seconds"])}), plus \
{result["gradient_mb"]:.0f} MB of gradients exchanged by ring all-reduce at an assumed 300 GB/s among 8 and 50 GB/s \
among 64, not overlapped with computation.

{table(["devices", "clips/s", "exchange", "efficiency"], body)}"""


def gpu(result: dict[str, Any]) -> str:
    body = [
        [
            name,
            f"{row['clips_per_second']:,.0f}",
            f"{row['samples_per_second']:,.1f}",
            f"{row['share_of_peak']:.0%}",
            f"{row['memory_gb']:.1f}",
            short(row["warm_up_seconds"]),
        ]
        for name, row in result["rows"].items()
    ]
    head = ["network", "training, clips/s", "samples/s", "share of the bfloat16 product rate", "memory, GB", "warm-up"]
    return f"""## GPU

{result["device"]}, recorded {result["date"]} at commit {result["commit"]}; batch {result["batch"]}; a large bfloat16 \
matrix product reaches {result["product_tflops"]:.0f} TFLOP/s on it.

{table(head, body)}"""


SECTIONS = {
    "checkpoint": checkpoint,
    "flow": flow,
    "data": data,
    "evaluation": evaluation,
    "start_up": start_up,
    "scaling": scaling,
    "projection": projection,
    "gpu": gpu,
}
