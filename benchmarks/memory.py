"""Peak memory of one candidate in its own process, as JSON: `python memory.py NAME forward|training quick|full`."""

import json
import resource
import sys
from pathlib import Path

import torch
from networks import forward_call, make, parameters, training_call


def resident_mb(field: str) -> float:
    """Current (`VmRSS`) or highest (`VmHWM`) resident memory of this process, MB.

    On Linux a child inherits the parent's `ru_maxrss`, so that is used on other systems only.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith(field))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(name: str, task: str, quick: bool) -> None:
    torch.set_num_threads(1)
    network, bfloat16 = make(name, quick)
    sample = torch.randn(1, 3, *((4, 32, 32) if quick else (10, 128, 128)))
    before = resident_mb("VmRSS")
    call = (forward_call if task == "forward" else training_call)(network, bfloat16, sample)
    call()
    peak = resident_mb("VmHWM")
    sizes = {"parameters_mb": parameters(network) * 4 / 2**20, "resident_before_mb": before, "resident_peak_mb": peak}
    print(json.dumps({**sizes, "working_mb": peak - before}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] == "quick")
