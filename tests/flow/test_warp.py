"""`warp` samples forwards, bilinearly, and leaves an image alone where nothing moves."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from cellvid_diffusers.flow import warp


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8])
@pytest.mark.parametrize("size", [(64, 64), (45, 50), (7, 130)])
def test_zero_flow_returns_the_image_bit_for_bit(size, dtype):
    image = (255 * torch.rand(2, *size)).to(dtype)
    warped = warp(image, torch.zeros(2, 2, *size))
    assert torch.equal(warped, image if dtype.is_floating_point else image.float())


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, 1), (-3, 2)])
def test_whole_shifts_move_pixels(dx, dy):
    image = torch.rand(20, 30)
    flow = torch.tensor([dx, dy]).view(2, 1, 1).expand(2, 20, 30)
    expected = torch.roll(image, (-dy, -dx), (0, 1))
    assert torch.allclose(warp(image, flow)[4:-4, 4:-4], expected[4:-4, 4:-4], atol=1e-5)


def test_agrees_with_scipy_beyond_the_border_too():
    rng = np.random.default_rng(0)
    image, flow = rng.random((21, 37)), rng.normal(0, 4, (2, 21, 37))
    y, x = np.mgrid[:21, :37]
    expected = map_coordinates(image, [y + flow[1], x + flow[0]], order=1, mode="nearest")
    np.testing.assert_allclose(warp(torch.from_numpy(image), torch.from_numpy(flow)), expected, atol=1e-12)


def test_gradients_reach_image_and_flow():
    image = torch.rand(1, 8, 8, dtype=torch.float64, requires_grad=True)
    flow = torch.full((1, 2, 8, 8), 0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(warp, (image, flow))


def test_shapes_must_match():
    with pytest.raises(ValueError, match="flow must have"):
        warp(torch.rand(2, 8, 8), torch.rand(2, 8, 8))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_as_exact_as_its_pixels(dtype):
    image = torch.rand(1, 300, 512).to(dtype)
    assert torch.equal(warp(image, torch.zeros(1, 2, 300, 512)), image)
    flow = torch.full((1, 2, 300, 512), 0.3)
    assert torch.equal(warp(image, flow), warp(image.float(), flow).to(dtype))
