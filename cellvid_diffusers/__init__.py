"""Diffusion models of living neural cultures: phase-contrast video and its optical flow, learned together.

Public names are imported on first use, so that `import cellvid_diffusers` loads only the modules that are needed.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "CellVideoPipeline": "pipelines",
    "CellVideoPipelineOutput": "pipelines",
    "MotionUNet3DModel": "models",
    "StochasticDPMSolverScheduler": "schedulers",
    "UNet3DModel": "models",
    "horn_schunck": "flow",
    "load_patches": "data",
    "read_recording": "data",
    "segment_cells": "evaluation",
    "simulate": "simulation",
    "warp": "flow",
}

__all__ = [
    "CellVideoPipeline",
    "CellVideoPipelineOutput",
    "MotionUNet3DModel",
    "StochasticDPMSolverScheduler",
    "UNet3DModel",
    "__version__",
    "horn_schunck",
    "load_patches",
    "read_recording",
    "segment_cells",
    "simulate",
    "warp",
]

if TYPE_CHECKING:
    from .data import load_patches, read_recording
    from .evaluation import segment_cells
    from .flow import horn_schunck, warp
    from .models import MotionUNet3DModel, UNet3DModel
    from .pipelines import CellVideoPipeline, CellVideoPipelineOutput
    from .schedulers import StochasticDPMSolverScheduler
    from .simulation import simulate


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
