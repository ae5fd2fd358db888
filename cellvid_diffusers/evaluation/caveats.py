"""What to distrust in a report, as sentences derived from its own figures."""

from collections.abc import Iterator, Sequence
from typing import Any

from .clips import UNKNOWN
from .distance import LEAST_SPLITS
from .memorisation import COPY
from .statistics.permutation import MIN_UNITS

FEW_CELLS = 100
FEW_CLIPS = 30
SAME_SCALE = 0.02
"""Relative difference up to which pixel sizes, or frame intervals, are considered equal."""
FOUND_COPIES = 0.95
"""Share of planted copies below which the search itself is in doubt."""
CHANCE_COPIES = 0.05
"""Share of held-out real clips counted as copies above which a high correlation is no evidence of a copy."""
MANY_CENSORED = 0.3


def caveats(details: dict[str, Any]) -> list[str]:
    """Return the sentences that apply, most serious first."""
    real, synth = details["sides"]["real"], details["sides"]["synth"]
    return [
        *_of_recordings(real),
        *_of_scales(real, synth),
        *_of_the_mix(details["mix"]),
        *_of_numbers(real, synth),
        *_of_distances(details["distances"]),
        *_of_copies(details["memorisation"]),
        *_of_cells(details["tables"], details["lengths"]),
        *_of_left_out(details["measures"]),
    ]


def _of_recordings(real: dict[str, Any]) -> Iterator[str]:
    if real["recordings"] < MIN_UNITS:
        yield (
            f"The real clips come from {real['recordings']} recording(s). What they have in common may stem from the "
            "culture, the day or the microscope; other cultures would look different. Where a cell type has only one "
            "recording, blocks of it are the units: p-values and verdicts then apply to these recordings only."
        )
    if real["recordings"] == real["clips"]:
        yield (
            "Each real file counts as a recording of its own. If several were cut from one recording, intervals are "
            "too narrow and the real-vs-real floor is too low: use a data set made by cellvid prepare, which stores "
            "the recording of each clip."
        )


def _of_scales(real: dict[str, Any], synth: dict[str, Any]) -> Iterator[str]:
    for name, key, unit in (
        ("pixel size", "pixel_sizes_um", "µm"),
        ("interval of frames", "frame_intervals_min", "min"),
    ):
        if real[key] and synth[key]:
            ends = [(min(side[key]), max(side[key])) for side in (real, synth)]
            if any(abs(b / a - 1) > SAME_SCALE for a, b in zip(*ends, strict=True)):
                words = [f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in ends]
                yield (
                    f"The sides differ in their {name} ({words[0]} and {words[1]} {unit}), but everything is compared "
                    "in px and frames: bring them to the same scale first."
                )
        elif real[key] or synth[key]:
            yield f"Only one side tells its {name}: the comparison is in px and frames, as if both had the same."
    if real["rescaled"] and synth["rescaled"]:
        yield (
            "The sides' grey levels are scaled to a range of their own each, since they were not 8-bit: this alone may "
            "make contrast and brightness differ, or hide a difference between them. Convert both to 8 bits alike."
        )
    elif real["rescaled"] or synth["rescaled"]:
        yield (
            "One side's grey levels are scaled to their own range, since they were not 8-bit, and the other's are not: "
            "this alone makes brightness and contrast differ, and the distance of appearance large. Convert both to 8 "
            "bits alike."
        )


def _of_the_mix(mix: dict[str, Any]) -> Iterator[str]:
    if UNKNOWN in mix["real"] | mix["synth"]:
        yield "Not both sides tell their cell types: a difference in their mix alone would count as a distance."
    elif not mix["matched"]:
        yield "The sides were not brought to one mix of cell types: a difference in the mix alone counts as a distance."
    missing = mix["real"].keys() - mix["synth"].keys() - {UNKNOWN}
    if missing and UNKNOWN not in mix["synth"]:
        yield f"The synthetic side has no clips of {', '.join(sorted(missing))}, which the real side has."
    if mix["left_out_types"]:
        yield f"Synthetic clips of {', '.join(mix['left_out_types'])} are left out: the real side has none."


def _of_numbers(real: dict[str, Any], synth: dict[str, Any]) -> Iterator[str]:
    few = [name for name, side in (("real", real), ("synthetic", synth)) if side["units"] < MIN_UNITS]
    if few:
        yield (
            f"Fewer than {MIN_UNITS} independent units on the {' and '.join(few)} side: effect sizes and intervals are "
            "given, p-values are not, and the intervals are likely too narrow."
        )
    if min(real["clips"], synth["clips"]) < FEW_CLIPS:
        yield f"Fewer than {FEW_CLIPS} clips on a side: rare kinds of clips are missing from every figure."


def _of_distances(distances: dict[str, dict[str, Any]]) -> Iterator[str]:
    splits = min(found["splits"] for found in distances.values())
    if splits < LEAST_SPLITS:
        yield (
            f"The real clips can be halved in {splits} way(s) only: the floor rests on one or two comparisons, and the "
            "distances get no verdict."
        )
    for family, found in distances.items():
        if not found["trusted"]:
            yield f"The {family} distance missed a control that it should detect: do not rely on it in this report."


def _of_copies(memorisation: dict[str, Any]) -> Iterator[str]:
    if memorisation["control"] < FOUND_COPIES:
        share = 100 * memorisation["control"]
        yield f"Only {share:.0f} % of planted copies were recognised: a small copy share proves little here."
    if memorisation["copy_share_real"] > CHANCE_COPIES:
        yield (
            f"Held-out real clips reach a correlation of {COPY} with training clips as well: cells of this kind look "
            "alike, or the recordings are not independent, so copies cannot be told for certain."
        )
    if memorisation["searched"] < memorisation["available"]:
        yield (
            f"Copies were searched for in {memorisation['searched']} of {memorisation['available']} training clips, "
            "chosen at random: copies of the others go undetected."
        )
    if not memorisation["training_given"]:
        yield "No training set was given, so copies were searched for among the real clips only."


def _of_cells(tables: Sequence[Any], lengths: dict[str, Any] | None) -> Iterator[str]:
    for name, table in zip(("real", "synthetic"), tables, strict=True):
        if len(table.cells) < FEW_CELLS:
            yield f"Only {len(table.cells)} cell outlines were found on the {name} side."
    yield (
        "Cells are segmented automatically. Touching cells may be merged and faint ones missed, on both sides by the "
        "same rules; a model whose images suit these rules better than recordings do would look better than it is."
    )
    if lengths is not None and max(lengths["censored"]) > MANY_CENSORED:
        yield "Many neurites leave the frame: the median length rests on the few that are seen whole."


def _of_left_out(measures: dict[str, dict[str, Any]]) -> Iterator[str]:
    names: dict[str, list[str]] = {}
    for name, row in measures.items():
        for kind in row.get("left_out", ()):
            names.setdefault(kind, []).append(name)
    for kind, found in names.items():
        yield f"Of {kind} one side has a single unit with a value of {', '.join(found)}: the type is left out there."
