"""Simulated cultures as a data set."""

import json

import numpy as np
import pytest
import tifffile

from cellvid_diffusers.data import decode_flow, decode_frames, load_patches, write_simulated
from cellvid_diffusers.io import read_ctc, read_ome_tiff
from cellvid_diffusers.simulation import simulate


def test_data_set_and_truth_agree(tmp_path):
    out = write_simulated(tmp_path / "sim", num_videos=3, size=32, num_frames=4, seed=5, progress=False)
    rows, held_out = load_patches(out, "train"), load_patches(out, "validation")
    assert (len(rows), len(held_out)) == (2, 1)
    assert set(rows["recording"]).isdisjoint(held_out["recording"])
    culture = simulate(size=32, num_frames=4, seed=6)
    np.testing.assert_array_equal(decode_frames(rows[1]["frames"]), culture.video)
    np.testing.assert_array_equal(decode_frames(rows[1]["masks"]), culture.masks)
    np.testing.assert_allclose(decode_flow(rows[1])[:-1], culture.flow, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(np.load(out / "flow_00001.npy"), culture.flow)
    np.testing.assert_array_equal(read_ome_tiff(out / "video_00001.ome.tif").video, culture.video)
    masks, tracks = read_ctc(out / "masks_00001")
    np.testing.assert_array_equal(masks, culture.masks)
    np.testing.assert_array_equal(tracks, culture.tracks)
    np.testing.assert_array_equal(tifffile.imread(out / "cells_00001.ome.tif"), culture.cells)
    with tifffile.TiffFile(out / "cells_00001.ome.tif") as cells:
        assert 'PhysicalSizeX="1.0"' in cells.ome_metadata and 'TimeIncrement="10.0"' in cells.ome_metadata
    kinds = json.loads((out / "kinds_00001.json").read_text())
    assert {int(label): kind for label, kind in kinds.items()} == culture.kinds


def test_scale_of_the_recordings_to_be_matched(tmp_path):
    scale = {"pixel_size_um": 1.5, "frame_interval_min": 4.0}
    out = write_simulated(tmp_path / "sim", size=32, num_frames=2, seed=5, progress=False, **scale)
    np.testing.assert_array_equal(
        decode_frames(load_patches(out)[0]["frames"]), simulate(size=32, num_frames=2, seed=5, **scale).video
    )
    assert read_ome_tiff(out / "video_00000.ome.tif")[1:] == (1.5, 4.0)


def test_neurites_are_measured(tmp_path):
    out = write_simulated(tmp_path / "sim", size=64, num_frames=3, density="dense", seed=3, progress=False)
    culture = simulate(size=64, num_frames=3, density="dense", seed=3)
    neurites = json.loads((out / "neurites_00000.json").read_text())
    assert [len(frame) for frame in neurites] == [len(frame) for frame in culture.neurites]
    for written, known in zip(neurites[0], culture.neurites[0], strict=True):
        line = np.array(written["line"])
        assert written["cell"] == known.cell
        assert written["length"] == pytest.approx(np.linalg.norm(np.diff(line, axis=0), axis=1).sum(), abs=0.5)
        assert 0 <= written["direction"] <= 360


def test_wrong_number_is_named(tmp_path):
    with pytest.raises(ValueError, match="num_videos must be at least 1, got 0"):
        write_simulated(tmp_path / "sim", num_videos=0)
    assert not (tmp_path / "sim").exists()
