"""What a report says to distrust: one sentence for each reason, and none without."""

from types import SimpleNamespace

import pytest

from cellvid_diffusers.evaluation.caveats import caveats

ALWAYS = 1  # cells are found automatically


def details(**changed) -> dict:
    """A report with nothing to distrust, but for what is changed: `real__clips=3`, `mix__matched=False`."""
    side = {
        "recordings": 20,
        "units": 20,
        "clips": 200,
        "pixel_sizes_um": [1.3, 1.74],
        "frame_intervals_min": [15.0],
        "rescaled": False,
    }
    blameless = {
        "real": dict(side),
        "synth": dict(side),
        "mix": {"real": {"u373": 1.0}, "synth": {"u373": 1.0}, "matched": True, "left_out_types": []},
        "memorisation": {
            "control": 1.0,
            "copy_share_real": 0.0,
            "training_given": True,
            "searched": 90,
            "available": 90,
        },
        "motion": {"splits": 200, "trusted": True},
        "lengths": {"censored": [0.1, 0.1]},
        "cells": {"real": 400, "synth": 400},
        "area": {"left_out": []},
    }
    for name, value in changed.items():
        part, key = name.split("__")
        blameless[part][key] = value
    return {
        "sides": {"real": blameless["real"], "synth": blameless["synth"]},
        "mix": blameless["mix"],
        "memorisation": blameless["memorisation"],
        "distances": {"motion": blameless["motion"]},
        "lengths": blameless["lengths"],
        "measures": {"cell area": blameless["area"]},
        "tables": [SimpleNamespace(cells=[None] * blameless["cells"][side]) for side in ("real", "synth")],
    }


def test_without_a_reason_there_is_one_sentence():
    assert len(caveats(details())) == ALWAYS


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"real__recordings": 2}, "come from 2 recording"),
        ({"real__recordings": 200}, "Each real file counts"),
        ({"synth__pixel_sizes_um": [0.65]}, "pixel size (1.3 to 1.74 and 0.65 µm)"),
        ({"synth__frame_intervals_min": [10.0, 15.0]}, "interval of frames (15 and 10 to 15 min)"),
        ({"real__rescaled": True}, "One side's grey levels"),
        ({"real__rescaled": True, "synth__rescaled": True}, "The sides' grey levels"),
        ({"mix__matched": False}, "not brought to one mix"),
        ({"mix__synth": {"unknown": 1.0}}, "Not both sides tell"),
        ({"mix__real": {"u373": 0.5, "t98g": 0.5}}, "no clips of t98g"),
        ({"mix__left_out_types": ["t98g"]}, "are left out"),
        ({"synth__units": 3}, "independent units on the synthetic side"),
        ({"real__clips": 10}, "clips on a side"),
        ({"motion__splits": 2}, "halved in 2 way"),
        ({"motion__trusted": False}, "missed a control"),
        ({"memorisation__control": 0.9}, "Only 90 % of planted"),
        ({"memorisation__copy_share_real": 0.1}, "cannot be told for certain"),
        ({"memorisation__training_given": False}, "No training set"),
        ({"memorisation__available": 100}, "in 90 of 100 training clips"),
        ({"synth__pixel_sizes_um": []}, "Only one side tells its pixel size"),
        ({"cells__synth": 3}, "Only 3 cell outlines were found on the synthetic side"),
        ({"lengths__censored": [0.1, 0.5]}, "leave the frame"),
        ({"area__left_out": ["u373"]}, "Of u373 one side has a single unit with a value of cell area"),
    ],
)
def test_each_reason_is_told(changed, words):
    found = caveats(details(**changed))
    assert len(found) == ALWAYS + 1
    assert sum(words in sentence for sentence in found) == 1


def test_lengths_may_be_missing():
    assert len(caveats(details() | {"lengths": None})) == ALWAYS
