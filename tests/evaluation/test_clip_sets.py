import os

import numpy as np
import pandas as pd
import pytest
import tifffile

from cellvid_diffusers.data import patch_features, push_patches, write_patches
from cellvid_diffusers.data.dataset import encode_row
from cellvid_diffusers.evaluation.clips import ClipSet, dataset_splits, load_clips, load_training_clips
from cellvid_diffusers.evaluation.examine import match_sizes, sizes_of
from cellvid_diffusers.evaluation.export import with_units
from cellvid_diffusers.io import write_ome_tiff


def write_stacks(folder, clips):
    folder.mkdir()
    for i, clip in enumerate(clips):
        tifffile.imwrite(folder / f"video_{i:05d}.ome.tif", clip, metadata={"axes": "TYX"})
    return folder


def test_folder_of_stacks_with_the_flow_beside_them(tmp_path, make_clips):
    clips = make_clips(5)
    folder = write_stacks(tmp_path / "synth", clips)
    np.save(folder / "flow_00002.npy", np.zeros((10, 48, 48, 2), np.float32))
    loaded = load_clips(folder)
    np.testing.assert_array_equal(loaded.frames, clips)
    assert loaded.names == [f"video_{i:05d}" for i in range(5)]
    assert len(set(loaded.recordings)) == 5
    assert [f is not None for f in loaded.flow] == [False, False, True, False, False]
    assert len(load_clips(folder, max_clips=3)) == 3


def test_generated_clips_know_their_cell_types(tmp_path, make_clips):
    folder = write_stacks(tmp_path / "synth", make_clips(3))
    assert set(load_clips(folder).cell_types) == {"unknown"}
    rows = ["file_name,seed,cell_type", "video_00002.ome.tif,2,neuron", "video_00000.ome.tif,0,"]
    (folder / "metadata.csv").write_text("\n".join(rows))
    assert load_clips(folder).cell_types.tolist() == ["unknown", "unknown", "neuron"]


def test_cell_types_are_listed_by_any_name_of_a_stack(tmp_path, make_clips):
    (tmp_path / "synth").mkdir()
    for i, clip in enumerate(make_clips(2)):
        tifffile.imwrite(tmp_path / "synth" / f"clip{i}.tif", clip)
    (tmp_path / "synth" / "metadata.csv").write_text("file_name,cell_type\nclip0.tif,neuron\nclip1.tif,glia\n")
    assert load_clips(tmp_path / "synth").cell_types.tolist() == ["neuron", "glia"]


def test_training_clips_stay_as_long_as_they_are(tmp_path, make_clips):
    features = patch_features(["neuron"])
    long, short = make_clips(1, frames=40)[0], make_clips(1, frames=6)[0]
    rows = [encode_row(features, frames=clip, recording=str(len(clip))) for clip in (long, short)]
    folder = write_patches({"train": rows}, tmp_path / "patches", features)
    clips, count = load_training_clips(folder)
    assert sorted(map(len, clips)) == [6, 40] and count == 2
    assert len(load_training_clips(folder, max_clips=1)[0]) == 1
    stacks = write_stacks(tmp_path / "stacks", make_clips(3))
    assert load_training_clips(stacks, max_clips=2)[1] == 3


def test_each_clip_keeps_its_own_scale(tmp_path, make_clips):
    folder = tmp_path / "synth"
    folder.mkdir()
    for i, (clip, size) in enumerate(zip(make_clips(4), (1.95, 1.74, 1.95, None), strict=True)):
        write_ome_tiff(folder / f"video_{i:05d}.ome.tif", clip, pixel_size_um=size, frame_interval_min=10)
    (folder / "._video_00000.ome.tif").write_bytes(b"what a Mac leaves on a stick")
    tifffile.imwrite(folder / "video_00000.ome_cp_masks.tif", np.zeros((10, 48, 48), np.uint16))
    loaded = load_clips(folder)
    np.testing.assert_array_equal(loaded.pixel_sizes, [1.95, 1.74, 1.95, np.nan])
    assert loaded.pixel_size_um is None and loaded.frame_interval_min == 10
    assert loaded.take([0, 2]).pixel_size_um == 1.95
    table = pd.DataFrame({"clip": [0, 1, 3], "area": 100.0, "frame": 2})
    found = with_units([table, table], [loaded, loaded])
    np.testing.assert_allclose(found["area_um2"][:3], [380.25, 302.76, np.nan])
    assert found["time_min"].tolist() == [20.0] * 6


def test_a_fine_scale_of_one_side_is_not_the_others(tmp_path, make_clips):
    coarse, fine = (ClipSet(make_clips(2), ["a", "b"], np.array(["a", "b"]), np.array(["x", "x"])) for _ in range(2))
    coarse.pixel_sizes, fine.pixel_sizes = np.array([1.74, 1.95]), np.array([0.2, 0.2])
    assert sizes_of(coarse, fine) == [1.74, 1.95]
    coarse.pixel_sizes = np.array([np.nan, 1.95])
    assert sizes_of(coarse, fine) == [0.2, 1.95]
    assert sizes_of(fine, coarse) == [0.2, 0.2]


def test_what_is_no_folder_is_told_without_asking_the_hub(tmp_path):
    for side in ("real_tfi", tmp_path / "nothing", "./nothing/here"):
        for ask in (load_clips, dataset_splits):
            with pytest.raises(ValueError, match="must be a folder, or a data set's name on the Hub"):
                ask(side)


def test_a_folder_of_stacks_has_no_splits(tmp_path, make_clips):
    with pytest.raises(ValueError, match="split must be None for a folder of files"):
        load_clips(write_stacks(tmp_path / "real", make_clips(2)), split="validation")


def test_data_set_brings_recordings_places_and_flow(tmp_path, make_clips):
    features = patch_features(["neuron"])
    rows = [
        encode_row(
            features, frames=clip, flow=np.zeros((10, 48, 48, 2)), recording=f"dish {i % 2}", cell_type="neuron",
            x=48 * i, y=0, t0=0, frame_stride=1, pixel_size_um=0.65,
        )
        for i, clip in enumerate(make_clips(6))
    ]  # fmt: skip
    folder = write_patches({"train": rows[:2], "test": rows[2:]}, tmp_path / "patches", features)
    assert dataset_splits(folder) == ["test", "train"]
    loaded = load_clips(folder)
    assert loaded.frames.shape == (4, 10, 48, 48)
    assert sorted(set(loaded.recordings)) == ["dish 0", "dish 1"]
    assert set(loaded.cell_types) == {"neuron"}
    assert loaded.positions[:, 1].tolist() == [96, 144, 192, 240]
    assert loaded.flow[0].shape == (10, 48, 48, 2)
    assert loaded.pixel_size_um == pytest.approx(0.65)
    with pytest.raises(ValueError, match="split must be one of test, train, got validation"):
        load_clips(folder, split="validation")


@pytest.mark.parametrize("dishes", [["a", "a", "b", "b"], ["a"] * 4, [None] * 4])
def test_positions_of_one_culture_are_not_independent(tmp_path, make_clips, dishes):
    features = patch_features(["neuron"])
    clips = make_clips(4)
    rows = [encode_row(features, frames=clips[i], recording=str(i), culture=dishes[i], x=0, y=0) for i in range(4)]
    loaded = load_clips(write_patches({"test": rows}, tmp_path / "patches", features))
    groups = loaded.take([0, 1, 2, 3]).groups()[0]
    assert [g == groups[0] for g in groups] == [True, dishes[2] == "b", False, False]
    assert len(set(groups)) == (2 if dishes[2] == "b" else 4)


def test_a_data_set_on_the_hub_is_measured_on_what_was_held_out(tmp_path, make_clips, hub):
    features = patch_features(["neuron"])
    parts = {"train": 2, "validation": 1}
    rows = {
        part: [encode_row(features, frames=clip, recording=part) for clip in make_clips(count)]
        for part, count in parts.items()
    }
    push_patches(write_patches(rows, tmp_path / "patches", features), "cellvid/held-out")
    assert dataset_splits("cellvid/held-out") == ["train", "validation"]
    assert load_clips("cellvid/held-out").recordings.tolist() == ["validation"]


def test_a_folder_may_hold_more_stacks_than_files_may_be_open(tmp_path, make_clips):
    resource = pytest.importorskip("resource")  # not on Windows
    folder = write_stacks(tmp_path / "synth", make_clips(20))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 15, limits[1]))
    try:
        assert len(load_clips(folder)) == 20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("as_stored", [lambda c: c / np.float32(255), lambda c: c.astype(np.uint16) * 257])
def test_the_same_clips_in_other_types_of_pixels_have_one_scale(tmp_path, make_clips, as_stored):
    clips = make_clips(4, 0)
    clips[0] = 100 + clips[0] // 20  # one of little contrast keeps it
    for i, clip in enumerate(clips):
        tifffile.imwrite(tmp_path / f"{i}.tif", as_stored(clip), metadata={"axes": "TYX"})
    loaded = load_clips(tmp_path)
    if loaded.rescaled:  # a line through the grey levels of all of them
        gain, offset = np.polyfit(clips.ravel().astype(float), loaded.frames.ravel(), 1)
        inside = (loaded.frames > 0) & (loaded.frames < 255)
        assert np.abs(loaded.frames - (gain * clips + offset))[inside].max() < 3
    else:
        np.testing.assert_array_equal(loaded.frames, clips)
    assert loaded.rescaled == (as_stored(clips).dtype == np.uint16)
    tifffile.imwrite(tmp_path / "8.tif", clips[0], metadata={"axes": "TYX"})
    with pytest.raises(ValueError, match="all clips of a folder must have one type of pixels, got"):
        load_clips(tmp_path)


def test_crop_takes_the_middle_and_the_flow_along(tmp_path, make_clips):
    loaded = load_clips(write_stacks(tmp_path / "synth", make_clips(4)))
    loaded.flow = [np.ones((10, 48, 48, 2))] * 4
    cut = loaded.crop(8, 32, 40)
    np.testing.assert_array_equal(cut.frames, loaded.frames[:, :8, 8:40, 4:44])
    assert cut.flow[0].shape == (8, 32, 40, 2)


def test_clips_without_flow_are_taken_and_cropped(make_clips):
    names = np.array(["a", "b"])
    clips = ClipSet(make_clips(2), list(names), recordings=names, cell_types=names)
    assert clips.take([1]).crop(8, 32, 40).flow == [None]


def test_what_cannot_be_read_is_said_in_one_line(tmp_path, make_clips):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="TIFF stacks, got none in"):
        load_clips(tmp_path / "empty")
    mixed = write_stacks(tmp_path / "mixed", [np.zeros((4, 32, 32), np.uint8), np.zeros((4, 40, 32), np.uint8)])
    with pytest.raises(ValueError, match="one size, got"):
        load_clips(mixed)
    broken = write_stacks(tmp_path / "broken", [np.full((4, 32, 32), np.nan, np.float32)])
    with pytest.raises(ValueError, match="video_00000"):
        load_clips(broken)
    single = load_clips(write_stacks(tmp_path / "one", make_clips(1)))
    several = load_clips(write_stacks(tmp_path / "several", make_clips(5)))
    small = load_clips(write_stacks(tmp_path / "small", make_clips(5, size=40)))
    with pytest.raises(ValueError, match="at least 4 clips, got 5 real and 1 synthetic"):
        match_sizes(several, single)
    with pytest.raises(ValueError, match=r"same frames and size, got \(10, 48, 48\) and \(10, 40, 40\); --crop"):
        match_sizes(several, small)
    assert match_sizes(several, small, crop=True)[0].frames.shape == (5, 10, 40, 40)
