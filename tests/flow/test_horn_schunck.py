"""Known motion, sign, exact zero, precision: what `horn_schunck` promises."""

import pytest
import torch

from cellvid_diffusers.flow import horn_schunck


@pytest.mark.parametrize("mode", ["pyramid", "paper"])
def test_identical_frames_have_exactly_zero_flow(mode):
    clip = torch.rand(1, 45, 50).expand(3, 45, 50)
    assert horn_schunck(clip, mode=mode).count_nonzero() == 0
