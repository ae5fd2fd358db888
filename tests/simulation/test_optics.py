"""The microscope against what is known of it."""

import numpy as np
import pytest

from cellvid_diffusers.simulation import MicroscopeParameters, phase_contrast


def disc(radius: float, height: float, side: int = 160) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:side, :side] - side // 2
    distance = np.hypot(rows, columns)
    return height * np.clip(radius - distance + 0.5, 0, 1), distance


@pytest.mark.parametrize("height", [0.0, 0.2])
def test_uniform_objects_are_invisible(height):
    np.testing.assert_allclose(phase_contrast(np.full((32, 32), height), pixel_size_um=1.0), 1.0, rtol=1e-4)


def test_small_thin_objects_follow_zernike():
    """A small speck of phase phi reads (1 - phi / sqrt(tau))^2, to first order 1 - 2 phi / sqrt(tau)."""
    microscope = MicroscopeParameters(transmission=0.25, defocus_um=0.0)
    path, distance = disc(2.0, 0.002)
    image = phase_contrast(path, pixel_size_um=1.0, microscope=microscope)
    phase = 2 * np.pi * 0.002 / microscope.wavelength_um
    assert 1 - image[distance < 1].mean() == pytest.approx(4 * phase, rel=0.25)


def test_thin_bodies_are_dark_with_a_bright_halo():
    path, distance = disc(10, 0.03)
    image = phase_contrast(path, pixel_size_um=1.0)
    assert image[distance < 8].mean() < 0.85
    assert image[(distance > 12) & (distance < 16)].mean() > 1.03
    assert image[distance > 60].mean() == pytest.approx(1, abs=0.02)


def test_large_bodies_fade_towards_their_middle():
    """Shade-off: light diffracted by small angles meets the ring as direct light does."""
    path, distance = disc(40, 0.03, 256)
    image = phase_contrast(path, pixel_size_um=1.0)
    assert image[(distance > 30) & (distance < 37)].mean() < image[distance < 10].mean() - 0.05


def test_thick_bodies_turn_bright():
    path, distance = disc(3, 0.18)
    image = phase_contrast(path, pixel_size_um=1.0, microscope=MicroscopeParameters(transmission=0.25))
    assert image[distance < 2].mean() > 1.5


def test_a_narrower_ring_has_a_wider_halo_and_less_shade_off():
    path, distance = disc(12, 0.03)
    narrow, wide = (
        phase_contrast(
            path, pixel_size_um=1.0, microscope=MicroscopeParameters(ring_na=ring, annulus_na=(0.134, 0.136))
        )
        for ring in ((0.125, 0.145), (0.10, 0.17))
    )
    around = (distance > 16) & (distance < 22)
    assert narrow[around].mean() > wide[around].mean() + 0.03
    assert narrow[distance < 8].mean() < wide[distance < 8].mean() - 0.1
