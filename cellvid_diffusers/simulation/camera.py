"""Imperfections between culture and recording: substrate, debris, dust, uneven and flickering light, noise."""

import cv2
import numpy as np
from scipy import fft

from .parameters import MicroscopeParameters


def substrate(
    side: int, pixel_size_um: float, microscope: MicroscopeParameters, rng: np.random.Generator
) -> np.ndarray:
    """Optical path difference of everything static, `(side, side)` um: roughness and debris."""
    rough = 1e-3 * microscope.floor_nm * (smooth_noise(side, 1.0, rng) + smooth_noise(side, 3.0, rng)) / np.sqrt(2)
    area = (side * pixel_size_um / 1000) ** 2
    for _ in range(rng.poisson(microscope.debris_per_mm2 * area)):
        x, y = rng.uniform(0, side, 2)
        size = rng.uniform(0.5, 1.4) / pixel_size_um
        _stamp(rough, x, y, size, rng.choice([1.0, 1.0, -0.5]) * rng.uniform(0.01, 0.06))
    return rough


def light_field(
    side: int, pixel_size_um: float, microscope: MicroscopeParameters, rng: np.random.Generator
) -> np.ndarray:
    """Relative brightness of the light, `(side, side)`, mean about 1: smooth variation and dust rings."""
    light = 1 + microscope.uneven_light * smooth_noise(side, side / 4, rng)
    area = (side * pixel_size_um / 1000) ** 2
    rows, columns = np.mgrid[:side, :side]
    for _ in range(rng.poisson(microscope.dust_per_mm2 * area)):
        x, y = rng.uniform(0, side, 2)
        radius = rng.uniform(6, 18) / pixel_size_um
        distance = np.hypot(rows - y, columns - x) / radius
        light += rng.normal(0, 0.012) * (np.exp(-0.5 * ((distance - 1) / 0.1) ** 2) + np.exp(-8 * distance**2))
    return light


def onto_pixels(intensity: np.ndarray, microscope: MicroscopeParameters) -> np.ndarray:
    """Integrate a periodic intensity `(H, W)`, sampled at pixel centres, over square pixels, with the camera's blur."""
    transfer = [
        np.sinc(f) * np.exp(-2 * (np.pi * microscope.pixel_blur * f) ** 2)
        for f in (fft.fftfreq(intensity.shape[0]), fft.rfftfreq(intensity.shape[1]))
    ]
    return fft.irfft2(fft.rfft2(intensity) * transfer[0][:, None] * transfer[1], s=intensity.shape)


def expose(intensity: np.ndarray, microscope: MicroscopeParameters, rng: np.random.Generator) -> np.ndarray:
    """Grey levels of one exposure, uint8: flicker, shot noise, read noise, 8 bits."""
    gain = 255 / microscope.full_well
    electrons = np.clip(intensity * (1 + rng.normal(0, microscope.flicker)), 0, None) * microscope.background / gain
    electrons = rng.poisson(electrons) + rng.normal(0, microscope.read_noise, intensity.shape)
    return np.clip(np.rint(electrons * gain), 0, 255).astype(np.uint8)


def smooth_noise(side: int, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise blurred over `scale` pixels, with standard deviation 1, `(side, side)`."""
    coarse = max(1, int(scale / 3))  # drawn on a coarse grid where it is smooth
    small = -(-side // coarse) + 1
    noise = cv2.GaussianBlur(rng.normal(size=(small, small)), (0, 0), scale / coarse)
    noise = cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    return (noise - noise.mean()) / noise.std()


def _stamp(field: np.ndarray, x: float, y: float, size: float, height: float) -> None:
    reach = int(4 * size) + 2
    x0, y0 = max(0, int(x) - reach), max(0, int(y) - reach)
    rows, columns = np.mgrid[y0 : min(len(field), int(y) + reach + 1), x0 : min(len(field), int(x) + reach + 1)]
    field[rows, columns] += height * np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / size**2)
