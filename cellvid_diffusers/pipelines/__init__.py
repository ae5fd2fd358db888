"""From weights to cell videos."""

from .cell_video import CellVideoPipeline
from .output import CellVideoPipelineOutput

__all__ = ["CellVideoPipeline", "CellVideoPipelineOutput"]
