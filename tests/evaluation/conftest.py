import numpy as np
import pytest


def blobs(rng, *, frames=10, size=48, cells=5, speed=0.6, contrast=60.0):
    """A clip `(F, H, W)` uint8 of soft discs with halos that drift steadily, on a grainy background."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    place, velocity = rng.uniform(0, size, (cells, 2)), rng.normal(0, speed, (cells, 2))
    radius = rng.uniform(2.5, 5, cells)
    out = np.full((frames, size, size), 110, np.float32)
    for k in range(frames):
        for (cy, cx), r in zip(place + k * velocity, radius, strict=True):
            d = np.hypot(y - cy, x - cx)
            out[k] += contrast * (np.exp(-((d - r - 1) ** 2) / 3) - 0.8 * np.exp(-(d**2) / r**2))
    return np.clip(out + rng.normal(0, 1.5, out.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def make_clips():
    """`make_clips(count, seed, **options)` -> `(count, F, H, W)` uint8, each clip with its own number of cells."""

    def make(count, seed=0, **options):
        rng = np.random.default_rng(seed)
        return np.stack([blobs(rng, cells=int(rng.integers(3, 8)), **options) for _ in range(count)])

    return make
