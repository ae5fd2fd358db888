"""Denoising networks for clips of video and optical flow."""

from .unet_3d import PAPER_CONFIG, UNet3DModel, UNet3DOutput

__all__ = ["PAPER_CONFIG", "UNet3DModel", "UNet3DOutput"]
