"""Building blocks of the page: numbers, badges and images as text."""

import base64
from collections.abc import Sequence

import cv2
import numpy as np


def badge(verdict: str) -> str:
    """A verdict in its colour."""
    return f'<span class="badge {verdict}">{verdict}</span>'


def controls_seen(family: str, controls: dict) -> str:
    """Say whether a distance detected the controls that it should."""
    meant = {name: row[family] for name, row in controls.items() if row.get(family, {}).get("meant")}
    missed = [name for name, row in meant.items() if row["verdict"] != "different"]
    return f"missed: {', '.join(missed)}; do not trust it here" if missed else f"detected: {', '.join(meant)}"


def number(value: float | None) -> str:
    """Three significant digits; a dash if unknown."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def interval(ends: Sequence[float] | None) -> str:
    """Both ends with two decimals; a dash if unknown."""
    return "–" if ends is None else f"{ends[0]:.2f} to {ends[1]:.2f}"


def p_value(value: float | None) -> str:
    """Three decimals, or scientific notation below a thousandth; a dash if unknown."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def counted(number: int, noun: str) -> str:
    """`1 clip`, `2 clips`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def percent(share: float) -> str:
    """A share in whole per cent."""
    return f"{100 * share:.0f} %"


def spread(items: Sequence, count: int = 8) -> Sequence:
    """At most `count` items, evenly spaced."""
    if len(items) <= count:
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, count).astype(int)]


def sprite(clip: np.ndarray) -> str:
    """All frames of a clip side by side, as one data URI."""
    return png(np.concatenate(list(clip), axis=1))


def png(frame: np.ndarray) -> str:
    """A frame `(H, W)` uint8 as a data URI."""
    return "data:image/png;base64," + base64.b64encode(cv2.imencode(".png", np.ascontiguousarray(frame))[1]).decode()
