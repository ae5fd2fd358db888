"""Classes of the clips to generate, requested or drawn from the training mix, and the scales that depend on them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

KINDS = ("cell_type", "density", "maturity")
"""Kinds of class that a checkpoint may know, in the order of its embeddings."""

Asked = str | Sequence[str | None] | None


def check_classes(
    class_names: Mapping[str, Sequence[str]] | None,
    known: Sequence[int] | None,
    class_weights: Mapping[str, Sequence[float] | None] | None,
    scales: Mapping[str, float | Mapping[str, float]],
) -> None:
    """Raise `ValueError` unless `class_names` has as many classes of each kind as the model embeds (`known`), with
    weights for all of a kind or none, and `scales` by cell type have one for each."""
    class_names = class_names or {}
    named = [len(class_names[kind]) for kind in KINDS if kind in class_names]
    if named != list(known or []):
        raise ValueError(
            f"class_names must name the classes that the model knows, {list(known or [])}, got {named}; "
            "from_pipe, and not components alone, makes another pipeline with all settings"
        )
    for kind, weights in (class_weights or {}).items():
        if weights and len(weights) != len(class_names.get(kind, ())):
            raise ValueError(f"class_weights.{kind} must have one for each of {class_names.get(kind)}, got {weights}")
    types = class_names.get("cell_type", ())
    for name, scale in scales.items():
        if isinstance(scale, Mapping) and not (types and set(scale) >= set(types)):
            raise ValueError(
                f"{name} must be a number or have one for each cell type, {list(types)}, got {dict(scale)}"
            )


def draw_classes(
    config: Any,
    asked: Mapping[str, Asked],
    generators: Sequence[torch.Generator],
    left_open: Collection[str] = (),
) -> torch.Tensor | None:
    """
    Determine the class indices of each clip.

    Args:
        config: The pipeline's, with `class_names` and `class_weights`.
        asked (`dict`): Name for each of `KINDS`, or a list with one for each clip; `None` where none is requested.
        generators (`list[torch.Generator]`): One for each clip.
        left_open (`Collection[str]`): Kinds that are not drawn: unknown (-1) where no name is requested. Other kinds
            are drawn even where a name is requested, so that the clip's noise is the same either way.

    Returns:
        `torch.Tensor` of shape `(batch_size, known kinds)`, int64, or `None` if the checkpoint knows no kinds.

    Raises:
        ValueError: If a name is not among the checkpoint's, or a list does not have one for each clip.
    """
    known: dict[str, list[str]] = config.class_names or {}
    columns = []
    for kind in KINDS:
        names = one_for_each_clip(kind, asked[kind], len(generators))
        for name in names:
            if name is not None and name not in known.get(kind, []):
                can = f"one of {known[kind]}" if kind in known else "None: this checkpoint was not trained with it"
                raise ValueError(f"{kind} must be {can}, got {name!r}")
        if kind in known:
            weights = torch.tensor((config.class_weights or {}).get(kind) or [1.0] * len(known[kind]))
            drawn = [-1 if kind in left_open else _draw(weights, each) for each in generators]
            columns.append(
                [index if name is None else known[kind].index(name) for name, index in zip(names, drawn, strict=True)]
            )
    return torch.tensor(columns).T.contiguous() if columns else None


def names_of(config: Any, labels: torch.Tensor | None) -> list[dict[str, str | None]] | None:
    """Each clip's classes by kind, `None` for a kind left open; `labels` from `draw_classes`."""
    if labels is None:
        return None
    known = {kind: config.class_names[kind] for kind in KINDS if kind in config.class_names}
    return [
        {kind: known[kind][index] if index >= 0 else None for kind, index in zip(known, row, strict=True)}
        for row in labels.tolist()
    ]


def nearest_cell_types(config: Any, frames: torch.Tensor) -> list[str]:
    """
    The cell type that the given frames of each clip resemble most, where cell types have scales of their own.

    Args:
        config: The pipeline's, with `video_mean` and `video_std` of each cell type.
        frames (`torch.Tensor` of shape `(B, n, H, W)`): Given frames, in [0, 1].

    Returns:
        `list[str]` with the name of one cell type for each clip: the one with the smallest Kullback-Leibler divergence
        of the frames' grey values from its own, both modelled as normal.
    """
    names = list(config.video_mean)
    mean, std = (torch.tensor([of_type[name] for name in names]) for of_type in (config.video_mean, config.video_std))
    grey = frames.flatten(1)
    variance = (grey.var(1) + (grey.mean(1) - mean[:, None]) ** 2) / std[:, None] ** 2
    divergence = variance / 2 + std[:, None].log()  # without terms that are the same for all types
    return [names[index] for index in divergence.argmin(0).tolist()]


def video_scale(config: Any, labels: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the video, each `(1 or B, 1, 1, 1)`; `labels` from `draw_classes`."""
    values = []
    for of_video in (config.video_mean, config.video_std):
        if isinstance(of_video, dict):
            assert labels is not None  # cell types come first among the labels
            table = torch.tensor([of_video[name] for name in config.class_names["cell_type"]])
            values.append(table[labels[:, 0]])
        else:
            values.append(torch.tensor([of_video]))
    mean, std = (value[:, None, None, None] for value in values)
    return mean, std


def value_of(config: Any, name: str, cell_type: str | None) -> float | None:
    """`pixel_size_um` or `frame_interval_min` of a clip; each cell type may have its own."""
    value = config[name]
    return value.get(cell_type) if isinstance(value, dict) else value


def of_clips(arguments: Mapping[str, Any], part: slice) -> dict[str, Any]:
    """Arguments of a pipeline call for some of the clips: lists of classes, with one for each clip, are sliced."""
    return {name: each[part] if name in KINDS and isinstance(each, list) else each for name, each in arguments.items()}


def one_for_each_clip(kind: str, asked: Asked, count: int) -> Sequence[str | None]:
    """The class requested for each of `count` clips, `None` where none is."""
    if asked is None or isinstance(asked, str):
        return [asked] * count
    if not isinstance(asked, Sequence):
        raise ValueError(f"{kind} must be the name of a class, or a list of them, got {asked!r}")
    if len(asked) != count:
        raise ValueError(f"{kind} must be one name or a list of one for each of the {count} clips, got {len(asked)}")
    return asked


def _draw(weights: torch.Tensor, generator: torch.Generator) -> int:
    return int(torch.multinomial(weights.to(generator.device), 1, generator=generator))
