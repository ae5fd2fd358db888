import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from safetensors.torch import load_file
from scipy import ndimage
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "training"))
from train_segmentation import EMA_EXPONENT, main, update_average

from cellvid_diffusers.evaluation.segmentation_network import load_network
from segmentation_data import augment, draw_crop, frame_use, load_truth, make_targets, read_annotated, simulate_truth


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


@pytest.mark.parametrize(("native_share", "expected"), [(0.0, (0.3, 1.3)), (1.0, (0.85, 1.15))])
def test_crops_at_the_scale_of_the_frames(native_share, expected, tmp_path):
    y, x = np.mgrid[:400, :400] // 10
    squares = 1 + 40 * y + x  # of 10 px each: their area tells the scale
    for name in ("usiigaci_annotated/train_set1", "t98g/t98g_usiigaci", "u373/u373_train01_aspect_restored"):
        stack = squares if name.endswith("1") else squares[None]
        write(tmp_path / name, np.zeros_like(stack), stack)
    truth = load_truth(tmp_path)
    crops = [draw_crop(truth, 64, np.random.default_rng(seed), native_share=native_share)[1] for seed in range(40)]
    scales = np.array([np.sqrt(np.percentile(np.bincount(labels.ravel())[1:], 99)) / 10 for labels in crops])
    low, high = expected
    assert (scales > low - 0.1).all() and (scales < high + 0.1).all()
    assert (scales < 0.8).any() == (native_share < 1)


def test_simulated_frames_have_neurites_among_their_labels(recordings):
    pyramids = simulate_truth(2)
    assert len(pyramids) == 2 and all(frame.shape == labels.shape for frame, labels in pyramids[0])
    truth = {**load_truth(recordings), "simulated": pyramids}
    frame, labels = draw_crop(truth, 96, np.random.default_rng(0), simulated_share=1.0)
    assert frame.shape == labels.shape == (96, 96)
    again = simulate_truth(2)
    assert all(np.array_equal(a[0][0], b[0][0]) for a, b in zip(pyramids, again, strict=True))


def test_augmented_frames_are_standardised_and_some_are_reversed():
    frame = np.full((64, 64), 0.4, np.float32)
    frame[20:44, 20:44] = 0.2
    frame += np.random.default_rng(0).normal(0, 0.005, frame.shape).astype(np.float32)
    varied = np.stack([augment(frame, np.random.default_rng(seed)) for seed in range(60)])
    assert varied.dtype == np.float32 and np.isfinite(varied).all()
    brighter = varied[:, 24:40, 24:40].mean((1, 2)) > np.median(varied, axis=(1, 2))
    assert 0.2 < brighter.mean() < 0.6


def test_targets_of_touching_cells():
    labels = np.zeros((40, 40), np.int32)
    labels[10:30, 5:20], labels[10:30, 20:35] = 3, 8
    foreground, depth, contact = make_targets(labels)
    assert np.array_equal(foreground, labels > 0)
    assert depth.max() == 1 and depth[20, 12] > 0.9 > 0.3 > depth[20, 19] > 0 == depth[0, 0]
    assert contact[20, 19] == contact[20, 20] == 1 and contact[20, 10] == contact[10, 5] == 0
    distance = ndimage.distance_transform_edt(np.pad(np.ones((18, 13)), 1))[1:-1, 1:-1] + 0.5  # to what is outlined
    assert np.allclose(depth[11:29, 6:19], distance / distance.max())


def test_a_crop_within_a_cell_has_finite_targets():
    foreground, depth, contact = make_targets(np.full((16, 16), 5, np.int32))
    assert np.array_equal(foreground, depth) and foreground.all() and not contact.any()


def test_a_resumed_run_ends_as_one_that_never_stopped(recordings, tmp_path):
    options = ["--data_dir", str(recordings), "--train_batch_size", "1", "--max_train_steps", "4"]
    main([*options, "--output_dir", str(tmp_path / "whole")])
    main([*options, "--output_dir", str(tmp_path / "parts"), "--stop_after", "2"])
    main([*options, "--output_dir", str(tmp_path / "parts")])
    whole, parts = (load_file(tmp_path / name / "segmentation.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    load_network(tmp_path / "whole" / "segmentation.safetensors")


def test_a_worker_draws_the_same_crops_for_a_network_of_any_width(recordings, tmp_path):
    options = [
        "--data_dir",
        str(recordings),
        "--train_batch_size",
        "1",
        "--max_train_steps",
        "3",
        "--native_share",
        "0.5",
    ]
    for workers in ("0", "1"):
        main([*options, "--output_dir", str(tmp_path / workers), "--channels", "4", "8", "8", "--workers", workers])
    none, one = (load_file(tmp_path / name / "segmentation.safetensors") for name in ("0", "1"))
    assert all(torch.equal(none[name], one[name]) for name in none)
    network = load_network(tmp_path / "0" / "segmentation.safetensors")
    assert network.stride == 4
    assert network(torch.zeros(1, 1, 8, 8)).shape == (1, 3, 8, 8)


def test_training_goes_on_from_given_weights(recordings, tmp_path):
    options = ["--data_dir", str(recordings), "--train_batch_size", "1", "--channels", "4", "8"]
    main([*options, "--output_dir", str(tmp_path / "first"), "--max_train_steps", "2"])
    weights = tmp_path / "first" / "segmentation.safetensors"
    still = ["--learning_rate", "0", "--max_train_steps", "1", "--weights", str(weights)]
    main([*options, *still, "--output_dir", str(tmp_path / "second")])
    before, after = load_file(weights), load_file(tmp_path / "second" / "segmentation.safetensors")
    assert torch.equal(before["head.weight"], after["head.weight"])


def test_a_timed_run_ends_in_time(recordings, tmp_path):
    options = ["--data_dir", str(recordings), "--output_dir", str(tmp_path / "run"), "--train_batch_size", "1"]
    main([*options, "--channels", "4", "8", "--max_minutes", "0.01"])
    log = (tmp_path / "run" / "train_log.jsonl").read_text().splitlines()
    assert 0.6 <= json.loads(log[-1])["seconds"] < 10
    assert (tmp_path / "run" / "segmentation.safetensors").exists()


def test_the_mean_of_the_weights_weighs_late_steps_most():
    network, average = nn.Linear(1, 1), nn.Linear(1, 1)
    values = np.random.default_rng(0).normal(size=40)
    for step, value in enumerate(values, start=1):
        nn.init.constant_(network.weight, value)
        update_average(average, network, step)
    steps = np.arange(1, 41)
    weights = steps ** (EMA_EXPONENT + 1) - (steps - 1) ** (EMA_EXPONENT + 1)
    assert average.weight.item() == pytest.approx(np.average(values, weights=weights), rel=1e-5)
