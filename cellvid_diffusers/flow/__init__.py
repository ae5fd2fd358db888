"""Motion from pixels: dense flow, sparse tracks, warping and pictures of them. Knows nothing of diffusion."""

from .horn_schunck import horn_schunck
from .warp import warp

__all__ = ["horn_schunck", "warp"]
