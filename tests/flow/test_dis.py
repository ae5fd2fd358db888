"""DIS keeps the contract of `horn_schunck`."""

import numpy as np
import pytest
import torch
from textures import texture, translate

from cellvid_diffusers.flow import dis_flow


@pytest.mark.parametrize(("dx", "dy"), [(2, 0), (0, -1.5)])
def test_known_shift_of_floats_and_bytes(dx, dy):
    video = translate(texture(64, sigma=3.0), dx, dy, num_frames=3)
    for clip in (video, torch.from_numpy(video).float(), np.rint(255 * video).astype(np.uint8)):
        flow = dis_flow(clip)
        assert flow.shape == (2, 2, 64, 64)
        assert flow.dtype == torch.float32
        assert flow.mean((1, 2, 3)).tolist() == pytest.approx([dx, dy], abs=0.1)


def test_leading_axes_are_kept_and_each_pair_stands_alone():
    video = torch.rand(2, 1, 3, 32, 40)
    flow = dis_flow(video)
    assert flow.shape == (2, 1, 2, 2, 32, 40)
    assert torch.equal(flow[1, 0, :, 1:], dis_flow(video[1, 0, 1:]))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="preset must be one of"):
        dis_flow(torch.rand(2, 32, 32), preset="slow")
    with pytest.raises(ValueError, match="at least 12 pixels, got 8x8"):
        dis_flow(torch.rand(2, 8, 8))
    with pytest.raises(ValueError, match="at least two frames"):
        dis_flow(torch.rand(1, 32, 32))
    with pytest.raises(ValueError, match=r"floating video must lie in \[0, 1\]"):
        dis_flow(255 * torch.rand(2, 32, 32))


@pytest.mark.parametrize("shape", [(5, 40), (15, 64), (13, 5)])
def test_strips_that_opencv_cannot_search(shape):
    strip = np.random.default_rng(0).integers(0, 255, (3, *shape), dtype=np.uint8)
    assert dis_flow(strip).shape == (2, 2, *shape)
    assert dis_flow(strip[[0, 0]]).abs().max() == 0
