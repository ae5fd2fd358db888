"""Whatever goes wrong, what is on the disk is whole: the earlier file or nothing."""

import os
import resource
import signal
from contextlib import contextmanager

import numpy as np
import pytest

from cellvid_diffusers.io import contact_sheet, write_ctc, write_gif, write_imagej_rois, write_mp4, write_ome_tiff
from cellvid_diffusers.io.atomic import replacing

VIDEO = np.random.default_rng(0).integers(0, 256, (8, 64, 64), np.uint8)
MASKS = np.kron(np.arange(1, 1025).reshape(1, 32, 32), np.ones((1, 2, 2), int)).repeat(8, 0)
WRITERS = {
    "clip.ome.tif": lambda path: write_ome_tiff(path, VIDEO),
    "clip.gif": lambda path: write_gif(path, VIDEO),
    "clip.mp4": lambda path: write_mp4(path, VIDEO),
    "sheet.png": lambda path: contact_sheet([VIDEO], path=path),
    "masks": lambda path: write_ctc(path, MASKS),
    "rois.zip": lambda path: write_imagej_rois(path, MASKS),
}


@contextmanager
def full_disk():
    """No file may grow beyond 4096 bytes, which the system tells as it tells a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_nothing(tmp_path, name):
    with pytest.raises(OSError, match=r"could not be written: (File too large|\d+ requested)"), full_disk():
        WRITERS[name](tmp_path / name)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["clip.ome.tif", "masks"])
def test_a_full_disk_keeps_what_was_there(tmp_path, name):
    earlier = tmp_path / name
    if name == "masks":
        write_ctc(earlier, MASKS[:1])
        before = {each.name: each.read_bytes() for each in earlier.iterdir()}
    else:
        earlier.write_bytes(b"earlier")
    with pytest.raises(OSError, match=r"could not be written: (File too large|\d+ requested)"), full_disk():
        WRITERS[name](earlier)
    assert list(tmp_path.iterdir()) == [earlier]
    if name == "masks":
        assert {each.name: each.read_bytes() for each in earlier.iterdir()} == before
    else:
        assert earlier.read_bytes() == b"earlier"


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_is_not_there_is_told(tmp_path, name):
    with pytest.raises(OSError, match="could not be written: No such file or directory"):
        WRITERS[name](tmp_path / "absent" / name)
    assert not any(tmp_path.iterdir())


def test_a_failed_rename_brings_the_earlier_folder_back(tmp_path, monkeypatch):
    folder = tmp_path / "masks"
    folder.mkdir()
    (folder / "mask000.tif").write_bytes(b"earlier")
    rename = os.replace

    def refuse(source, target):
        if str(source).endswith(".partial"):
            raise OSError("refused")
        rename(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="could not be written: refused"), replacing(folder) as temporary:
        temporary.mkdir()
    assert list(tmp_path.iterdir()) == [folder]
    assert (folder / "mask000.tif").read_bytes() == b"earlier"


def test_an_interrupt_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert not any(tmp_path.iterdir())
