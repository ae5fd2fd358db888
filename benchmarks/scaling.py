"""How the cost grows with frames, side and batch, and a projection to more GPUs.

cost = a * size ** b is fitted by least squares in logarithms; b = 1 is linear. The projection is not measured: a ring
all-reduce moves 2 (N - 1) / N times the gradients over the slowest link and does not overlap with computation.
"""

import math
from typing import Any

import torch
from networks import forward_call, make, parameters
from timing import take_turns

LINKS_GB_PER_S = {1: math.inf, 8: 300.0, 64: 50.0}
"""Assumed all-reduce bandwidth of each GPU: NVLink within a machine of eight, 400 Gbit/s between machines."""


def curves(name: str, quick: bool, repeats: int) -> dict[str, Any]:
    """Seconds of a forward pass as each size varies and the others are fixed, and the fitted exponent."""
    network, bfloat16 = make(name, quick)
    frames, side = (2, 16) if quick else (5, 64)
    factors = (1, 2) if quick else (1, 2, 3, 4)
    axes = {
        "frames": [(1, factor * frames, side) for factor in factors],
        "side": [(1, frames, factor * side) for factor in factors],
        "batch": [(factor, frames, side) for factor in factors],
    }
    fits = {}
    for axis, shapes in axes.items():
        calls = {
            str(shape): forward_call(network, bfloat16, torch.randn(shape[0], 3, shape[1], shape[2], shape[2]))
            for shape in shapes
        }
        rows = take_turns(calls, repeats=repeats)
        sizes = [dict(zip(("batch", "frames", "side"), shape, strict=True))[axis] for shape in shapes]
        seconds = [row["seconds"] for row in rows.values()]
        fits[axis] = {"sizes": sizes, "seconds": seconds, "exponent": fit_exponent(sizes, seconds)}
    fits["side"]["exponent_in_pixels"] = fits["side"]["exponent"] / 2
    return fits


def fit_exponent(sizes: list[int], seconds: list[float]) -> float:
    x, y = [math.log(size) for size in sizes], [math.log(each) for each in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def projection(name: str, quick: bool, step_seconds: float, clips_per_step: int) -> dict[str, Any]:
    """Clips per second of N devices that each take the measured step, with gradients exchanged in float32."""
    gradient_bytes = 4 * parameters(make(name, quick)[0])
    rows = {}
    for devices, link in LINKS_GB_PER_S.items():
        exchange = 2 * (devices - 1) / devices * gradient_bytes / (link * 1e9)
        rate = devices * clips_per_step / (step_seconds + exchange)
        efficiency = step_seconds / (step_seconds + exchange)
        rows[str(devices)] = {"clips_per_second": rate, "exchange_seconds": exchange, "efficiency": efficiency}
    return {"gradient_mb": gradient_bytes / 2**20, "step_seconds": step_seconds, "devices": rows}
