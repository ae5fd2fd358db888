"""Whether a device computes in bfloat16, and what to train in where it does not."""

from functools import cache

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env


@cache
def has_bfloat16(device: str) -> bool:
    """Whether a kind of device ("cpu", "cuda") computes in bfloat16; one that emulates it is many times slower."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return True


def usable_precision(asked: str | None) -> str | None:
    """The configured `mixed_precision`, but "no" instead of a "bf16" that this process's device would emulate."""
    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))  # as `Accelerator` makes it
    if asked != "bf16" or has_bfloat16(state.device.type):
        return asked
    state.print("mixed_precision bf16 would be emulated on this device and many times slower: training in float32")
    return "no"
