"""What to distrust in a report, in sentences, from its own figures."""

from typing import Any

from .clips import UNKNOWN
from .distance import LEAST_SPLITS
from .memorisation import COPY
from .statistics.permutation import MIN_UNITS

FEW_CELLS = 100


def caveats(details: dict[str, Any]) -> list[str]:
    """Sentences for the reader, most serious first."""
    out = []
    real, synth = details["sides"]["real"], details["sides"]["synth"]
    if real["recordings"] < MIN_UNITS:
        out.append(
            f"The real clips come from {real['recordings']} recording(s). What they have in common may be the culture, "
            "the day or the microscope; other cultures would look different. Where a cell type has one recording only, "
            "blocks of it are the units: p and verdicts speak of these recordings alone."
        )
    for name, key, unit in (("pixel size", "pixel_size_um", "µm"), ("interval of frames", "frame_interval_min", "min")):
        pair = real[key], synth[key]
        if None not in pair and abs(pair[1] / pair[0] - 1) > 0.02:
            out.append(
                f"The sides differ in their {name} ({pair[0]:g} and {pair[1]:g} {unit}), and all is compared in px and "
                "frames: bring them to one scale first."
            )
    if real["rescaled"] and synth["rescaled"]:
        out.append(
            "The sides' grey levels are scaled to a range of their own each, since they were not 8-bit: contrast and "
            "brightness may differ by that alone, and where they do differ it may not show."
        )
    elif real["rescaled"] or synth["rescaled"]:
        out.append(
            "One side's grey levels are scaled to their own range, since they were not 8-bit, and the other's are not: "
            "brightness and contrast differ by that alone."
        )
    if real["recordings"] == real["clips"]:
        out.append(
            "Each real file counts as a recording of its own. If several were cut from one recording, intervals are "
            "too narrow and real-against-real is too small: use a data set of cellvid prepare, which knows them."
        )
    mix = details["mix"]
    missing = mix["real"].keys() - mix["synth"].keys()
    if UNKNOWN in mix["real"] | mix["synth"]:
        out.append("Not both sides tell their cell types: a different mix of them alone would count as a distance.")
    elif not mix["matched"]:
        out.append("The sides were not brought to one mix of cell types: a different mix alone counts as a distance.")
    if missing and UNKNOWN not in mix["synth"]:
        out.append(f"The synthetic side has no clips of {', '.join(sorted(missing))}, which the real side has.")
    unreal = mix["left_out_types"]
    if unreal:
        out.append(f"Synthetic clips of {', '.join(unreal)} are left out: the real side has none.")
    few = [name for name, side in (("real", real), ("synthetic", synth)) if side["units"] < MIN_UNITS]
    if few:
        out.append(
            f"Fewer than {MIN_UNITS} independent units on the {' and '.join(few)} side: effect sizes and intervals are "
            "given, p-values are not, and the intervals are likely too narrow."
        )
    splits = min(found["splits"] for found in details["distances"].values())
    if splits < LEAST_SPLITS:
        out.append(
            f"The real clips can be halved in {splits} way(s) only: the floor is a single comparison or two, and the "
            "distances get no verdict."
        )
    for family, found in details["distances"].items():
        if not found["trusted"]:
            out.append(f"The {family} distance missed a control that it is meant to see here: do not rely on it.")
    if details["memorisation"]["control"] < 0.95:
        share = 100 * details["memorisation"]["control"]
        out.append(f"Only {share:.0f} % of planted copies were recognised: a small copy share proves little here.")
    if details["memorisation"]["copy_share_real"] > 0.05:
        out.append(
            f"Held-out real clips reach a correlation of {COPY} with training clips as well: cells of this kind look "
            "alike, or the recordings are not independent, and copies cannot be told for certain."
        )
    if not details["memorisation"]["training_given"]:
        out.append("No training set was given, so copies were searched for among the real clips only.")
    for name, table in zip(("real", "synthetic"), details["tables"], strict=True):
        if len(table.cells) < FEW_CELLS:
            out.append(f"Only {len(table.cells)} cell outlines were found on the {name} side.")
    if min(real["clips"], synth["clips"]) < 30:
        out.append("Fewer than 30 clips on a side: rare kinds of clips are missing from every figure.")
    out.append(
        "Cells are found automatically. Touching cells may count as one, and faint ones be missed, on both sides by "
        "the same rules; a model whose pictures suit the rules better than recordings do would look better than it is."
    )
    if details["lengths"] is not None and max(details["lengths"]["censored"]) > 0.3:
        out.append("Many neurites leave the frame: their median length rests on few that are seen whole.")
    return out
