"""Denoising networks for clips of video and optical flow."""

from .unet_3d import PAPER_CONFIG, UNet3DModel, UNet3DOutput
from .unet_motion_3d import PAPER_MOTION_CONFIG, MotionUNet3DModel

__all__ = ["PAPER_CONFIG", "PAPER_MOTION_CONFIG", "MotionUNet3DModel", "UNet3DModel", "UNet3DOutput"]
