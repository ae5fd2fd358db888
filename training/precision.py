"""Number formats that a device computes in."""

import torch


def has_bfloat16(device: str) -> bool:
    """Whether a kind of device ("cpu", "cuda") computes in bfloat16; a CPU that emulates it is many times slower."""
    return device != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
