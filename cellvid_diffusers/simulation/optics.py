r"""Phase-contrast image formation.

Light through a culture of optical phase :math:`\phi(x, y)` leaves as :math:`e^{i\phi}`. The ring in the objective's
back focal plane turns the undiffracted light by a quarter wave and attenuates it. The ring has a width, so that slowly
varying parts of the object are treated as undiffracted too; that makes the bright halo and the shade-off:

.. math:: I = |\mathcal{F}^{-1}\{\mathcal{F}\{e^{i\phi}\} (1 - (1 + i\sqrt\tau) G)\}|^2,
          \quad G(f) = e^{-(f / f_0)^2 / 2}.

References: Phase contrast, a new method for the microscopic observation of transparent objects (Zernike, 1942),
https://doi.org/10.1016/S0031-8914(42)80035-X; Understanding the phase contrast optics to restore artifact-free
microscopy images for segmentation (Yin, Kanade and Chen, 2012), https://doi.org/10.1016/j.media.2011.12.006
"""

import numpy as np
from scipy import fft


def phase_contrast(
    phase: np.ndarray, *, pixel_size_um: float, transmission: float = 0.25, halo_um: float = 14.0
) -> np.ndarray:
    """Image of a phase object.

    Parameters
    ----------
    phase : ndarray of shape (H, W)
        Optical phase in radians; positive is thicker. Thick parts come out dark (positive contrast).
    pixel_size_um : float
    transmission : float
        Share tau of the undiffracted light's intensity that the ring lets through.
    halo_um : float
        Range of the halo in micrometres; its inverse is the ring's width f0.

    Returns
    -------
    ndarray of shape (H, W)
        Intensity; 1 where nothing is.
    """
    rows, columns = (fft.fftfreq(n, pixel_size_um) for n in phase.shape)
    squared = rows[:, None] ** 2 + columns[None] ** 2
    ring = np.exp(-0.5 * squared * (2 * np.pi * halo_um / 2) ** 2)
    spectrum = fft.fft2(np.exp(1j * phase)) * (1 - (1 + 1j * np.sqrt(transmission)) * ring)
    return np.abs(fft.ifft2(spectrum)) ** 2 / transmission
