"""Measure the package against alternatives and write `docs/benchmarks.md` and `docs/benchmarks.json`.

python benchmarks/run.py              # under 20 minutes on two quiet cores; needs the extra `bench`
python benchmarks/run.py --quick      # tiny sizes, for the tests
python benchmarks/run.py --only flow  # one part; the others keep their previous figures
python benchmarks/run.py --gpu        # the GPU part alone; the rest keeps its previous figures
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

import gpu
import limits
import networks
import report
import scaling
import whole
from timing import summarise, take_turns

from cellvid_diffusers.cpu_memory import keep_freed_memory

ROOT = Path(__file__).parent.parent


def measure_networks(results: dict[str, Any], quick: bool, repeats: int) -> None:
    """Measure forward pass and training step of every candidate in turns, the rate of the layers alone, and memory."""
    sample = torch.randn(1, 3, *((4, 32, 32) if quick else (10, 128, 128)))
    names = list(networks.candidates(quick))
    measured = names[:1] if quick else names
    # First, while this process is small: a training step of the paper's codebase takes half of this machine's memory.
    memory = {"training": {name: peak_memory(name, "training", quick) for name in measured}}
    made = {name: networks.make(name, quick) for name in names}
    forward = take_turns({name: networks.forward_call(*pair, sample) for name, pair in made.items()}, repeats=repeats)
    training = take_turns({name: networks.training_call(*pair, sample) for name, pair in made.items()}, repeats=repeats)
    ours = [name for name in names if name.startswith(networks.OURS)]
    layers = {name: limits.layer_rate(*made[name], sample, repeats) for name in ours}
    results["networks"] = rows = {}
    for name in names:
        row = {
            "parameters": networks.parameters(made[name][0]),
            "forward": forward[name],
            "training": training[name],
        }
        if not name.startswith(networks.VIDEO_DIFFUSION):  # reads tensor values: cannot be counted from shapes
            flops = limits.count_flops(networks.make(name, quick)[0], sample, training=False)
            row["forward_gflops"] = flops / forward[name]["fastest"] / 1e9
            if name in layers:
                row["share_of_layer_rate"] = flops / forward[name]["fastest"] / layers[name]
        rows[name] = row
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    results["limits"] = {
        "bandwidth_gb_per_s": limits.memory_bandwidth(repeats) / 1e9,
        "product": {name: limits.square_product_rate(dtype, repeats) for name, dtype in dtypes.items()},
        "layers": layers,
    }
    quickly = [name for name in names if forward[name]["seconds"] < 5]
    results["memory"] = memory | ({} if quick else {"forward": {n: peak_memory(n, "forward", quick) for n in quickly}})
    results["samples"] = {f"{name}, 25 steps": row for name, row in whole.samples(ours, quick, min(repeats, 3)).items()}
    for name in (name for name in names if name.startswith(networks.VIDEO_DIFFUSION)):
        thousand = summarise([1000 * forward[name]["seconds"]])
        results["samples"][f"{name}, 1,000 steps, extrapolated from its forward pass"] = thousand


def peak_memory(name: str, task: str, quick: bool) -> dict[str, float]:
    mode = "quick" if quick else "full"
    return json.loads(whole.command(str(ROOT / "benchmarks" / "memory.py"), name, task, mode).splitlines()[-1])


def measure_scaling(results: dict[str, Any], quick: bool, repeats: int) -> None:
    name = f"{networks.OURS}, quick" if quick else f"{networks.OURS} 2 M"
    results["scaling"] = scaling.curves(name, quick, repeats)
    recorded = results.get("gpu")
    if recorded:
        step, clips = next(iter(recorded["rows"].values()))["seconds"], recorded["batch"]
    elif "networks" in results:
        step, clips = results["networks"][name]["training"]["seconds"], 1
    else:
        return  # without a measured step there is nothing to project
    results["projection"] = scaling.projection(name, quick, step, clips)


def measure_flow(results: dict[str, Any], quick: bool, repeats: int) -> None:
    import flows

    results["flow"] = flows.measure(quick, repeats)


def measure_whole(results: dict[str, Any], quick: bool, repeats: int) -> None:
    results["start_up"] = whole.start_up(quick, repeats)
    results["data"] = whole.data_loading(quick, repeats)
    if not quick:
        results["checkpoint"] = whole.embedded_checkpoint(repeats)
    results["evaluation"] = whole.evaluation(quick)


PARTS: dict[str, Callable[[dict[str, Any], bool, int], None]] = {
    "networks": measure_networks,
    "flow": measure_flow,
    "whole": measure_whole,
    "scaling": measure_scaling,
}


def describe(repeats: int) -> dict[str, Any]:
    """Date, commit and hardware of a measurement."""
    model = [line for line in read("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "repeats": repeats,
        "processor": model[0].split(": ")[1] if model else platform.processor(),
        "cores": whole.usable_cores(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
    }


def commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    return done.stdout.strip() or "unknown"


def read(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to check that the script runs")
    parser.add_argument("--gpu", action="store_true", help="measure only the GPU part")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure only these parts")
    parser.add_argument("--repeats", type=int, default=None, help="rounds; 5, or 1 with --quick")
    parser.add_argument("--threads", type=int, default=1, help="torch threads for the rows that compare")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder of benchmarks.md and benchmarks.json")
    options = parser.parse_args()
    repeats = options.repeats or (1 if options.quick else 5)
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    written = options.out / "benchmarks.json"
    results = json.loads(read(str(written)) or "{}")
    if options.gpu:
        results["gpu"] = {
            "date": datetime.date.today().isoformat(),
            "commit": commit(),
            **gpu.measure(options.quick, repeats),
        }
    else:
        for name in options.only or PARTS:
            print(f"measuring {name}", flush=True)
            results.setdefault("parts", {})[name] = describe(repeats) | {"quick": options.quick}
            PARTS[name](results, options.quick, repeats)
            written.write_text(json.dumps(results, indent=1) + "\n")
    written.write_text(json.dumps(results, indent=1) + "\n")
    if "networks" in results:
        (options.out / "benchmarks.md").write_text(report.markdown(results))
    print(f"Wrote {options.out / 'benchmarks.md'}")


if __name__ == "__main__":
    main()
