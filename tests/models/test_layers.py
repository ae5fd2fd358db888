"""The layers against formulas written the plain way: faster code must not change what is computed."""

import pytest
import torch
import torch.nn.functional as F

from cellvid_diffusers.models import layers
from cellvid_diffusers.models.layers import (
    AxialAttention,
    ResidualBlock,
    attend,
    depth_to_space,
    rotate_by_position,
    space_to_depth,
)


def random_weights(module: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return module


def rotation(frame: int, dim: int) -> torch.Tensor:
    """Rotation of the pair of channels (i, i + dim / 2) by `frame` times its frequency, as a matrix."""
    matrix = torch.zeros(dim, dim)
    for i in range(dim // 2):
        angle = torch.tensor(frame * 100.0 ** -(i / (dim // 2 - 1)))
        j = i + dim // 2
        matrix[i, i] = matrix[j, j] = angle.cos()
        matrix[i, j], matrix[j, i] = -angle.sin(), angle.sin()
    return matrix


def test_rotary_embedding_is_a_rotation_by_the_frame():
    x = torch.randn(2, 5, 3, 2, 8)
    expected = torch.stack([x[:, frame] @ rotation(frame, 8).T for frame in range(5)], dim=1)
    torch.testing.assert_close(rotate_by_position(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("length", [1, 10, 80, 600])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_attention_is_a_weighted_mean(length, training, dtype, tolerance):
    q, k, v = (torch.randn(3, 2, length, 8, dtype=dtype).requires_grad_(training) for _ in range(3))
    weights = torch.softmax(torch.einsum("bhid,bhjd->bhij", q.float(), k.float()) / 8**0.5, dim=-1)
    expected = torch.einsum("bhij,bhjd->bhid", weights, v.float())
    torch.testing.assert_close(attend(q, k, v).float(), expected, rtol=10 * tolerance, atol=tolerance)


def test_attention_over_many_rows_is_that_of_parts(monkeypatch):
    q, k, v = torch.randn(3, 7, 2, 5, 4)
    whole = attend(q, k, v)
    monkeypatch.setattr(layers, "MOST_ROWS", 3)
    torch.testing.assert_close(attend(q, k, v), whole)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("axis", ["space", "time"])
def test_axial_attention_against_loops(axis, training):
    layer = random_weights(AxialAttention(16, axis, head_dim=8))
    x = torch.randn(2, 4, 3, 5, 16)
    q, k, v = F.linear(F.layer_norm(x, (16,), layer.norm.weight, layer.norm.bias), layer.to_qkv.weight).chunk(3, -1)
    mixed = torch.zeros_like(x)
    for head in (slice(0, 8), slice(8, 16)):
        q_h, k_h, v_h = q[..., head], k[..., head], v[..., head]
        if axis == "time":
            turned = [torch.stack([t[:, f] @ rotation(f, 8).T for f in range(4)], dim=1) for t in (q_h, k_h)]
            weights = torch.softmax(torch.einsum("bfhwd,bghwd->bhwfg", *turned) / 8**0.5, dim=-1)
            mixed[..., head] = torch.einsum("bhwfg,bghwd->bfhwd", weights, v_h)
        else:
            scores = torch.einsum("bfhwd,bfyxd->bfhwyx", q_h, k_h) / 8**0.5
            weights = torch.softmax(scores.flatten(4), dim=-1).unflatten(-1, (3, 5))
            mixed[..., head] = torch.einsum("bfhwyx,bfyxd->bfhwd", weights, v_h)
    with torch.set_grad_enabled(training):
        torch.testing.assert_close(layer(x, None), x + layer.to_out(mixed), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [(6, 6), (6, 4)])
def test_residual_block_against_3d_convolutions(channels):
    block = random_weights(ResidualBlock(*channels, 5, temporal_conv=True, norm_type="layer", norm_num_groups=1))
    x, embedding = torch.randn(2, 4, 8, 6, channels[0]), torch.randn(2, 4, 5)
    h = block.norm(x).permute(0, 4, 1, 2, 3)
    h = F.conv3d(h, block.conv_in.weight[:, :, None], block.conv_in.bias, padding=(0, 1, 1))
    h = F.conv3d(h, block.mix.weight[..., None], block.mix.bias, padding=(1, 0, 0))
    scale, shift = block.condition(embedding).transpose(1, 2)[..., None, None].chunk(2, dim=1)
    h = F.conv3d(
        F.silu(h * (1 + scale) + shift), block.conv_out.weight[:, :, None], block.conv_out.bias, padding=(0, 1, 1)
    )
    expected = block.shortcut(x) + h.permute(0, 2, 3, 4, 1)
    torch.testing.assert_close(block(x, embedding), expected, rtol=1e-4, atol=1e-4)


def test_space_to_depth_and_back():
    x = torch.arange(2 * 3 * 4 * 6 * 2.0).view(2, 3, 4, 6, 2)
    packed = space_to_depth(x, 2)
    assert packed[1, 2, 1, 2].tolist() == [*x[1, 2, 2, 4], *x[1, 2, 2, 5], *x[1, 2, 3, 4], *x[1, 2, 3, 5]]
    assert torch.equal(depth_to_space(packed, 2), x)
