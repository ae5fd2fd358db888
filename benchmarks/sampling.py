"""Clips to compare with held-out ones: a checkpoint where it samples fastest, asked for the same mix of cell types."""

from pathlib import Path

import numpy as np
import torch

from cellvid_diffusers import CellVideoPipeline


def load_pipeline(checkpoint: Path) -> CellVideoPipeline:
    """A checkpoint, on a GPU where there is one."""
    pipe = CellVideoPipeline.from_pretrained(checkpoint)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to("cuda" if torch.cuda.is_available() else "cpu")


def names_in_mix(kinds: np.ndarray, count: int) -> list[str]:
    """`count` names in the mix of `kinds`, spread so that the first few of them are as near to it as can be.

    Cell types lie far apart in every distance: clips of another mix would be far from real ones however real they are.
    """
    names, numbers = np.unique(kinds, return_counts=True)
    shares, given = numbers / numbers.sum(), np.zeros(len(names))
    spread = []
    for position in range(1, count + 1):
        chosen = int(np.argmax(shares * position - given))
        given[chosen] += 1
        spread.append(str(names[chosen]))
    return spread


def asked_in_mix(pipe: CellVideoPipeline, kinds: np.ndarray, count: int) -> dict[str, list[str]]:
    """What to ask a pipeline for so that its clips have the mix of `kinds`: nothing where it knows none of them."""
    known = np.isin(kinds, (pipe.config.class_names or {}).get("cell_type", []))
    return {"cell_type": names_in_mix(kinds[known], count)} if known.any() else {}
