"""Upper limits of this machine, measured in the same run, to compare every row with.

* The layer rate of a network: its own convolutions and matrix products, run one by one on the same shapes, in the same
  dtype, channels last, with nothing between them.
* Memory bandwidth: a copy that is far larger than the caches.
"""

import math
from collections import Counter
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from networks import forward_call, run
from timing import stopwatch, summarise
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

CONVOLUTIONS = ("aten.convolution.default",)
PRODUCTS = ("aten.mm.default", "aten.addmm.default")


class Recorder(TorchDispatchMode):
    """Collect the shapes of the convolutions and matrix products that run."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter = Counter()

    def __torch_dispatch__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if name in CONVOLUTIONS and not args[6]:
            x, weight, _, stride, padding = args[:5]
            self.calls["conv", tuple(x.shape), tuple(weight.shape), tuple(stride), tuple(padding)] += 1
        elif name in PRODUCTS:
            a, b = args[-2:]
            self.calls["product", tuple(a.shape), tuple(b.shape), (), ()] += 1
        return func(*args, **(kwargs or {}))


def layer_rate(network: nn.Module, bfloat16: bool, sample: torch.Tensor, repeats: int) -> float:
    """FLOP/s that the machine reaches on the network's convolutions and matrix products alone."""
    recorder = Recorder()
    call = forward_call(network, bfloat16, sample)
    with recorder:
        call()
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    seconds = flops = 0.0
    for (kind, x_shape, w_shape, stride, padding), count in recorder.calls.items():
        x, w = torch.randn(x_shape).to(dtype), torch.randn(w_shape).to(dtype)
        if kind == "conv":
            layout = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
            x, w = x.contiguous(memory_format=layout), w.contiguous(memory_format=layout)
            layer = partial({4: F.conv2d, 5: F.conv3d}[x.ndim], x, w, stride=stride, padding=padding)
            outputs = layer()
            work = 2 * outputs.numel() * math.prod(w_shape[1:])
        else:
            layer = partial(torch.matmul, x, w)
            work = 2 * layer().numel() * x_shape[1]
        with torch.no_grad():
            seconds += count * min(stopwatch(layer) for _ in range(repeats))
        flops += count * work
    return flops / seconds


def count_flops(network: nn.Module, sample: torch.Tensor, *, training: bool) -> float:
    """Floating-point operations of a prediction, with its backward pass if `training`, counted from shapes alone."""
    on_meta = network.to("meta")
    with FlopCounterMode(display=False) as counter:
        prediction = run(on_meta, sample.to("meta"))
        if training:
            prediction.sum().backward()
    return counter.get_total_flops()


def memory_bandwidth(repeats: int, megabytes: int = 256) -> float:
    """Bytes per second of a copy, counting reads and writes."""
    source = torch.ones(megabytes * 2**18)
    target = torch.empty_like(source).fill_(0)
    return 2 * source.nbytes / min(stopwatch(lambda: target.copy_(source)) for _ in range(repeats))


def square_product_rate(dtype: torch.dtype, repeats: int, side: int = 1024) -> dict[str, Any]:
    """Rate of one large square matrix product, taken as the machine's peak."""
    a, b = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
    timing = summarise([stopwatch(lambda: a @ b) for _ in range(repeats + 1)][1:])
    return {"gflops": 2 * side**3 / timing["fastest"] / 1e9, **timing}
