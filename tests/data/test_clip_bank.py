"""Batches drawn in a device's memory against the clips that are drawn one by one."""

import cv2
import numpy as np
import pytest
import torch
from moving_blobs import blobs

from cellvid_diffusers.data import ClipBank, ClipDataset, load_patches, patch_features
from cellvid_diffusers.data.dataset import encode_row, write_patches
from cellvid_diffusers.flow import warp

PLAIN = {"flip": False, "rotate": False, "any_angle": False, "random_window": False, "random_crop": False}
COLUMNS = {"cell_type": ["neuron", "glia"], "density": ["sparse", "dense"]}
STEP = (1, -0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten rows of 64 x 56: seven of neurons, 9 frames long, three of glia, 7 frames; one of each is blank."""
    features, rows = patch_features(["glia", "neuron"]), []
    for index in range(10):
        neuron = index < 7
        frames = blobs(9 if neuron else 7, 64, 56, step=STEP, seed=index)
        if index in (0, 9):
            frames[:] = 100
        known = {"recording": f"r{index}", "x": index, "y": 0, "t0": 0, "frame_stride": 1}
        flow = np.broadcast_to(np.float16(STEP), (*frames.shape, 2))
        rows.append(encode_row(features, frames=frames, flow=flow, cell_type="neuron" if neuron else "glia", **known))
    return write_patches({"train": rows}, tmp_path_factory.mktemp("bank") / "set", features)


def make(folder, transform, **options):
    clips = ClipDataset(
        load_patches(folder), num_frames=5, size=32, class_columns=COLUMNS, transform=transform, **options
    )
    return clips, ClipBank(clips, "cpu")


def draw(bank, count=64, seed=0):
    return bank.draw(count, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("options", [{}, {"scale_by_cell_type": True}, {"normalization": "paper"}, {"flow": False}])
def test_without_chance_the_clips_are_those_of_the_data_set(folder, options):
    clips, bank = make(folder, PLAIN, **options)
    batch = draw(bank)
    of_rows = [clips[index] for index in range(200)]
    for video, labels in zip(batch["video"], batch["class_labels"], strict=True):
        assert any(
            torch.equal(labels, each["class_labels"]) and torch.allclose(video, each["video"], atol=1e-3)
            for each in of_rows
        )


def test_places_and_windows_are_those_of_the_data_set(folder):
    transform = {**PLAIN, "random_window": True, "random_crop": True, "flip": True, "rotate": True, "attempts": 1}
    clips, bank = make(folder, transform, flow=False)
    mean, std = clips.scales.video_mean, clips.scales.video_std
    parts = {
        frames[t, y : y + 32, x : x + 32].tobytes()
        for frames, _, _ in clips.decoded_rows()
        for t in range(len(frames) - 4)
        for y in range(33)
        for x in range(25)
    }
    firsts = np.rint((draw(bank)["video"][:, 0, 0].numpy() * std + mean) * 255).astype(np.uint8)
    for first in firsts:
        assert any(np.rot90(m, k).tobytes() in parts for m in (first, first[::-1]) for k in range(4))


def test_turned_crops_are_those_of_the_transform(folder):
    clips, bank = make(folder, {"rotate": True, "any_angle": True, "min_foreground": 0.0})
    rows, starts = torch.tensor([1, 8, 4]), torch.tensor([0, 2, 3])
    matrix, centre = bank._draw_crops(rows, starts, torch.Generator().manual_seed(1))
    cut = bank._cut(rows, starts, matrix, centre)
    for sample, row, start, a, c in zip(cut, rows, starts, matrix.double(), centre.double(), strict=True):
        frames, flow, _ = clips.decoded_rows()[int(row)]
        a, c = a.numpy(), c.numpy()
        for k in range(5):
            video = clips.transform._warp(frames[start + k], a, c, cv2.INTER_CUBIC) / 255
            assert np.abs(video - sample[0, k].numpy()).mean() < 2 / 255  # OpenCV rounds places to 1/32 px
            turned = clips.transform._warp(flow[start + k].astype(np.float32), a, c, cv2.INTER_LINEAR) @ a
            np.testing.assert_allclose(np.moveaxis(turned, -1, 0), sample[1:, k], atol=1e-2)


def test_without_turns_no_crop_is_turned(folder):
    _, bank = make(folder, {"flip": False, "rotate": False})
    matrix, _ = bank._draw_crops(torch.arange(4), torch.zeros(4, dtype=torch.long), torch.Generator().manual_seed(1))
    assert torch.equal(matrix, torch.eye(2).expand(4, 2, 2))


def test_flow_still_leads_to_the_next_frame(folder):
    _, bank = make(folder, {"rotate": True, "any_angle": True})
    scales = bank.clips.scales
    video, flow = draw(bank)["video"].split([1, 2], dim=1)
    moved = warp(video[:, 0, 1:], (flow[:, :, :-1] * scales.flow_scale).transpose(1, 2))
    inner = (..., slice(6, -6), slice(6, -6))
    assert (moved - video[:, 0, :-1])[inner].abs().mean() < 0.3 * (video[:, 0, 1:] - video[:, 0, :-1])[
        inner
    ].abs().mean()


def test_classes_are_balanced_and_blank_rows_drawn_again(folder):
    _, bank = make(folder, {"attempts": 8}, balance="cell_type")
    rows = bank._draw_rows(2000, torch.Generator().manual_seed(0))
    assert float((rows < 7).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert not torch.isin(rows, torch.tensor([0, 9])).any()
    assert len(rows.unique()) == 8


def test_density_is_the_same_measure(folder):
    clips, bank = make(folder, {}, measure_density=True, scale_by_cell_type=True)
    batch = draw(bank, 200)
    assert set(batch["class_labels"][:, 1].tolist()) == {0, 1}
    kinds = batch["class_labels"][:, 0]
    for video, labels in zip(batch["video"][:, 0], batch["class_labels"], strict=True):
        scales = clips.scales_of(labels)
        grey = ((video * scales.video_std + scales.video_mean) * 255 + 0.1).numpy().astype(np.uint8)
        assert clips.crowding(int(labels[0]), grey, 255 * scales.video_std) == labels[1]
    assert set(kinds.tolist()) == {0, 1}


def test_fullest_of_several_crops(folder):
    shares = []
    for attempts in (1, 8):
        _, bank = make(folder, {"attempts": attempts, "min_foreground": 1.0})
        rows, starts = torch.full((500,), 3), torch.zeros(500, dtype=torch.long)
        matrix, centre = bank._draw_crops(rows, starts, torch.Generator().manual_seed(0))
        reach = 15.5 * matrix[:, 0].abs().sum(-1, keepdim=True)
        shares.append(float(bank._share(rows, starts + 2, centre, reach).mean()))
    assert shares[1] >= shares[0]


def test_draws_depend_on_the_generator_alone(folder):
    _, bank = make(folder, {"brightness": 0.05, "contrast": 0.2})
    one, same, other = draw(bank, 8)["video"], draw(bank, 8)["video"], draw(bank, 8, seed=1)["video"]
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_rows_must_be_in_memory(folder):
    with pytest.raises(ValueError, match="rows must be preloaded, got preload=False"):
        ClipBank(ClipDataset(load_patches(folder), num_frames=5, size=32, preload=False), "cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_draws_on_a_gpu(folder):
    clips, _ = make(folder, {})
    batch = ClipBank(clips, "cuda").draw(4, torch.Generator("cuda").manual_seed(0))
    assert batch["video"].is_cuda and batch["video"].isfinite().all()
