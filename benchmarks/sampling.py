"""Clips to compare with held-out ones: a checkpoint where it samples fastest, asked for the same mix of cell types."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.pipelines.classes import of_clips


def load_pipeline(checkpoint: Path) -> CellVideoPipeline:
    """A checkpoint, on a GPU where there is one."""
    pipe = CellVideoPipeline.from_pretrained(checkpoint)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to("cuda" if torch.cuda.is_available() else "cpu")


def generate(
    pipe: CellVideoPipeline, seeds: Sequence[int], *, batch_size: int = 8, **arguments: Any
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Clips of these seeds, a few at a time: video `(N, F, H, W)` uint8, flow `(N, F, H, W, 2)` in px/frame where the
    checkpoint makes any, and cell types `(N,)` where it knows them.

    Arguments are the pipeline's; of classes, a list holds one for each clip.
    """
    frames, flows, types = [], [], []
    for start in range(0, len(seeds), batch_size):
        part = slice(start, start + batch_size)
        generator = [torch.Generator().manual_seed(seed) for seed in seeds[part]]
        out = pipe(batch_size=len(generator), generator=generator, **of_clips(arguments, part))
        frames.append((out.frames * 255).round().astype(np.uint8))
        flows.append(out.flow)
        types += [each["cell_type"] for each in out.classes or () if "cell_type" in each]
    flow = None if flows[0] is None else np.concatenate(flows)
    return np.concatenate(frames), flow, np.array(types) if types else None


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
