"""Colours and arrows of known flow."""

import numpy as np
import pytest

from cellvid_diffusers.flow import draw_quiver, flow_to_rgb


@pytest.mark.parametrize(
    ("u", "v", "color"),
    [
        (0, 0, (255, 255, 255)),
        (1, 0, (255, 0, 0)),
        (0, 1, (255, 234, 0)),
        (-1, 0, (0, 197, 255)),
        (0, -1, (103, 0, 255)),
    ],
)
def test_colour_tells_the_direction(u, v, color):
    rgb = flow_to_rgb(np.full((4, 5, 2), (u, v), float), max_speed=1)
    assert rgb.shape == (4, 5, 3) and rgb.dtype == np.uint8
    assert np.abs(rgb[0, 0].astype(int) - color).max() <= 1


def test_saturation_is_the_speed_up_to_max_speed():
    rgb = flow_to_rgb(np.array([[[0.5, 0], [1, 0], [3, 0]]]), max_speed=1)
    assert rgb[0].tolist() == [[255, 128, 128], [255, 0, 0], [255, 0, 0]]


def test_one_scale_for_all_frames_and_noise_stays_pale():
    flow = np.zeros((2, 8, 8, 2))
    flow[0, ..., 0], flow[1, ..., 0] = 1, 2
    assert flow_to_rgb(flow)[:, 0, 0, 1].tolist() == [128, 0]
    assert flow_to_rgb(np.full((8, 8, 2), 0.01)).min() > 230


def test_arrows_lie_where_it_moves_and_point_along():
    flow = np.zeros((32, 48, 2), np.float32)
    flow[:, 24:, 0] = 2
    picture = draw_quiver(np.full((32, 48), 0.5), flow, zoom=4, gain=2.0, color=(255, 0, 0))
    assert picture.shape == (128, 192, 3) and picture.dtype == np.uint8
    drawn = picture[..., 0] > picture[..., 1]
    assert not drawn[:, :80].any() and drawn[:, 100:].any()
    assert drawn.any(0).sum() > drawn.any(1).sum()


def test_clips_and_still_fields():
    frames = np.random.default_rng(0).integers(0, 255, (2, 3, 16, 24), dtype=np.uint8)
    still = draw_quiver(frames, np.zeros((2, 3, 16, 24, 2)), zoom=2)
    assert still.shape == (2, 3, 32, 48, 3)
    np.testing.assert_array_equal(draw_quiver(frames, np.zeros((2, 3, 16, 24, 2)), zoom=2, min_speed=0), still)


@pytest.mark.parametrize("flow", [np.zeros((8, 8, 3)), np.zeros((8, 2))])
def test_flow_must_have_two_components(flow):
    with pytest.raises(ValueError, match="flow must"):
        flow_to_rgb(flow)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="max_speed must be positive"):
        flow_to_rgb(np.zeros((8, 8, 2)), max_speed=0)
    with pytest.raises(ValueError, match="max_speed must be positive, got nan"):
        flow_to_rgb(np.zeros((8, 8, 2)), max_speed=float("nan"))
    with pytest.raises(ValueError, match="flow must be finite"):
        flow_to_rgb(np.full((8, 8, 2), np.nan))
    with pytest.raises(ValueError, match="flow must be finite"):
        draw_quiver(np.zeros((8, 8)), np.full((8, 8, 2), np.inf))
    with pytest.raises(ValueError, match="spacing and zoom must be at least 1, got 0 and 4"):
        draw_quiver(np.zeros((8, 8)), np.zeros((8, 8, 2)), spacing=0)
    with pytest.raises(ValueError, match="flow must be the frame's shape"):
        draw_quiver(np.zeros((8, 9)), np.zeros((8, 8, 2)))


def test_frames_of_sixteen_bits_are_refused():
    with pytest.raises(ValueError, match="frame must be uint8 or floating, got uint16"):
        draw_quiver(np.full((8, 8), 900, np.uint16), np.zeros((8, 8, 2)))


def test_a_frame_smaller_than_the_spacing_has_one_arrow():
    flow = np.full((3, 3, 2), 1.0, np.float32)
    assert np.ptp(draw_quiver(np.full((3, 3), 90, np.uint8), flow).reshape(-1, 3), axis=0).max() > 50
