"""Checks of a pipeline call's arguments, made before anything is computed."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch

from ..noise_schedule import PREDICTION_TYPES

MOST_NOISE_OF_SECOND_ORDER = 1000.0
"""Highest noise over signal from which a second-order scheduler can start; the cosine schedule ends at 20,000."""


def check_sizes(
    multiple: int, num_frames: int, height: int, width: int, batch_size: int, num_inference_steps: int
) -> None:
    """Raise `ValueError` unless all counts are at least 1 and height and width are multiples of `multiple`."""
    for name, value in (
        ("num_frames", num_frames),
        ("batch_size", batch_size),
        ("num_inference_steps", num_inference_steps),
    ):
        if not isinstance(value, Integral):
            raise ValueError(f"{name} must be a whole number, got {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if not isinstance(height, Integral) or not isinstance(width, Integral):
        raise ValueError(f"height and width must be whole numbers, got {height!r} x {width!r}")
    if height % multiple or width % multiple or min(height, width) < multiple:
        raise ValueError(f"height and width must be positive multiples of {multiple}, got {height} x {width}")


def check_scheduler(scheduler: Any) -> None:
    """Raise `ValueError` for schedulers whose noise is not that of training, and for second-order ones such as Heun's,
    whose first step would be far too long."""
    kind = getattr(scheduler.config, "prediction_type", None)
    needed = ("alphas_cumprod", "init_noise_sigma", "order")
    if kind not in PREDICTION_TYPES or not all(hasattr(scheduler, name) for name in needed):
        raise ValueError(
            f"scheduler must be one of noise levels alphas_cumprod, with prediction_type among {PREDICTION_TYPES}, "
            f"got {type(scheduler).__name__} with {kind}"
        )
    noise = float(scheduler.init_noise_sigma)
    if scheduler.order > 1 and noise > MOST_NOISE_OF_SECOND_ORDER:
        raise ValueError(
            f"scheduler must be a multistep or a first-order one, got {type(scheduler).__name__}: "
            f"from {noise:.0f} times as much noise as signal its first step magnifies every error"
        )


def check_tensor_inputs(names: Sequence[str], known: Sequence[str]) -> None:
    """Raise `ValueError` if a callback requests tensors that do not exist."""
    if isinstance(names, str) or not set(names) <= set(known):
        raise ValueError(f"callback_on_step_end_tensor_inputs must be among {list(known)}, got {names}")


def clip_generators(
    generator: torch.Generator | Sequence[torch.Generator] | None, batch_size: int
) -> list[torch.Generator]:
    """One generator per clip: the n-th depends only on the n-th draw from the given one."""
    if isinstance(generator, Sequence):
        if len(generator) != batch_size:
            raise ValueError(f"generator must hold one for each of the {batch_size} clips, got {len(generator)}")
        if not all(isinstance(each, torch.Generator) for each in generator):
            raise ValueError(f"generator must be a torch.Generator, or one for each clip, got {list(generator)}")
        return list(generator)
    if generator is not None and not isinstance(generator, torch.Generator):
        raise ValueError(f"generator must be a torch.Generator, or one for each clip, got {generator!r}")
    device = generator.device if generator is not None else "cpu"
    seeds = [int(torch.randint(2**62, (1,), generator=generator, device=device)) for _ in range(batch_size)]
    return [torch.Generator(device).manual_seed(seed) for seed in seeds]
