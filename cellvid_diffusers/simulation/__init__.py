"""Simulated phase-contrast cultures whose masks, neurites, tracks and flow are known."""

from .culture import SimulatedCulture, simulate
from .optics import phase_contrast

__all__ = ["SimulatedCulture", "phase_contrast", "simulate"]
