"""Round trips of the data set, through disk and through the loopback Hub."""

import numpy as np
import pytest
from datasets import load_dataset
from huggingface_hub import HfApi

from cellvid_diffusers.data import decode_flow, decode_frames, load_patches, patch_features, push_patches, write_patches
from cellvid_diffusers.data.dataset import encode_row

FEATURES = patch_features(["neuron"], masks=True)
RNG = np.random.default_rng(0)
CLIPS = [
    {
        "frames": RNG.integers(0, 256, (4, 16, 24), np.uint8),
        "flow": RNG.normal(0, 3, (4, 16, 24, 2)).astype(np.float16),
        "masks": RNG.integers(0, 60000, (4, 16, 24), np.uint16),
        "recording": "r",
        "x": index,
        "cell_type": "neuron",
        "maturity": "very_mature",
        "day": 12.5,
    }
    for index in range(3)
]


def same(rows):
    """Rows hold the clips to the bit."""
    rows = list(rows)
    assert len(rows) == len(CLIPS)
    for row, clip in zip(rows, CLIPS, strict=True):
        np.testing.assert_array_equal(decode_frames(row["frames"]), clip["frames"])
        np.testing.assert_array_equal(decode_frames(row["masks"]), clip["masks"])
        assert decode_flow(row).tobytes() == clip["flow"].tobytes()
        assert (row["x"], row["day"], row["cell_type"], row["density"], row["maturity"]) == (
            clip["x"],
            12.5,
            0,
            None,
            2,
        )
    return True


@pytest.fixture
def folder(tmp_path):
    rows = {"train": [encode_row(FEATURES, **clip) for clip in CLIPS]}
    return write_patches(rows, tmp_path / "[1] *" / "set", FEATURES)


@pytest.mark.parametrize("streaming", [False, True])
def test_disk_is_exact(folder, streaming):
    rows = load_patches(folder, streaming=streaming)
    assert same(rows)
    assert rows.features["density"].names[0] == "very_sparse"


def test_other_folders_of_the_same_name_are_not_confused(folder, tmp_path):
    assert same(load_patches(folder))
    other = [encode_row(FEATURES, **{**clip, "recording": "other"}) for clip in CLIPS]
    (tmp_path / "b").mkdir()
    again = write_patches({"train": other}, tmp_path / "b" / "set", FEATURES)
    assert set(load_patches(again)["recording"]) == {"other"}


def test_the_hub_is_exact_plain_and_streaming_and_keeps_revisions(folder, tmp_path, hub):
    first = push_patches(folder, "cellvid/patches")
    assert same(load_patches("cellvid/patches"))
    assert same(load_patches("cellvid/patches", streaming=True))
    shown = load_dataset("cellvid/patches", split="train")
    np.testing.assert_array_equal(np.asarray(shown[0]["frames"][0]), CLIPS[0]["frames"][0])  # as anybody loads it
    HfApi().create_tag("cellvid/patches", tag="v1", repo_type="dataset")
    fewer = write_patches({"train": [encode_row(FEATURES, **CLIPS[0])]}, tmp_path / "fewer", FEATURES)
    push_patches(fewer, "cellvid/patches")
    assert len(load_patches("cellvid/patches")) == 1
    assert same(load_patches("cellvid/patches", revision="v1"))
    assert same(load_patches("cellvid/patches", revision=first))


def test_a_split_or_folder_that_is_not_there(folder, tmp_path):
    with pytest.raises(ValueError, match=r"must be a folder with data/test-\*.parquet"):
        load_patches(folder, "test")
    with pytest.raises(ValueError, match=r"must be a folder with data/\*.parquet"):
        push_patches(tmp_path, "cellvid/none")
    with pytest.raises(ValueError, match="split must be one of train, validation, test, got all"):
        write_patches({"all": []}, tmp_path / "all", FEATURES)


def test_failure_while_writing_leaves_nothing(tmp_path):
    def rows():
        yield encode_row(FEATURES, **CLIPS[0])
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_patches({"train": rows()}, tmp_path / "set", FEATURES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [70000, -1])
def test_masks_beyond_16_bits_are_refused(number):
    features = patch_features([], masks=True)
    masks = np.full((1, 8, 8), number)
    with pytest.raises(ValueError, match=f"masks must hold numbers from 0 to 65535, got {number}"):
        encode_row(features, frames=np.zeros((1, 8, 8), np.uint8), masks=masks, recording="r")
