"""Pipelines that generate cell videos."""

from .cell_video import CellVideoPipeline
from .output import CellVideoPipelineOutput
from .roll_out import roll_out
from .tiling import Tiling

__all__ = ["CellVideoPipeline", "CellVideoPipelineOutput", "Tiling", "roll_out"]
