"""Realism of videos: measures of cells, neurites and tracks, comparisons of sets of clips, and their uncertainty.

Public names are imported on first use.
"""

import importlib
from typing import Any

_HOME = {
    "Measurements": "measurements",
    "compare_clips": "distance",
    "count_events": "events",
    "evaluate": "examine",
    "flow_agreement": "motion",
    "group_clips": "halves",
    "link_cells": "tracks",
    "measure_cells": "cells",
    "measure_clip": "measurements",
    "measure_clips": "measurements",
    "measure_tracks": "tracks",
    "nearest_training_clips": "memorisation",
    "paper_table2": "compare",
    "read_imagej_rois": "external_masks",
    "read_masks": "external_masks",
    "segment_cells": "segment",
    "trace_neurites": "neurites",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # replaces the submodule of the same name, if there is one
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
