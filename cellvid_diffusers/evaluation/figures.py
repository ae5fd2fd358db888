"""Figures of the report as SVG that takes its colours from the page, so that one drawing serves the light and
the dark theme.

Matplotlib draws in placeholder colours, which are replaced by CSS variables: real, synthetic, ink and faint.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde
from skimage.measure import find_contours

REAL, SYNTH, INK, FAINT = "#1b6ca8", "#d1661a", "#101112", "#a0a1a2"
VARIABLES = {REAL: "var(--real)", SYNTH: "var(--synth)", INK: "currentColor", FAINT: "var(--faint)"}


def _svg(figure: Figure, label: str) -> str:
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    text = re.sub(r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*", r"font: \1 inherit", text)
    text = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', "", text, count=1)
    width = float(re.findall(r'viewBox="0 0 ([\d.]+)', text)[0])
    return text.replace("<svg", f'<svg role="img" aria-label="{label}" style="max-width:{width * 1.7:.0f}px"', 1)


def _axes(width: float, height: float, **options: Any) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot(**options)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=8)
    return figure, axes


def distance_bars(distances: dict[str, dict], controls: dict[str, dict]) -> str:
    """Plot the ratio of each distance to its floor on a symmetric logarithmic axis, with controls as ticks above it."""
    figure, axes = _axes(7, 0.9 + 0.8 * len(distances))
    for i, (name, found) in enumerate(distances.items()):
        colour = SYNTH if found["trusted"] else FAINT
        low, high = found["interval"]
        axes.plot([low, high], [i, i], color=colour, linewidth=4, solid_capstyle="round", alpha=0.5)
        axes.plot(found["ratio"], i, "o", color=colour, markersize=9)
        meant = sorted((row[name]["ratio"], control) for control, row in controls.items() if row[name]["meant"])
        for k, (ratio, control) in enumerate(meant):
            axes.plot(ratio, i - 0.2, "|", color=INK, markersize=7)
            axes.annotate(control, (ratio, i - 0.27 - 0.16 * (k % 2)), color=INK, fontsize=7, ha="center", va="bottom")
    axes.axvline(1, color=REAL, linewidth=1.5)
    axes.annotate(
        "real against real",
        (1, len(distances) - 0.45),
        color=REAL,
        fontsize=8,
        ha="left",
        xytext=(4, 0),
        textcoords="offset points",
    )
    axes.set_xscale("symlog", linthresh=2, linscale=0.8)
    top = max(
        [row[k]["ratio"] for row in controls.values() for k in distances]
        + [d["interval"][1] for d in distances.values()]
    )
    bottom = min([0.0] + [d["interval"][0] for d in distances.values()])
    axes.set_xlim(bottom - 0.5, 2 * max(top, 4))
    ticks = [t for t in (-1, 0, 1, 2, 5, 10, 20, 50, 100, 200, 500) if bottom - 0.5 < t < 2 * max(top, 4)]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.set_yticks(range(len(distances)), list(distances), fontsize=10)
    axes.set_ylim(len(distances) - 0.3, -0.7)
    axes.set_xlabel("distance from real, in units of the real-vs-real floor", fontsize=9, color=INK)
    return _svg(figure, "Distances relative to the real-vs-real floor")


def violins(pairs: Mapping[str, Sequence[np.ndarray]], units: dict[str, str]) -> str:
    """Real (left half) against synthetic (right half) for each measure, with quartiles and median."""
    figure = Figure(figsize=(1.75 * len(pairs), 2.7))
    for k, (name, sides) in enumerate(pairs.items()):
        axes = figure.add_subplot(1, len(pairs), k + 1)
        top = np.percentile(np.concatenate(sides), 99.5)
        for values, colour, sign in zip(sides, (REAL, SYNTH), (-1, 1), strict=True):
            grid = np.linspace(min(values.min(), 0), top, 120)
            if len(values) > 2 and values.std() > 0:
                density = gaussian_kde(values)(grid)
                axes.fill_betweenx(grid, 0, sign * density / density.max(), color=colour, alpha=0.55, linewidth=0)
            low, middle, high = np.percentile(values, (25, 50, 75))
            axes.plot([0.12 * sign] * 2, [low, high], color=INK, linewidth=2.5)
            axes.plot(0.12 * sign, middle, "o", color=INK, markersize=4)
        axes.set_xticks([])
        axes.set_title(name, fontsize=9, color=INK)
        axes.set_ylabel(units[name], fontsize=8, color=INK, labelpad=1)
        axes.tick_params(colors=INK, labelsize=7)
        for side, spine in axes.spines.items():
            spine.set_color(FAINT)
            spine.set_visible(side == "left")
    figure.subplots_adjust(wspace=0.75)
    return _svg(figure, "Distributions of real and synthetic measures")


def polar(directions: Sequence[np.ndarray], *, bins: int = 24) -> str:
    """Rose diagram of the neurite directions of each side; areas are proportional to shares, up is up in the frame."""
    figure = Figure(figsize=(6.2, 2.6))
    edges = np.linspace(0, 2 * np.pi, bins + 1)
    for k, (values, colour, name) in enumerate(zip(directions, (REAL, SYNTH), ("real", "synthetic"), strict=True)):
        axes = figure.add_subplot(1, 2, k + 1, projection="polar")
        share = np.histogram(np.mod(-values, 2 * np.pi), edges)[0] / max(len(values), 1)
        axes.bar(
            edges[:-1],
            np.sqrt(share * bins),
            width=2 * np.pi / bins,
            align="edge",
            color=colour,
            alpha=0.6,
            edgecolor=colour,
            linewidth=0.6,
        )
        axes.plot(np.linspace(0, 2 * np.pi, 100), np.ones(100), color=INK, linewidth=0.8, linestyle=":")
        axes.set_yticks([])
        axes.set_xticks(np.arange(0, 2 * np.pi, np.pi / 4), ["right", "", "up", "", "left", "", "down", ""], fontsize=7)
        axes.tick_params(colors=INK, pad=-1)
        axes.set_title(f"{name} ({len(values)})", fontsize=9, color=INK, pad=10)
        axes.grid(color=FAINT, linewidth=0.4)
        axes.spines["polar"].set_color(FAINT)
        axes.set_facecolor("none")
    return _svg(figure, "Directions of neurites")


def survival_curves(curves: Sequence[dict[str, np.ndarray]]) -> str:
    """Kaplan-Meier curves: share of neurites longer than a length, with bands of two standard errors."""
    figure, axes = _axes(3.4, 2.4)
    for curve, colour, name in zip(curves, (REAL, SYNTH), ("real", "synthetic"), strict=True):
        x = np.append(0, curve["length"])
        y, e = np.append(1, curve["survival"]), np.append(0, curve["error"])
        axes.step(x, y, where="post", color=colour, linewidth=1.8, label=name)
        axes.fill_between(
            x, np.clip(y - 2 * e, 0, 1), np.clip(y + 2 * e, 0, 1), step="post", color=colour, alpha=0.2, linewidth=0
        )
    axes.set(ylim=(0, 1.02), xlim=(0, None))
    axes.set_xlabel("length, px", fontsize=8, color=INK)
    axes.set_ylabel("share that is longer", fontsize=8, color=INK)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return _svg(figure, "Survival curves of neurite lengths, with those cut off by the frame as censored")


def cell_outlines(masks: Sequence[np.ndarray], cells: pd.DataFrame, kind: str) -> list[np.ndarray]:
    """Outlines (K, 2), (y, x) in px, of the cells of one kind in the middle frame that do not touch its border."""
    out = []
    for clip, mask in enumerate(masks):
        k = len(mask) // 2
        here = cells[
            (cells["clip"] == clip) & (cells["frame"] == k) & (cells["kind"] == kind) & ~cells["touches_border"]
        ]
        for label in here["label"]:
            out.append(max(find_contours(np.pad(mask[k] == label, 1).astype(float), 0.5), key=len))
    return out


def outlines(shapes: Mapping[str, Sequence[Sequence[np.ndarray]]]) -> str:
    """Overlay outlines of cells, centred and aligned along their long axis, as in the paper's Figure 6.

    Parameters
    ----------
    shapes : dict
        Kind of cell -> (real, synthetic), each a list of (K, 2) outlines (y, x) in px.
    """
    figure = Figure(figsize=(6.4, 1.0 + 1.7 * len(shapes)))
    for row, (kind, sides) in enumerate(shapes.items()):
        reach = max([np.abs(_upright(s)).max() for side in sides for s in side], default=1.0) * 1.05
        columns = (("real", (0,)), ("synthetic", (1,)), ("both", (0, 1)))
        for column, (name, shown) in enumerate(columns):
            axes = figure.add_subplot(len(shapes), 3, 3 * row + column + 1)
            for side in shown:
                alpha = min(0.8, max(0.08, 8 / max(len(sides[side]), 1)))
                for shape in sides[side]:
                    y, x = _upright(shape).T
                    axes.plot(x, y, color=(REAL, SYNTH)[side], linewidth=0.7, alpha=alpha)
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
            if row == 0:
                axes.set_title(name, fontsize=9, color=INK)
            if column == 0:
                axes.set_ylabel(kind, fontsize=9, color=INK)
            for spine in axes.spines.values():
                spine.set_visible(False)
    figure.subplots_adjust(wspace=0.02, hspace=0.05)
    return _svg(figure, "Outlines of cells overlaid")


def _upright(shape: np.ndarray) -> np.ndarray:
    centred = shape - shape.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return centred @ axes.T[:, ::-1]  # long axis along x


def similarities(real: Sequence[float], synth: Sequence[float], threshold: float) -> str:
    """Histograms of the similarity of held-out real and of synthetic clips to the nearest training clip."""
    figure, axes = _axes(4.6, 1.7)
    edges = np.linspace(0, 1, 41)
    for values, colour, name in ((real, REAL, "held-out real"), (synth, SYNTH, "synthetic")):
        axes.hist(np.clip(values, 0, 1), edges.tolist(), density=True, color=colour, alpha=0.5, label=name)
    axes.axvline(threshold, color=INK, linestyle=":", linewidth=1)
    axes.annotate(
        "copy", (threshold, axes.get_ylim()[1]), fontsize=8, color=INK, xytext=(4, -9), textcoords="offset points"
    )
    axes.set(yticks=[], xlim=(0, 1))
    axes.set_xlabel("correlation with the nearest training clip", fontsize=8, color=INK)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    return _svg(figure, "Similarity to the nearest training clip")
