"""Time candidates in turns in one process, over several rounds, so that a busy moment affects all alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any


def summarise(seconds: list[float]) -> dict[str, Any]:
    """Median and spread of repeated timings, in seconds."""
    return {
        "seconds": statistics.median(seconds),
        "fastest": min(seconds),
        "slowest": max(seconds),
        "repeats": len(seconds),
    }


def take_turns(
    candidates: Mapping[str, Callable[[], Any]], *, repeats: int, once_above: float = 5.0
) -> dict[str, dict[str, Any]]:
    """Time each candidate `repeats` times in turns, after one call to warm up.

    A candidate whose first call takes longer than `once_above` seconds is not called again: its first call counts.
    """
    seconds: dict[str, list[float]] = {}
    for name, call in candidates.items():
        first = stopwatch(call)
        seconds[name] = [first] if first > once_above else []
    for _ in range(repeats):
        for name, call in candidates.items():
            if not (seconds[name] and seconds[name][0] > once_above):
                seconds[name].append(stopwatch(call))
    return {name: summarise(values) for name, values in seconds.items()}


def stopwatch(call: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
