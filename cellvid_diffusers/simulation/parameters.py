"""Parameters of a simulated culture, its microscope and its camera, each with its unit and source.

A value without a source is an assumption, set so that simulated clips resemble recordings in appearance and in
measurements.

References
----------
Curl : Refractive index measurement in viable cells using quantitative phase-amplitude microscopy and confocal
    microscopy (Curl et al., 2005), 1.360 ± 0.004 for cytoplasm and nucleus.
Steelman : Is the nuclear refractive index lower than cytoplasm? (Steelman et al., 2017),
    https://pmc.ncbi.nlm.nih.gov/articles/PMC5647217
Outgrowth : Neurites grow with different outgrowth velocities, rat cortical neurons, 0 to 20 um/h, data of Yadaw et al.,
    https://plos.figshare.com/articles/Neurites_grow_with_different_outgrowth_velocities_/8064170/1
Wadkin : Correlated random walks of human embryonic stem cells in vitro (Wadkin et al., 2018), persistence of 50 min
    along the long axis, faster the longer the cell, https://arxiv.org/abs/1803.00063
Paper : Neural Cell Video Synthesis via Optical-Flow Diffusion (Serna-Aguilera et al.), Section 4.4 and Table 1.
"""

from dataclasses import dataclass, field

DENSITIES = ("very_sparse", "sparse", "moderate", "dense", "very_dense")
MATURITIES = ("very_young", "mature", "very_mature")


@dataclass(frozen=True)
class Maturity:
    """What changes as a culture matures (Paper: neurites grow into a network, cells move less and divide early)."""

    progenitors: float
    """Share of living cells that are progenitors: without neurites, migrating, dividing."""
    glia: float
    """Share of living cells that are glia: large, flat, of low contrast."""
    dead: float
    """Dead clumps per living cell."""
    neurites: tuple[int, int]
    """Fewest and most neurites of a neuron."""
    neurite_um: float
    """Mean length of a neurite at the first frame, um."""
    branching_per_h: float
    """Rate at which a neurite longer than 15 um starts branches, 1/h."""
    motility: float
    """Factor on all speeds of migration and of shape change."""
    division_per_h: float
    """Divisions of a progenitor or glial cell, 1/h."""


@dataclass(frozen=True)
class CultureParameters:
    """Cells and their behaviour."""

    cells_per_mm2: dict[str, float] = field(
        default_factory=lambda: dict(zip(DENSITIES, (90.0, 200.0, 450.0, 900.0, 1600.0), strict=True))
    )
    """Living cells per square millimetre, by density class."""
    maturities: dict[str, Maturity] = field(
        default_factory=lambda: {
            "very_young": Maturity(0.55, 0.10, 0.08, (1, 3), 12.0, 0.05, 1.5, 0.08),
            "mature": Maturity(0.20, 0.20, 0.12, (2, 4), 42.0, 0.15, 1.0, 0.025),
            "very_mature": Maturity(0.05, 0.25, 0.18, (3, 6), 80.0, 0.20, 0.35, 0.004),
        }
    )
    soma_um: tuple[float, float] = (5.0, 7.0)
    """Smallest and largest radius of a neuron's body, um."""
    progenitor_um: tuple[float, float] = (5.5, 7.5)
    """Radius of the middle of a progenitor, without its lamella and tail, um."""
    glia_um: tuple[float, float] = (9.0, 14.0)
    """Radius of the middle of a glial cell, without its lobes, um."""
    dead_um: tuple[float, float] = (3.0, 5.5)
    """Radius of one ball of a dead clump, um."""
    index_contrast: float = 0.023
    """Refractive index of cytoplasm minus that of medium, 1.360 (Curl) - 1.337."""
    nucleus_contrast: float = -0.004
    """Refractive index of the nucleus minus that of the cytoplasm (Steelman: it is lower)."""
    granule_nm: float = 20.0
    """Optical path difference of a vesicle or granule beyond that of the cytoplasm, nm."""
    dead_contrast: float = 0.034
    """Refractive index of shrunken, dense dead cells minus that of medium."""
    soma_height_um: float = 5.5
    progenitor_height_um: float = 4.5
    glia_height_um: float = 2.6
    """Largest thickness of a glial cell, over the nucleus, um; its lamella is a third as thick."""
    neurite_contrast: float = 0.017
    """Refractive index of a neurite minus that of medium: it is thinner than the depth of focus."""
    neurite_radius_um: tuple[float, float] = (0.45, 0.8)
    """Half thickness of a neurite, um."""
    cone_um: tuple[float, float] = (1.4, 2.4)
    """Radius of the palm of a growth cone, um; filopodia reach two to four times as far."""
    speed_um_per_h: dict[str, float] = field(
        default_factory=lambda: {"neuron": 5.0, "progenitor": 16.0, "glia": 7.0, "dead": 0.0}
    )
    """Mean speed of migration at motility 1, um/h."""
    persistence_min: float = 50.0
    """Persistence time of a cell's direction (Wadkin), min."""
    stride_min: float = 80.0
    """Duration of one migration cycle of stretching, adhering and dragging the rear along (Paper), min."""
    shape_memory_min: float = 60.0
    """Persistence time of an outline's shape at motility 1, min."""
    growth_um_per_h: float = 14.0
    """Speed of a growth cone, forwards when growing and backwards when retracting (Outgrowth), um/h."""
    retracting: float = 0.3
    """Share of its active (non-resting) time in which a neurite retracts."""
    switching_min: float = 40.0
    """Mean time between growing, resting and retracting, min."""
    round_um: float = 7.5
    """Largest radius of a cell that is rounded in mitosis, um."""
    mitosis_min: float = 60.0
    """Duration from the onset of rounding to two daughters, min."""
    growth_h: float = 8.0
    """Time in which a daughter makes up for all but 1/e of what she lacks of her mother's radius, h."""


@dataclass(frozen=True)
class MicroscopeParameters:
    """A 10x phase-contrast objective with its annulus, and a camera."""

    wavelength_um: float = 0.55
    """Green light, um."""
    objective_na: float = 0.3
    """Numerical aperture of a 10x Plan Fluor objective."""
    ring_na: tuple[float, float] = (0.115, 0.155)
    """Inner and outer radius of the phase ring in the pupil, as numerical apertures; its width causes the halo."""
    annulus_na: tuple[float, float] = (0.125, 0.145)
    """Inner and outer radius of the condenser's annulus, which lies within the ring."""
    transmission: float = 0.4
    """Share of the direct light's intensity that the ring lets through."""
    defocus_um: float = 2.0
    """Distance of the culture from the focal plane, um."""
    background: float = 104.0
    """Grey level of empty background, of 255 (recordings: 83 to 136)."""
    pixel_blur: float = 0.45
    """Standard deviation of the camera's blur in addition to a pixel's square, px: charge diffusion, relay optics."""
    full_well: float = 20000.0
    """Number of electrons at grey level 255; determines the shot noise."""
    read_noise: float = 10.0
    """Electrons, root mean square."""
    uneven_light: float = 0.03
    """Smooth variation of the light over the field, relative, root mean square."""
    flicker: float = 0.004
    """Variation of the light from frame to frame, relative, root mean square."""
    floor_nm: float = 0.8
    """Roughness of the substrate's optical path, nm, root mean square."""
    debris_per_mm2: float = 500.0
    """Specks on the substrate."""
    dust_per_mm2: float = 120.0
    """Out-of-focus dust on the optics, as dim rings."""
