"""The sections of the report; each function turns figures into HTML.

`details` is what `examine` returns, `sides` the real and the synthetic clips, `tables` their cells and neurites.
"""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import figures
from .clips import UNKNOWN, ClipSet
from .compare import MEASURES
from .measurements import Measurements
from .memorisation import COPY, Match, transform
from .neurites import of_known_direction, of_known_length
from .page_parts import badge, controls_seen, counted, interval, number, p_value, percent, png, spread, sprite
from .statistics import kaplan_meier

Details = dict[str, Any]
Tables = Sequence[Measurements]
Sides = tuple[ClipSet, ClipSet]

FAMILY_WORDS = {
    "appearance": "what a single frame looks like: brightness, contrast, detail at several scales",
    "spectrum": "how fine the texture is, and whether it is aligned with the pixel grid",
    "motion": "how the picture changes from frame to frame: speed, steadiness, displacement",
}


def head(details: Details) -> str:
    """What was compared, and the result in three sentences."""
    verdicts = [row["verdict"] for row in details["measures"].values()]
    counts = {v: verdicts.count(v) for v in ("equivalent", "different", "inconclusive")}
    ratios = ", ".join(f"{name} <b>{d['ratio']:.1f}</b>" for name, d in details["distances"].items())
    real, synth = details["sides"]["real"], details["sides"]["synth"]
    frames, height, width = real["shape"]
    copied = details["memorisation"]["copy_share"]
    known = "training" if details["memorisation"]["training_given"] else "real"
    return f"""<h1>How real are these cell videos?</h1>
<p class="soft">{real["clips"]} <span class="real">real</span> clips from {counted(real["recordings"], "recording")}
({html.escape(Path(real["source"]).name)}) and {synth["clips"]} <span class="synth">synthetic</span> ones
({html.escape(Path(synth["source"]).name)}); {frames} frames of {width} × {height} px each.
{html.escape(mix_sentence(details["mix"]))}</p>
<div class="card lead"><p>Distance from real, where 1 means "as far as real recordings are from each
other": {ratios}.</p> <p>Of {len(verdicts)} measures of cells, neurites and motion, <b
class="equivalent">{counts["equivalent"]}</b> are shown to be equivalent, <b
class="different">{counts["different"]}</b> differ, and <b
class="inconclusive">{counts["inconclusive"]}</b> cannot be decided with these recordings.</p>
<p>{percent(copied)} of the synthetic clips count as copies of {known} clips
(for comparison: {percent(details["memorisation"]["copy_share_real"])} of the real clips count as copies of clips from
elsewhere).</p></div>"""


def mix_sentence(mix: dict[str, Any]) -> str:
    """The cell types of both sides, and how many clips were left out to match them."""
    if UNKNOWN in mix["real"] | mix["synth"]:
        return "Cell types are not known on both sides."
    real, synth = (
        ", ".join(f"{percent(count / sum(mix[side].values()))} {kind}" for kind, count in mix[side].items())
        for side in ("real", "synth")
    )
    if not mix["matched"]:
        return f"The mix of cell types was not matched: real {real}; synthetic {synth}."
    shares = f"Both sides: {real}" if real == synth else f"Real: {real}; synthetic: {synth}"
    return f"{shares}." + (
        f" Left out to match them: {counted(mix['left_out'], 'synthetic clip')}." if mix["left_out"] else ""
    )


def players(sides: Sides, omit_real_frames: bool) -> str:
    """Eight clips of each side, played together."""
    shown = [(sides[0], "real", "Real"), (sides[1], "synth", "Synthetic")]
    note = ""
    if omit_real_frames:
        shown = shown[1:]
        note = '<p class="soft">Recorded frames are left out of this page because they may not be shared.</p>'
    columns = "".join(
        f'<div><p class="{kind}">{name}</p><div class="clips">'
        + "".join(
            f'<div class="clip" style="background-image:url({sprite(c)})"></div>' for c in spread(list(clips.frames))
        )
        + "</div></div>"
        for clips, kind, name in shown
    )
    last = sides[0].frames.shape[1] - 1
    style = ' style="grid-template-columns: 1fr"' if omit_real_frames else ""
    return f"""<h2>The videos</h2>{note}<div class="card">
<div class="controls"><button id="play" type="button">Play</button>
<input id="frame" type="range" min="0" max="{last}" value="0" aria-label="frame"></div>
<div class="players"{style}>{columns}</div></div>"""


def distances(details: Details) -> str:
    """The three distances relative to their floor, with the controls."""
    rows = "".join(
        f'<tr class="{"" if d["trusted"] else "untrusted"}"><td><b>{name}</b><br>'
        f'<span class="soft">{FAMILY_WORDS[name]}'
        f'</span></td><td class="n">{d["ratio"]:.2f}</td><td class="n">{interval(d["interval"])}'
        f"</td><td>{badge(d['verdict'])}</td><td>{controls_seen(name, details['controls'])}</td></tr>"
        for name, d in details["distances"].items()
    )
    control_rows = "".join(
        f"<tr><td>{name}</td>"
        + "".join(
            f'<td class="n{" meant" if row[k]["meant"] else ""}">{row[k]["ratio"]:.1f}</td>'
            for k in details["distances"]
        )
        + "</tr>"
        for name, row in details["controls"].items()
    )
    heads = "".join(f'<th class="n">{k}</th>' for k in details["distances"])
    return f"""<h2>Three distances instead of one</h2>
<p>A frozen video looks perfectly real in every frame, and a blurred one moves perfectly. Appearance, texture
and motion are therefore measured separately, each in units of how far real recordings are from one another. The
ticks are controls: real clips that were degraded on purpose. A distance that misses one of its controls is greyed
out.</p>
<div class="card">{figures.distance_bars(details["distances"], details["controls"])}</div>
<div class="card"><table><tr><th>distance</th><th class="n">ratio to floor</th><th class="n">95 %
interval</th> <th>verdict</th><th>controls</th></tr>{rows}</table>
<details><summary>All controls and all distances (bold: should be detected)</summary>
<table><tr><th>control</th>{heads}</tr>{control_rows}</table></details></div>"""


def verdicts(details: Details) -> str:
    """Every measure with its verdict, effect and corrected p."""
    rows = []
    for name, row in sorted(details["measures"].items(), key=lambda item: item[1]["verdict"]):
        means = "".join(f'<td class="n">{number(row.get(k))}</td>' for k in ("mean_real", "mean_synth"))
        effect = (
            ""
            if "effect" not in row
            else f"{row['effect']:+.2f} ({row['interval'][0]:+.2f} to {row['interval'][1]:+.2f})"
        )
        p = "too few" if row["p"] is None else p_value(row["p_holm"])
        unit = f' <span class="soft">{row["unit"]}</span>' if row["unit"] else ""
        rows.append(
            f'<tr><td>{name}{unit}</td><td>{badge(row["verdict"])}</td>{means}<td class="n">{effect}</td>'
            f'<td class="n">{number(row.get("w1_ratio"))}</td><td class="n">{p}</td></tr>'
        )
    return f"""<h2>Verdict by measure</h2>
<p><b class="equivalent">Equivalent</b>: the difference was shown to be smaller than half the standard deviation of
real cells, a margin fixed in advance. <b class="different">Different</b>: a difference this large hardly ever arises
when whole videos are shuffled between the two sides. <b class="inconclusive">Inconclusive</b>: too few or too
variable recordings to say. A large p alone never means "the same". p is corrected for the number of measures.</p>
<div class="card"><table><tr><th>measure</th><th>verdict</th><th class="n">real</th><th class="n">synthetic</th>
<th class="n">difference, in SD<br>of real cells</th><th class="n">distance, over<br>real-vs-real</th><th
class="n">p</th></tr>{"".join(rows)}</table></div>"""


def table2(details: Details) -> str:
    """The paper's tests over cells, next to tests over whole videos."""
    sound = details["measures"]
    names = {
        ("area", "neuron"): "cell area", ("area", "dead cell"): "dead cell area",
        ("perimeter", "neuron"): "cell perimeter",
        ("perimeter", "dead cell"): "dead cell perimeter", ("length", "neuron"): "neurite length",
    }  # fmt: skip
    rows = ""
    for quantity, row in details["paper_table2"].items():
        rows += f"<tr><td>{quantity}</td>"
        for kind in ("neuron", "dead cell"):
            other = sound.get(names.get((quantity, kind), ""))
            p = None if other is None else other["p"]
            rows += f'<td class="n">{p_value(row[kind])}</td><td class="n">{"–" if p is None else p_value(p)}</td>'
        rows += "</tr>"
    return f"""<h2>The paper's Table 2 for these clips</h2>
<p>The paper compared cells by t-tests and took a large p as evidence of sameness. Its p-values were 0.105, 0.044
and 2.5e-10 for area, perimeter and length of neurons. Below are the same tests on these clips, next to tests that
shuffle whole videos: cells of one video resemble each other, and on real data without any difference the t-test over
cells rejects about half of the time.</p> <div class="card"><table><tr><th></th><th class="n">neuron,
t-test over cells</th><th class="n">whole videos</th> <th class="n">dead cell, t-test over cells</th><th
class="n">whole videos</th></tr>{rows}</table></div>"""


def shapes(tables: Tables) -> str:
    """Outlines of living and dead cells, and violin plots of living ones."""
    found = {kind: [figures.cell_outlines(t.masks, t.cells, kind) for t in tables] for kind in ("living", "dead")}
    shapes = {kind: [spread(s, 80) for s in pair] for kind, pair in found.items() if any(pair)}
    pairs, units = {}, {}
    for name in ("cell area", "cell perimeter", "cell eccentricity"):
        measure = MEASURES[name]
        values = [t.cells.loc[t.cells["kind"] == "living", measure.column].dropna().to_numpy(float) for t in tables]
        if min(map(len, values)) > 2:
            pairs[name], units[name] = values, measure.unit
    if not shapes or not pairs:
        return "<h2>Shapes of cells</h2><p>Too few cells were found to draw them.</p>"
    return f"""<h2>Shapes of cells (the paper's Figure 6)</h2>
<p>Outlines of cells, overlaid and aligned along their long axis. <span class="real">Real</span> and
<span class="synth">synthetic</span> cells went through the same segmentation with the same thresholds.</p>
<div class="card">{figures.outlines(shapes)}</div><div class="card">{figures.violins(pairs, units)}</div>"""


def neurites(details: Details, tables: Tables) -> str:
    """Directions and lengths of neurites, with lengths cut off by the frame as censored."""
    found, lengths = details["directions"], details["lengths"]
    if found is None or lengths is None:
        return "<h2>Neurites</h2><p>Too few neurites were found to compare them.</p>"
    measured = [of_known_length(t.neurites) for t in tables]
    curves = [kaplan_meier(n["length"].to_numpy(), n["censored"].to_numpy(bool)) for n in measured]
    violin = figures.violins(
        {"neurite length": [n["length"].to_numpy(float) for n in measured]}, {"neurite length": "px"}
    )
    rows = "".join(
        f"<tr><td>{label}</td>" + "".join(f'<td class="n">{number(v)}</td>' for v in values) + "</tr>"
        for label, values in (
            ("preference for the axes of the pixel grid (cardinal index, −1 to 1)",
             [found[f"cardinal_index_{s}"] for s in ("real", "synth")]),
            ("p: would they look the same if rotated by 45°?", [found[f"p_rotation_{s}"] for s in ("real", "synth")]),
            *((f"harmonic {k}", [found[f"harmonics_{s}"][k] for s in ("real", "synth")]) for k in (1, 2, 4)),
            ("median length, px (those that leave the frame as censored)",
             [lengths["median_real"], lengths["median_synth"]]),
            ("share of neurites that leave the frame", lengths["censored"]),
        )
    )  # fmt: skip
    return f"""<h2>Neurites (the paper's Figure 7)</h2>
<p>The paper found synthetic neurites to be short and biased towards the four cardinal directions. A neurite that
leaves the frame is at least as long as its visible part, so lengths are compared by survival analysis, with those
cut off as censored; neurites whose soma is out of view are left out of it.</p> <div class="card">{
        figures.polar([of_known_direction(t.neurites)["direction"].to_numpy(float) for t in tables])
    }</div> <div class="card" style="display:grid;grid-template-columns:1fr
2fr;gap:1rem">{violin}{figures.survival_curves(curves)}</div> <div class="card"><table><tr><th></th><th
class="n real">real</th><th class="n synth">synthetic</th></tr>{rows}</table></div>"""


def events(details: Details) -> str:
    """Appearances, disappearances, merges and splits per cell and frame."""
    rows = "".join(
        f'<tr><td>{event}</td><td class="n">{r["real"]:.2f}</td><td class="n">{r["synth"]:.2f}</td>'
        f'<td class="n">{number(r["ratio"])}</td><td class="n">{interval(r["interval"])}</td></tr>'
        for event, r in details["events"].items()
    )
    return f"""<h2>Cells that appear, vanish, merge or split</h2>
<p>Events inside the frame, per 100 cells and frame. The paper saw synthetic cells merge and vanish. The tracker
makes some of these errors by itself, on both sides alike: the real column combines its error rate with what the
cells really do. The ratio says how many times as often an event happens in synthetic clips; its 95 % interval is wide
where events are few.</p> <div class="card"><table><tr><th>event</th><th class="n real">real</th><th
class="n synth">synthetic</th><th class="n">ratio</th><th class="n">interval</th></tr>{rows} </table></div>"""


def memorisation(
    details: Details,
    sides: Sides,
    memory: list[np.ndarray] | None,
    pairs: list[tuple[int, Match]],
    omit_real_frames: bool,
) -> str:
    """Share of copies, and the closest pairs as images."""
    found = details["memorisation"]
    against = "the real clips, as no training set was given"
    if memory is not None:
        against = f"{len(memory)} of {found['available']} training clips"
    pictures = ""
    if not omit_real_frames:
        known = sides[0].frames if memory is None else memory
        pictures = "".join(_pair(sides[1].frames[i], known[m.train], m) for i, m in pairs)
        pictures = (
            "<p>The closest pairs: synthetic on the left, its nearest match on the right.</p>"
            f'<div class="pairs">{pictures}</div>'
        )
    return f"""<h2>Memory: copies of training clips</h2>
<p>Each synthetic clip was searched for in {against}, mirrored or not, at every angle and shift, and at every offset
in time that leaves two thirds of the frames. A correlation of {COPY} or more counts as a copy. Of planted copies, cut
from training clips, rotated, mirrored and with noise added, {percent(found["control"])} were recognised.</p> <div
class="card">{figures.similarities(found["similarity_real"], found["similarity"], COPY)}
<p><b>{percent(found["copy_share"])}</b> of <span class="synth">synthetic</span> and
<b>{percent(found["copy_share_real"])}</b> of held-out <span class="real">real</span> clips count as
copies.</p> {pictures}</div>"""


def _pair(clip: np.ndarray, train: np.ndarray, match: Match) -> str:
    k = int(np.clip(len(clip) // 2, max(0, -match.offset), len(train) - match.offset - 1))
    turned = transform(clip, match.angle, match.flip)[k]
    h, w = clip.shape[1:]
    framed = np.pad(train[k + match.offset], ((h, h), (w, w)), mode="reflect")  # the shift may lead out of the frame
    other = framed[h + match.shift[0] :, w + match.shift[1] :][:h, :w]
    images = "".join(f'<img alt="" style="width:100%" src="{png(frame)}">' for frame in (turned, other))
    return f'<div class="pair">{images}<div>correlation {match.similarity:.2f}</div></div>'


def giveaways(details: Details) -> str:
    """How well a classifier tells the sides apart, and by which features; density and coverage."""
    rows = "".join(
        f'<tr><td>{family}</td><td class="n">{c["auc"]:.2f}</td><td>'
        + "; ".join(f"{g['feature']} ({'higher' if g['weight'] > 0 else 'lower'})" for g in c["giveaways"][:4])
        + "</td>"
        + "".join(
            f'<td class="n">{number(details["coverage"].get(family, {}).get(k))}</td>' for k in ("density", "coverage")
        )
        + "</tr>"
        for family, c in details["classifier"].items()
    )
    learned = ""
    if "learned" in details:
        learned = "<p class=soft>" + ", ".join(f"{k.upper()} {v:.4g}" for k, v in details["learned"].items()) + "</p>"
    return f"""<h2>What gives the synthetic clips away</h2>
<p>A linear classifier tries to tell synthetic from real clips of recordings, or blocks of one, that it was not trained
on; an AUC of 0.5 is chance, 1 is perfect. Density says how plausible synthetic clips are, coverage how much of the
real variety they reach (1 is best).</p> <div class="card"><table><tr><th>features</th><th class="n">AUC</th>
<th>synthetic clips have</th><th class="n">density</th> <th class="n">coverage</th></tr>{rows}</table>{learned}</div>"""


def flow(details: Details) -> str:
    """Agreement of the generated flow with the flow of the generated frames; empty without flow."""
    found = details["flow_agreement"]
    if found is None:
        return ""
    return f"""<h2>Does the generated flow match the motion of the generated frames?</h2>
<div class="card"><p>Compared with the motion of the frames, as estimated by a method that should not have been used
in training, the generated flow explains <b>{percent(max(found["explained"], 0))}</b> of the motion. The end-point error
is {found["endpoint_error"]:.2f} px/frame, compared with {found["endpoint_error_of_no_motion"]:.2f} for predicting
no motion at all; the cosine similarity is {found["cosine"]:.2f}.</p></div>"""


def distrust(details: Details) -> str:
    """Reasons to doubt the figures, derived from these very clips."""
    items = "".join(f"<li>{html.escape(text)}</li>" for text in details["caveats"])
    return f"<h2>What to distrust in this report</h2><div class='card'><ul>{items}</ul></div>"


def methods(details: Details) -> str:
    """How each figure was computed."""
    return f"""<h2>How it was done</h2><div class="card soft">
<p>{html.escape(details["how"])} Distances are unbiased energy distances of handcrafted features, without any
network; the floor is the root mean square over splits of the real groups into halves. Intervals come from
a bootstrap that draws recordings, then videos, then cells. Equivalence: two one-sided Welch tests over
units with a margin of 0.5 real standard deviations. Differences: permutation of whole units, Welch's t,
Holm's correction over all measures. Directions: Watson's U² under the same permutation. Lengths:
Kaplan-Meier and log-rank. Everything is in details.json, each cell in cells.csv, each neurite in
neurites.csv and each track in tracks.csv.</p></div>"""
