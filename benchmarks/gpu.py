"""The GPU part: training and sampling rates, memory, and the share of the device's bfloat16 rate."""

from typing import Any

import torch
from limits import count_flops
from networks import OURS, forward_call, make, training_call
from timing import stopwatch, summarise


def product_rate(side: int = 8192, repeats: int = 20) -> float:
    """FLOP/s of a large bfloat16 matrix product: the rate that the device reaches, not its nominal one."""
    a, b = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / min(stopwatch(lambda: wait(a @ b)) for _ in range(repeats))


def wait(result: Any) -> Any:
    torch.cuda.synchronize()
    return result


def measure(quick: bool, repeats: int) -> dict[str, Any]:
    """Measure the 2 M and the 10 M network at a batch size that fills the device."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    peak, rows = product_rate(), {}
    batch, frames, side = (2, 4, 32) if quick else (32, 10, 128)
    names = [f"{OURS}, quick, bfloat16"] if quick else [f"{OURS} 2 M, bfloat16", f"{OURS} 10 M, bfloat16"]
    for name in names:
        one = torch.randn(1, 3, frames, side, side)
        flops = batch * count_flops(make(name, quick)[0], one, training=True)
        for compiled in (False, True):
            torch.cuda.reset_peak_memory_stats()
            network, bfloat16 = make(name, quick)
            network = network.cuda()
            if compiled:
                network.compile()
            sample = torch.randn(batch, 3, frames, side, side, device="cuda")
            train = training_call(network, bfloat16, sample)
            warm_up = stopwatch(lambda train=train: [wait(train()) for _ in range(3)])
            step = summarise([stopwatch(lambda train=train: wait(train())) for _ in range(4 * repeats)])
            predict = forward_call(network, bfloat16, sample)
            predict()
            forward = summarise([stopwatch(lambda predict=predict: wait(predict())) for _ in range(4 * repeats)])
            rows[f"{name}{', compiled' if compiled else ''}"] = {
                **step,
                "warm_up_seconds": warm_up,
                "clips_per_second": batch / step["seconds"],
                "samples_per_second": batch / (25 * forward["seconds"]),
                "share_of_peak": flops / step["seconds"] / peak,
                "memory_gb": torch.cuda.max_memory_allocated() / 2**30,
            }
    return {"device": torch.cuda.get_device_name(), "product_tflops": peak / 1e12, "batch": batch, "rows": rows}
