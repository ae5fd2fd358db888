"""Motion from pixels: dense flow, sparse tracks, warping and visualization. Independent of the diffusion code."""

from .dis import dis_flow
from .horn_schunck import horn_schunck
from .lucas_kanade import lucas_kanade
from .render import LEAST_MAX_SPEED, draw_quiver, flow_to_rgb
from .warp import warp

__all__ = ["LEAST_MAX_SPEED", "dis_flow", "draw_quiver", "flow_to_rgb", "horn_schunck", "lucas_kanade", "warp"]
