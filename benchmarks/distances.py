"""Distances of clips to held-out ones in units of the real-vs-real floor, as printed on several pages."""

from typing import Any

import numpy as np

from cellvid_diffusers.evaluation import compare_clips
from cellvid_diffusers.evaluation.clips import ClipSet


def distances_to(real: ClipSet, clips: np.ndarray) -> dict[str, dict[str, Any]]:
    """Family -> `ratio`, `interval` and the other results of `compare_clips` for clips `(N, F, H, W)` uint8."""
    groups, strata, _ = real.groups()
    return compare_clips(real.frames, clips, real_groups=groups, real_strata=strata, controls=False)["distances"]


def distances_in_words(real: ClipSet, clips: np.ndarray) -> dict[str, str]:
    """The three distances in units of the floor, each with its interval, as text."""
    return {
        family: f"{of['ratio']:.1f} [{of['interval'][0]:.1f}, {of['interval'][1]:.1f}]"
        for family, of in distances_to(real, clips).items()
    }
