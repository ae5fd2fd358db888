"""Generate clips to compare with held-out ones, with the same mix of cell types, on a GPU if there is one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellvid_diffusers import CellVideoPipeline
from cellvid_diffusers.pipelines.classes import of_clips


def load_pipeline(checkpoint: Path) -> CellVideoPipeline:
    """Load a checkpoint, onto a GPU if there is one."""
    pipe = CellVideoPipeline.from_pretrained(checkpoint)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to("cuda" if torch.cuda.is_available() else "cpu")


def generate(
    pipe: CellVideoPipeline, seeds: Sequence[int], *, batch_size: int = 8, **arguments: Any
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Generate clips of these seeds in batches: video `(N, F, H, W)` uint8, flow `(N, F, H, W, 2)` in px/frame if the
    checkpoint generates flow, and cell types `(N,)` if it has them.

    Arguments are passed to the pipeline; a list of classes has one entry for each clip.
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
    """`count` names in the proportions of `kinds`, ordered so that the first few are as close to these as possible.

    Cell types differ in every distance: clips of another mix would be far from real ones however realistic they are.
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
    """Arguments that give a pipeline's clips the mix of `kinds`; empty if it knows none of them."""
    known = np.isin(kinds, (pipe.config.class_names or {}).get("cell_type", []))
    return {"cell_type": names_in_mix(kinds[known], count)} if known.any() else {}
