import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[2] / "training"))
from train_segmentation import draw_crop, frame_use, load_truth, main, make_targets, read_annotated

from cellvid_diffusers.evaluation.segmentation_network import load_network


@pytest.fixture
def recordings(tmp_path):
    """A folder laid out as the real recordings, with two drawn cells in each frame."""
    y, x = np.mgrid[:220, :240]
    labels = (np.hypot(y - 80, x - 70) < 40) + 2 * (np.hypot(y - 150, x - 170) < 50)
    frame = np.where(labels > 0, 80, 110) + np.random.default_rng(0).integers(0, 9, labels.shape)
    for name in ("usiigaci_annotated/train_set1", "usiigaci_annotated/train_set3", "usiigaci_annotated/train_set5"):
        write(tmp_path / name, frame, labels)
    for name in ("t98g/t98g_usiigaci", "u373/u373_train01_aspect_restored"):
        write(tmp_path / name, np.stack([frame] * 2), np.stack([labels] * 2))
    return tmp_path


def write(stem, frames, labels):
    stem.parent.mkdir(exist_ok=True)
    tifffile.imwrite(f"{stem}.tif", frames.astype(np.uint8))
    tifffile.imwrite(f"{stem}_masks.tif", labels.astype(np.uint16))


def test_the_number_of_a_frame_fixes_its_use(recordings):
    uses = {name: frame_use(name) for name in ("train_set1", "train_set13", "train_set25", "val_set47")}
    assert list(uses.values()) == ["train", "test", "tune", "test"]
    assert [name for name, *_ in read_annotated(recordings, "tune")] == ["train_set5"]


def test_frames_kept_for_thresholds_are_learned_from_when_asked_for(recordings):
    count = {uses: len(load_truth(recordings, uses)["usiigaci_annotated"]) for uses in (("train",), ("train", "tune"))}
    assert count == {("train",): 1, ("train", "tune"): 2}


def test_crops_keep_frame_and_labels_together(recordings):
    truth = load_truth(recordings)
    for seed in range(8):
        frame, labels = draw_crop(truth, 96, np.random.default_rng(seed))
        assert frame.shape == labels.shape == (96, 96)
        if (labels > 0).any() and (labels == 0).any():
            assert frame[labels > 0].mean() < frame[labels == 0].mean() - 0.05


def test_targets_of_touching_cells():
    labels = np.zeros((40, 40), np.int32)
    labels[10:30, 5:20], labels[10:30, 20:35] = 3, 8
    foreground, depth, contact = make_targets(labels)
    assert np.array_equal(foreground, labels > 0)
    assert depth.max() == 1 and depth[20, 12] > 0.9 > 0.3 > depth[20, 19] > 0 == depth[0, 0]
    assert contact[20, 19] == contact[20, 20] == 1 and contact[20, 10] == contact[10, 5] == 0


def test_a_resumed_run_ends_as_one_that_never_stopped(recordings, tmp_path):
    options = ["--data_dir", str(recordings), "--train_batch_size", "1", "--max_train_steps", "4"]
    main([*options, "--output_dir", str(tmp_path / "whole")])
    main([*options, "--output_dir", str(tmp_path / "parts"), "--stop_after", "2"])
    main([*options, "--output_dir", str(tmp_path / "parts")])
    whole, parts = (load_file(tmp_path / name / "segmentation.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    load_network(tmp_path / "whole" / "segmentation.safetensors")
