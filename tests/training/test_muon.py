"""Muon against the mathematics it stands for."""

import copy
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "training"))

from muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(32, 96), (96, 32), (48, 48)])
def test_orthogonalize_keeps_directions_and_evens_their_strength(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    result = orthogonalize(matrix)
    assert result.dtype == matrix.dtype
    values = (left.T @ result @ right.T).diagonal()  # singular values, if its singular vectors are the matrix's
    assert values.min() > 0.4 and values.max() < 1.4
    torch.testing.assert_close(left @ values.diag() @ right, result, atol=0.03, rtol=0)


@pytest.mark.parametrize(("has_bfloat16", "finest", "coarsest"), [(False, 0, 1e-5), (True, 1e-4, 0.05)])
def test_bfloat16_only_where_the_device_computes_in_it(has_bfloat16, finest, coarsest, monkeypatch):
    monkeypatch.setattr("muon.has_bfloat16", lambda device: has_bfloat16)
    matrix = torch.randn((32, 96), generator=torch.Generator().manual_seed(0))
    x = matrix.double() / matrix.double().norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    assert finest <= (orthogonalize(matrix) - x).abs().max() < coarsest


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.ModuleDict(
        {"conv": torch.nn.Conv2d(16, 32, 3), "norm": torch.nn.LayerNorm(32), "head": torch.nn.Linear(32, 32)}
    )


def test_matrices_are_told_from_the_rest(network):
    matrices, rest = Muon(network.named_parameters()).param_groups
    assert [id(p) for p in matrices["params"]] == [id(network["conv"].weight)]
    assert len(rest["params"]) == 5


def test_class_embeddings_step_further():
    table = torch.nn.Embedding(3, 32)
    (group,) = Muon([("class_embeddings.0.weight", table.weight)], lr=1e-3).param_groups
    assert group["lr"] == pytest.approx(1e-2) and group["momentum"] is None


def test_step_has_the_size_of_adamw(network):
    before = copy.deepcopy(network)
    optimizer = Muon(network.named_parameters(), lr=1e-2, weight_decay=0.0)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape)
    optimizer.step()
    change = (network["conv"].weight - before["conv"].weight).square().mean().sqrt()
    assert 0.1e-2 < change < 0.3e-2
    torch.testing.assert_close(
        (network["head"].weight - before["head"].weight).abs(), torch.full((32, 32), 1e-2), rtol=1e-3, atol=0
    )


def test_learns_a_matrix():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(24, 40, generator=generator)
    layer = torch.nn.Linear(40, 24, bias=False)
    optimizer = Muon(layer.named_parameters(), lr=0.05, weight_decay=0.0)
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 300)
        optimizer.zero_grad()
        inputs = torch.randn(64, 40, generator=generator)
        torch.nn.functional.mse_loss(layer(inputs), inputs @ target.T).backward()
        optimizer.step()
    assert (layer.weight - target).square().mean() < 0.01


def test_state_survives_saving(network):
    def step(net, optimizer):
        for index, parameter in enumerate(net.parameters()):
            parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index))
        optimizer.step()

    optimizer = Muon(network.named_parameters())
    step(network, optimizer)
    twin = copy.deepcopy(network)
    restored = Muon(twin.named_parameters())
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(network, optimizer)
    step(twin, restored)
    for one, other in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
