"""How strongly a call of the pipeline guides its clips and corrects them afterwards."""

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any


@dataclass(frozen=True)
class Strengths:
    """
    Arguments of [`CellVideoPipeline.__call__`], where they are described, with the values that change nothing.
    """

    num_restarts: int = 0
    restart_strength: float = 0.94
    residual_noise: float = 0.0
    flow_strength: float = 0.0
    guidance_scale: float = 1.0
    motion_guidance_scale: float = 1.0

    @classmethod
    def from_arguments(cls, config: Any, **given: float | None) -> "Strengths":
        """Values of a call; those that are `None` come from the pipeline's configuration."""
        values: dict[str, Any] = {
            name: getattr(config, name) if value is None else value for name, value in given.items()
        }
        return cls(**values)

    def check(
        self,
        *,
        channels: int,
        noise_patterns: Container[str],
        class_names: Any,
        timesteps: Sequence[int] | None,
    ) -> None:
        """Raise `ValueError` unless each value is in range and a model that was trained like this can meet it.

        Args:
            channels (`int`): 1 for video, 3 for video and flow.
            noise_patterns (`Container[str]`): What it was trained to do (`training_utils.NOISE_PATTERNS`).
            class_names (`Any`): True if it knows classes.
            timesteps (`Sequence[int]`, *optional*): The only ones that a distilled model knows.
        """
        for name, value in vars(self).items():
            kind, rule = (Integral, "a whole number") if name == "num_restarts" else (Real, "a number")
            if not isinstance(value, kind):
                raise ValueError(f"{name} must be {rule}, got {value!r}")
        for name in ("guidance_scale", "motion_guidance_scale"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {getattr(self, name)}")
        if self.num_restarts < 0 or not 0 < self.restart_strength <= 1:
            raise ValueError(
                "num_restarts must be at least 0 and restart_strength in (0, 1], "
                f"got {self.num_restarts} and {self.restart_strength}"
            )
        if not 0 <= self.residual_noise < math.inf:
            raise ValueError(f"residual_noise must be at least 0, got {self.residual_noise}")
        if self.residual_noise > 0 and timesteps:
            raise ValueError(
                f"residual_noise must be 0: this checkpoint was distilled to {list(timesteps)} and predicts at no "
                f"other noise level, got {self.residual_noise}"
            )
        if not 0 <= self.flow_strength <= 1:
            raise ValueError(f"flow_strength must be in [0, 1], got {self.flow_strength}")
        if self.guidance_scale != 1 and not class_names:
            raise ValueError(f"guidance_scale must be 1: this checkpoint knows no classes, got {self.guidance_scale}")
        if channels > 1 and "modalities" in noise_patterns:
            return
        for name, neutral in (("flow_strength", 0), ("motion_guidance_scale", 1)):
            value = getattr(self, name)
            if value != neutral:
                raise ValueError(
                    f"{name} must be {neutral}: this checkpoint was trained without noise levels of their own for "
                    f"video and flow (noise pattern modalities) or without flow, got {value}"
                )
