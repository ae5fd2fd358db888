"""Known motion, sign, exact zero, precision, layout and errors of `horn_schunck`."""

import numpy as np
import pytest
import tifffile
import torch
from scipy.ndimage import convolve
from textures import end_point_error, rotate, texture, translate

from cellvid_diffusers.flow import dis_flow, horn_schunck, warp
from cellvid_diffusers.flow.horn_schunck import PIXELS_AT_A_TIME

DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "down-right": (1, 1)}
MODES = ["pyramid", "paper", "classic"]
RECORDINGS = ["u373/u373_challenge01.tif", "t98g/t98g_usiigaci.tif", "nsc/nsc_B_a056-a100.tif"]


@pytest.mark.parametrize("sigma", [1.0, 3.0])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("distance", [0.5, 1.5, 3.0, 6.0])
def test_pyramid_measures_known_shifts(distance, direction, sigma):
    dx, dy = (distance * axis for axis in DIRECTIONS[direction])
    flow = horn_schunck(translate(texture(64, sigma=sigma), dx, dy))[:, 0]
    truth = np.broadcast_to(np.array([dx, dy])[:, None, None], flow.shape)
    assert end_point_error(flow, truth) < (0.1 if distance <= 3 else 0.2)


@pytest.mark.parametrize("degrees", [-4, 2])
def test_pyramid_measures_a_rotation(degrees):
    frames, truth = rotate(texture(64), degrees)
    assert end_point_error(horn_schunck(frames)[:, 0], truth) < 0.1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_flow_points_where_the_pattern_goes(mode, direction):
    axis = np.array(DIRECTIONS[direction])
    u, v = horn_schunck(translate(texture(48, sigma=3.0), *(0.3 * axis)), mode=mode).mean((1, 2, 3)).tolist()
    assert np.sign([u, v])[axis != 0] == pytest.approx(axis[axis != 0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(64, 64), (45, 50), (9, 30)])
def test_identical_frames_have_exactly_zero_flow(mode, size):
    clip = torch.rand(1, *size).expand(3, *size)
    assert horn_schunck(clip, mode=mode).count_nonzero() == 0
    if mode == "pyramid":
        assert horn_schunck(clip, stillness=2.0).count_nonzero() == 0


@pytest.mark.parametrize("mode", MODES)
def test_float32_agrees_with_float64(mode):
    video = torch.from_numpy(translate(texture(48), 1.3, -0.7, num_frames=3))
    single, double = horn_schunck(video.float(), mode=mode), horn_schunck(video, mode=mode)
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(single.double(), double, rtol=0, atol=2e-3)


@pytest.mark.parametrize("mode", MODES)
def test_layout_and_batching(mode):
    video = torch.from_numpy(np.stack([translate(texture(40, seed=s), 1, 0, 4)[:, :33] for s in range(3)])).float()
    flow = horn_schunck(video[:, None], mode=mode)
    assert flow.shape == (3, 1, 2, 3, 33, 40)
    torch.testing.assert_close(flow[1, 0], horn_schunck(video[1], mode=mode), rtol=0, atol=1e-5)
    torch.testing.assert_close(flow[1, 0, :, 2:], horn_schunck(video[1, 2:], mode=mode), rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_eight_bit_video_is_the_same_as_its_fractions(mode):
    video = (255 * torch.from_numpy(translate(texture(32), 1, 0))).round().to(torch.uint8)
    torch.testing.assert_close(horn_schunck(video, mode=mode), horn_schunck(video / 255, mode=mode), rtol=0, atol=1e-3)


def test_paper_is_equations_3_and_4():
    """Against a transcription with an independent true convolution."""
    current, following = frames = translate(texture(32), 0.4, 0.2)
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    mean = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]) / 4
    current, following = 255 * current, 255 * following
    i_x, i_y = (convolve(current, kernel, mode="nearest") for kernel in (sobel, sobel.T))
    u = v = np.zeros_like(current)
    for _ in range(10):
        u_bar, v_bar = convolve(u, mean, mode="nearest"), convolve(v, mean, mode="nearest")
        r = (i_x * u_bar + i_y * v_bar + current - following) / (1 + i_x**2 + i_y**2)
        u, v = u_bar - i_x * r, v_bar - i_y * r
    np.testing.assert_allclose(horn_schunck(frames, mode="paper")[:, 0], [u, v], atol=1e-9)


def test_classic_is_horn_and_schunck_1981():
    """Against a transcription with cubes of 2x2x2 pixels and the mean of eight neighbours."""
    frames = translate(texture(32), 0.4, 0.2)
    mean = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]]) / 12
    box = np.pad(255 * frames, ((0, 0), (1, 0), (1, 0)))
    a, b, c, d = box[:, :-1, :-1], box[:, :-1, 1:], box[:, 1:, :-1], box[:, 1:, 1:]
    i_x, i_y = (a - b + c - d).sum(0) / 4, (a + b - c - d).sum(0) / 4
    i_t = np.subtract(*(a + b + c + d)) / 4
    u = v = np.zeros_like(i_t)
    for _ in range(7):
        u_bar, v_bar = convolve(u, mean, mode="constant"), convolve(v, mean, mode="constant")
        r = (i_x * u_bar + i_y * v_bar + i_t) / (15**2 + i_x**2 + i_y**2)
        u, v = u_bar - i_x * r, v_bar - i_y * r
    np.testing.assert_allclose(horn_schunck(frames, mode="classic", num_iterations=7)[:, 0], [u, v], atol=1e-9)


def test_stillness_rests_the_blank_and_spares_the_texture():
    patch = np.zeros((112, 112))
    patch[40:72, 40:72] = texture(32)[24:56, 24:56] - 0.5
    frames = 0.5 + translate(patch, 2, 0)
    free, still = (horn_schunck(frames, stillness=beta)[0, 0] for beta in (0.0, 2.0))
    assert free[:8].mean() > 1.5
    assert still[:8].abs().mean() < 0.15
    assert still[22:42, 22:42].mean() == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("recording", RECORDINGS)
def test_real_recordings_do_not_diverge_and_warp_better_than_dis(shared_data, recording):
    video = tifffile.imread(shared_data / recording, key=range(2, 5))[:, 100:356, 100:356]
    frames = torch.from_numpy(video).float()
    left = {}
    for name, flow in {"pyramid": horn_schunck(video), "dis": dis_flow(video)}.items():
        assert flow.isfinite().all() and flow.abs().max() < 64
        left[name] = (warp(frames[1:], flow.transpose(0, 1)) - frames[:-1]).abs().mean()
    assert left["pyramid"] < left["dis"] < (frames[1:] - frames[:-1]).abs().mean()


@pytest.mark.parametrize(("distance", "removed"), [(0.5, 0.40), (1.5, 0.74), (3.0, 0.95)])
def test_shifted_real_frame_is_warped_back(shared_data, distance, removed):
    """At half a pixel the rest is camera noise, which interpolation blurs."""
    frame = tifffile.imread(shared_data / RECORDINGS[0], key=0) / 255
    video = translate(frame, distance, 0).astype(np.float32)
    flow = horn_schunck(video)[:, 0]
    current, following = torch.from_numpy(video)
    left = (warp(following, flow) - current).abs().mean() / (following - current).abs().mean()
    assert 1 - left > removed
    assert end_point_error(flow, np.broadcast_to([[[distance]], [[0]]], flow.shape)) < 0.1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mode", MODES)
def test_gpu_agrees_with_cpu(mode):
    video = torch.from_numpy(translate(texture(48), 1.3, -0.7, num_frames=3)).float()
    there = horn_schunck(video.cuda(), mode=mode)
    torch.testing.assert_close(there.cpu(), horn_schunck(video, mode=mode), rtol=0, atol=2e-3)


def test_rounding_may_leave_the_unit_interval():
    assert horn_schunck(torch.tensor([-5e-4, 1 + 5e-4]).expand(2, 8, 2)).count_nonzero() == 0


@pytest.mark.parametrize(
    ("video", "options", "message"),
    [
        (torch.rand(1, 8, 8), {}, "at least two frames"),
        (torch.rand(8, 8), {}, "got shape"),
        (torch.full((2, 8, 8), torch.nan), {}, "finite"),
        (torch.zeros(2, 8, 8, dtype=torch.int64), {}, "uint8 or floating"),
        (torch.tensor([0.0, 255.0]).expand(2, 8, 2), {}, r"floating video must lie in \[0, 1\], got \[0, 255\]"),
        (torch.tensor([-0.5, 1.0]).expand(2, 8, 2), {}, r"floating video must lie in \[0, 1\], got \[-0.5, 1\]"),
        (torch.rand(2, 8, 8), {"mode": "farneback"}, "mode must be"),
        (torch.zeros(2, 8, 8), {"smoothness": 0}, "smoothness must be positive, got 0"),
        (torch.zeros(2, 8, 8), {"mode": "paper", "brightness_weight": 0}, "brightness_weight must be positive, got 0"),
        (torch.zeros(2, 8, 8), {"max_step": -1.0}, "max_step must be positive, got -1"),
        (torch.zeros(2, 8, 8), {"sigma": -1.0}, "sigma must be at least 0, got -1"),
        (torch.zeros(2, 8, 8), {"num_iterations": 0}, "num_iterations must be at least 1, got 0"),
        (torch.zeros(2, 8, 8), {"num_levels": 0}, "num_levels must be at least 1, got 0"),
        (torch.zeros(2, 8, 8), {"num_levels": -1}, "num_levels must be at least 1, got -1"),
        (torch.zeros(2, 8, 8), {"num_levels": 2.5}, "num_levels must be a whole number, got 2.5"),
        (torch.zeros(2, 8, 8), {"num_iterations": 1.5}, "num_iterations must be a whole number, got 1.5"),
        (torch.zeros(2, 8, 8), {"mode": "paper", "smoothness": 3.0}, "smoothness is an option of mode pyramid or cl"),
    ],
)
def test_bad_input_is_named(video, options, message):
    with pytest.raises(ValueError, match=message):
        horn_schunck(video, **options)


@pytest.mark.parametrize("mode", ["pyramid", "paper", "classic"])
def test_a_long_clip_is_solved_a_run_of_pairs_at_a_time(mode, monkeypatch):
    video = torch.rand(2, 6, 20, 24, generator=torch.Generator().manual_seed(0))
    whole = horn_schunck(video, mode=mode)
    monkeypatch.setitem(PIXELS_AT_A_TIME, "cpu", 2 * 20 * 24)
    assert torch.equal(horn_schunck(video, mode=mode), whole)


def test_a_batch_of_no_clips_has_no_flow():
    assert horn_schunck(torch.rand(0, 3, 8, 9)).shape == (0, 2, 2, 8, 9)


@pytest.mark.parametrize("estimate", [horn_schunck, dis_flow])
def test_mirrored_arrays_and_other_byte_orders_are_taken(estimate):
    video = np.random.default_rng(0).random((3, 32, 32)).astype(np.float32)
    for given in (video[::-1], video[:, :, ::-1], video.astype(">f4")):
        assert torch.equal(estimate(given), estimate(np.array(given, np.float32)))
