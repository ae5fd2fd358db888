"""Tiles blended at every step: no seams, bounded memory."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from test_cell_video import make_pipe, seeded

from cellvid_diffusers.pipelines.tiling import Tiling, tile_starts


@pytest.mark.parametrize("length, size, overlap", [(10, 16, 4), (16, 16, 4), (17, 16, 4), (100, 16, 4), (100, 16, 0)])
def test_tiles_cover_and_overlap(length, size, overlap):
    starts = tile_starts(length, size, overlap)
    assert starts[0] == 0 and (starts[-1] + size == length or length <= size)
    assert all(0 < b - a <= size - overlap for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize("clips, seen", [(1, 8), (2, 8), (5, 5), (9, 9)])
def test_the_network_sees_no_more_tiles_at_a_time_than_was_said(clips, seen):
    sizes = []

    def network(clip, levels):
        sizes.append(len(clip))
        return clip

    clip = torch.randn(clips, 1, 4, 40, 40)
    prediction = Tiling(16, 4, batch_size=8).predict(network, clip, torch.zeros(clips, 4, 2))
    torch.testing.assert_close(prediction, clip)
    assert max(sizes) == seen


@pytest.mark.parametrize("tile_frames, batch_size", [(None, 1), (6, 3)])
def test_a_pointwise_network_is_predicted_exactly(tile_frames, batch_size):
    def network(tiles, levels):
        return tiles.sin() + levels[:, None, :, :1, None]

    clip, levels = torch.randn(2, 3, 14, 40, 56), torch.rand(2, 14, 2)
    prediction = Tiling(24, 12, tile_frames, 4, batch_size).predict(network, clip, levels)
    torch.testing.assert_close(prediction, network(clip, levels), rtol=1e-4, atol=1e-5)


def test_a_local_network_is_predicted_as_in_one_piece():
    """What it pads with at the tiles' borders gets next to no weight."""

    def network(tiles, levels):
        return F.avg_pool3d(tiles, 3, stride=1, padding=1)

    clip, levels = torch.ones(1, 1, 14, 40, 56), torch.zeros(1, 14, 2)
    error = (Tiling(24, 12).predict(network, clip, levels) - network(clip, levels)).abs()
    cut_hard = (Tiling(24, 0).predict(network, clip, levels) - network(clip, levels)).abs()
    assert error.max() < 0.01 < 0.2 < cut_hard.max()


def test_a_clip_of_one_tile_is_untouched():
    clip = torch.randn(1, 3, 4, 16, 16)
    seen = []
    Tiling(16, 4).predict(lambda tile, levels: seen.append(tile) or tile, clip, torch.zeros(1, 4, 2))
    assert seen[0] is clip


def test_no_seams():
    """Differences between neighbouring pixels are no larger across tile borders than elsewhere."""
    pipe = make_pipe()
    pipe.enable_tiling(tile_size=16, overlap=8)
    frames = pipe(num_frames=3, height=64, width=64, batch_size=2, num_inference_steps=4, generator=seeded()).frames
    assert frames.std() > 0.01
    steps = abs(frames[..., 1:] - frames[..., :-1]).mean(axis=(0, 1, 2))
    starts = tile_starts(64, 16, 8)
    borders = [start - 1 for start in starts[1:]] + [start + 15 for start in starts[:-1]]
    elsewhere = [x for x in range(63) if x not in borders]
    assert abs(steps[borders].mean() / steps[elsewhere].mean() - 1) < 0.15


def test_long_clips_in_windows_of_frames():
    pipe = make_pipe()
    pipe.enable_tiling(tile_frames=4, frame_overlap=2)
    out = pipe(num_frames=11, height=16, width=16, num_inference_steps=3, generator=seeded())
    assert out.frames.shape == (1, 11, 16, 16) and out.flow.shape == (1, 11, 16, 16, 2)


def test_the_network_never_sees_more_than_a_batch_of_tiles():
    pipe = make_pipe(class_names={"cell_type": ["a", "b"], "density": ["low", "mid", "high"]})
    pipe.enable_tiling(tile_size=16, overlap=4, batch_size=4)
    shapes = set()
    pipe.unet.register_forward_pre_hook(lambda module, args: shapes.add(tuple(args[0].shape)))
    asked = {"cell_type": "a", "guidance_scale": 2.0, "generator": seeded()}
    pipe(num_frames=2, height=40, width=56, num_inference_steps=2, **asked)
    assert {shape[2:] for shape in shapes} == {(2, 16, 16)} and max(shape[0] for shape in shapes) == 4


def test_given_frames_stay_given():
    pipe = make_pipe()
    pipe.enable_tiling(tile_size=16, overlap=4)
    first = torch.rand(40, 24, generator=seeded()).numpy()
    out = pipe(num_frames=3, height=40, width=24, num_inference_steps=2, first_frame=first, generator=seeded())
    assert (out.frames[0, 0] == first).all()


def test_disabled_tiling_is_the_plain_pipeline():
    pipe = make_pipe()
    plain = pipe(num_frames=2, height=32, width=32, num_inference_steps=2, generator=seeded()).frames
    pipe.enable_tiling(tile_size=16)
    tiled = pipe(num_frames=2, height=32, width=32, num_inference_steps=2, generator=seeded()).frames
    pipe.disable_tiling()
    again = pipe(num_frames=2, height=32, width=32, num_inference_steps=2, generator=seeded()).frames
    assert (plain == again).all() and not (plain == tiled).all()


def test_wrong_options_are_named():
    pipe = make_pipe()
    with pytest.raises(ValueError, match="tile_size must be a multiple of 4, got 18"):
        pipe.enable_tiling(tile_size=18)
    with pytest.raises(ValueError, match="overlap must lie between 0 and tile_size - 1 = 15, got 16"):
        pipe.enable_tiling(tile_size=16, overlap=16)
    with pytest.raises(ValueError, match="frame_overlap must lie between"):
        pipe.enable_tiling(tile_frames=4, frame_overlap=4)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        pipe.enable_tiling(batch_size=0)
