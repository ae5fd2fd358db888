"""Distances of clips to held-out ones over the real-vs-real floor, as several pages print them."""

from typing import Any

import numpy as np

from cellvid_diffusers.evaluation import compare_clips
from cellvid_diffusers.evaluation.clips import ClipSet


def distances_to(real: ClipSet, clips: np.ndarray) -> dict[str, dict[str, Any]]:
    """Family -> `ratio`, `interval` and the rest of what `compare_clips` says of clips `(N, F, H, W)` uint8."""
    groups, strata, _ = real.groups()
    return compare_clips(real.frames, clips, real_groups=groups, real_strata=strata, controls=False)["distances"]


def distances_in_words(real: ClipSet, clips: np.ndarray) -> dict[str, str]:
    """The three distances over the floor, each with its interval."""
    return {
        family: f"{of['ratio']:.1f} [{of['interval'][0]:.1f}, {of['interval'][1]:.1f}]"
        for family, of in distances_to(real, clips).items()
    }
