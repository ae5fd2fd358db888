"""Classes of the clips to be made: those asked for, the rest drawn from the training mix."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

KINDS = ("cell_type", "density", "maturity")
"""Kinds of class that a checkpoint may know, in the order of its embeddings."""

Asked = str | Sequence[str | None] | None


def draw_classes(
    config: Any,
    asked: Mapping[str, Asked],
    generators: Sequence[torch.Generator],
    left_open: Collection[str] = (),
) -> torch.Tensor | None:
    """
    Class indices of each clip.

    Args:
        config: The pipeline's, with `class_names` and `class_weights`.
        asked (`dict`): Name for each of `KINDS`, or a list with one for each clip; `None` where nothing is asked.
        generators (`list[torch.Generator]`): One for each clip.
        left_open (`Collection[str]`): Kinds that are left unknown (-1) where nothing is asked instead of drawn.

    Returns:
        `torch.Tensor` of shape `(batch_size, kinds that are known)`, int64, or `None` if none is.

    Raises:
        ValueError: If a name is not among the checkpoint's, or a list does not have one for each clip.
    """
    known: dict[str, list[str]] = config.class_names or {}
    columns = []
    for kind in KINDS:
        names = _one_for_each_clip(kind, asked[kind], len(generators))
        for name in names:
            if name is not None and name not in known.get(kind, []):
                can = f"one of {known[kind]}" if kind in known else "None: this checkpoint was not trained with it"
                raise ValueError(f"{kind} must be {can}, got {name!r}")
        if kind in known:
            weights = torch.tensor((config.class_weights or {}).get(kind) or [1.0] * len(known[kind]))
            columns.append(
                [
                    known[kind].index(name) if name is not None else -1 if kind in left_open else _draw(weights, each)
                    for name, each in zip(names, generators, strict=True)
                ]
            )
    return torch.tensor(columns).T.contiguous() if columns else None


def names_of(config: Any, labels: torch.Tensor | None) -> list[dict[str, str | None]] | None:
    """Each clip's classes by kind, `None` for one left open; `labels` from `draw_classes`."""
    if labels is None:
        return None
    known = {kind: config.class_names[kind] for kind in KINDS if kind in config.class_names}
    return [
        {kind: known[kind][index] if index >= 0 else None for kind, index in zip(known, row, strict=True)}
        for row in labels.tolist()
    ]


def _one_for_each_clip(kind: str, asked: Asked, count: int) -> Sequence[str | None]:
    if asked is None or isinstance(asked, str):
        return [asked] * count
    if len(asked) != count:
        raise ValueError(f"{kind} must be one name or a list of one for each of the {count} clips, got {len(asked)}")
    return asked


def _draw(weights: torch.Tensor, generator: torch.Generator) -> int:
    return int(torch.multinomial(weights.to(generator.device), 1, generator=generator))
