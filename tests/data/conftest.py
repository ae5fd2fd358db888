"""Small recordings on disk."""

from pathlib import Path

import pytest
import tifffile
from moving_blobs import blobs


@pytest.fixture
def stacks(tmp_path) -> Path:
    """A folder with two recordings, a.tif and b.tif, of 9 and 6 frames of 48 x 64."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", blobs(9, seed=1), metadata={"axes": "TYX"})
    tifffile.imwrite(folder / "b.tif", blobs(6, seed=2), metadata={"axes": "TYX"})
    return folder
