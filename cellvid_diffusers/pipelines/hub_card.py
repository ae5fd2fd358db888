"""The model card that a pipeline gets when it is pushed to a repository that has none."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import ModelCard, ModelCardData


def hub_card(config: Mapping[str, Any], repo_id: str, *, has_flow: bool) -> ModelCard:
    """Write what a pipeline's configuration tells, how to load it, and what its author should add.

    Args:
        config (`Mapping[str, Any]`): Of the pipeline.
        repo_id (`str`): Where it is pushed to.
        has_flow (`bool`): Whether it generates optical flow with the video.
    """
    data = ModelCardData(
        library_name="cellvid_diffusers",
        pipeline_tag="unconditional-image-generation",
        tags=["video", "microscopy", "cells", "diffusion", *(["optical-flow"] if has_flow else [])],
    )
    classes = [f"* `{kind}`: {', '.join(names)}" for kind, names in (config["class_names"] or {}).items()]
    lines = [
        f"# {repo_id.split('/')[-1]}",
        f"A diffusion model of microscopy video{' and its optical flow' if has_flow else ''}. Load it with the package "
        "`cellvid_diffusers` instead of `DiffusionPipeline`:",
        "```python\n"
        "from cellvid_diffusers import CellVideoPipeline\n\n"
        f'pipe = CellVideoPipeline.from_pretrained("{repo_id}")\n'
        "out = pipe()  # out.frames in [0, 1]" + (", out.flow in pixels per frame\n" if has_flow else "\n") + "```",
        *(["Classes that can be requested:", "\n".join(classes)] if classes else []),
        f"Trained for: {', '.join(config['noise_patterns'])}.",
        "To be added: the recordings that it was trained on and their terms, how long it was trained, and an "
        "evaluation on held-out recordings (`cellvid evaluate`).",
    ]
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(lines) + "\n")
