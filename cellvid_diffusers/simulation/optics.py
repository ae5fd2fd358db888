r"""Image formation of a phase-contrast microscope.

A culture with optical path difference :math:`\Delta(x)` turns a plane wave into :math:`e^{i\phi}`,
:math:`\phi = 2\pi\Delta/\lambda`. Each point :math:`s` of the condenser annulus emits one tilted plane wave, and the
image is the sum of their intensities (Abbe's sum over an incoherent source):

.. math:: I = \sum_s |\mathcal F^{-1}\{P(f + s)\, \mathcal F\{e^{i\phi}\}\}|^2, \quad
          P(f) = \begin{cases} -i\sqrt\tau & \text{on the ring} \\ 1 & \text{elsewhere in the aperture} \end{cases}

The phase ring shifts the direct light by a quarter wave and dims it (Zernike), which makes phase visible. Light that
the object diffracts by small angles also passes the ring; its finite width thus causes the bright halo around a body
and the shade-off inside it. Neither is added by other means.

References: Phase contrast, a new method for the microscopic observation of transparent objects (Zernike, 1942),
https://doi.org/10.1016/S0031-8914(42)80035-X; Understanding the phase contrast optics to restore artifact-free
microscopy images for segmentation (Yin, Kanade and Chen, 2012), https://doi.org/10.1016/j.media.2011.12.006
"""

from functools import lru_cache

import numpy as np
from scipy import fft

from .parameters import MicroscopeParameters

SOURCES = 12
"""Number of points of the annulus that are summed."""


def phase_contrast(
    path_difference: np.ndarray, *, pixel_size_um: float, microscope: MicroscopeParameters | None = None
) -> np.ndarray:
    """Image of a transparent object.

    Parameters
    ----------
    path_difference : ndarray of shape (H, W)
        Optical path difference in um, refractive index contrast times thickness. The field is periodic.
    pixel_size_um : float
    microscope : MicroscopeParameters, optional

    Returns
    -------
    ndarray of shape (H, W), float32
        Intensity, 1 for an empty field. Thin objects are dark with a bright halo, thick ones become bright.
    """
    microscope = microscope or MicroscopeParameters()
    wave = np.exp(2j * np.pi / microscope.wavelength_um * path_difference).astype(np.complex64)
    spectrum = fft.fft2(wave)
    pupils = _pupils(path_difference.shape, pixel_size_um, microscope)
    intensity = sum(np.abs(fft.ifft2(spectrum * pupil)) ** 2 for pupil in pupils)
    return intensity / (len(pupils) * microscope.transmission)


@lru_cache(maxsize=8)
def _pupils(shape: tuple[int, int], pixel_size_um: float, microscope: MicroscopeParameters) -> np.ndarray:
    """P(f + s) for each source s, `(S, H, W)`; edges are one frequency step wide, so that coarse grids stay smooth."""
    y, x = (microscope.wavelength_um * fft.fftfreq(n, pixel_size_um) for n in shape)
    step = max(x[1], y[1])
    inner, outer = microscope.ring_na
    turn = np.arange(SOURCES) * (2 * np.pi / SOURCES)
    # Odd and even sources lie on two circles, as the annulus has a width.
    radius = np.where(np.arange(SOURCES) % 2, *microscope.annulus_na)
    pupils = []
    for sx, sy in zip(radius * np.cos(turn), radius * np.sin(turn), strict=True):
        aperture = np.hypot(x[None, :] + sx, y[:, None] + sy)
        ring = _within(aperture - inner, step) * _within(outer - aperture, step)
        ring /= ring[0, 0]  # direct light lies entirely on the ring
        open_ = _within(microscope.objective_na - aperture, step)
        defocus = np.exp(-1j * np.pi / microscope.wavelength_um * microscope.defocus_um * aperture**2)
        pupils.append(open_ * defocus * (1 - (1 + 1j * np.sqrt(microscope.transmission)) * np.minimum(ring, 1)))
    return np.stack(pupils).astype(np.complex64)


def _within(distance: np.ndarray, step: float) -> np.ndarray:
    return np.clip(distance / step + 0.5, 0, 1)
