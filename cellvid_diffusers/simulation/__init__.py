"""Simulated phase-contrast cultures with known masks, neurites, tracks and flow."""

from .culture import NeuriteLine, SimulatedCulture, simulate
from .optics import phase_contrast
from .parameters import DENSITIES, MATURITIES, CultureParameters, Maturity, MicroscopeParameters

__all__ = [
    "DENSITIES",
    "MATURITIES",
    "CultureParameters",
    "Maturity",
    "MicroscopeParameters",
    "NeuriteLine",
    "SimulatedCulture",
    "phase_contrast",
    "simulate",
]
