"""The map of material onto the field and the neurites' own."""

import numpy as np
import pytest

from cellvid_diffusers.simulation import crowding
from cellvid_diffusers.simulation.body import ANGLES, Body, bump
from cellvid_diffusers.simulation.cells import make_cell
from cellvid_diffusers.simulation.crowding import overlap, separate
from cellvid_diffusers.simulation.motion import Numbers
from cellvid_diffusers.simulation.parameters import CultureParameters


def body(**changes) -> Body:
    values = {
        "uid": 1,
        "centre": np.array([3.0, -2.0]),
        "angle": 0.7,
        "stretch": 1.3,
        "bend": 0.02,
        "core": 6.0,
        "lobes": 9 * bump(1.0, 0.3) + 0.02,
        "relief": np.zeros((65, 65), np.float32),
    }
    return Body(**values | changes)


@pytest.mark.parametrize("changes", [{}, {"bend": -0.05}, {"lobes": np.full(72, 0.02)}, {"stretch": 0.7}])
def test_maps_are_inverse(changes):
    rng = np.random.default_rng(0)
    material = rng.uniform(-0.7, 0.7, (5, 40, 2))
    there = body(**changes).to_field(material)
    np.testing.assert_allclose(body(**changes).to_material(there), material, atol=1e-6)


def test_a_pose_lies_between_two_others_and_turns_the_short_way():
    first, second = body(angle=3.1), body(centre=np.array([5.0, 0.0]), angle=-3.1, core=8.0)
    for share, pose in ((0.0, first), (1.0, second)):
        np.testing.assert_allclose(first.towards(second, share).outline, pose.outline, atol=1e-9)
    half = first.towards(second, 0.5)
    np.testing.assert_allclose(half.centre, [4.0, -1.0])
    assert half.core == 7.0 and np.cos(half.angle) == pytest.approx(-1)


def test_outline_is_the_unit_circle():
    np.testing.assert_allclose(np.linalg.norm(body().to_material(body().outline), axis=-1), 1, atol=1e-6)
    assert body().outline.shape == (len(ANGLES), 2)


def test_overlapping_cells_part_and_stay_where_they_cannot():
    parameters, rng, numbers = CultureParameters(), np.random.default_rng(1), Numbers()
    maturity = parameters.maturities["mature"]
    cells = [make_cell("neuron", np.array([x, 0.0]), numbers, maturity, parameters, rng) for x in (0.0, 60.0, 120.0)]
    moved = [cells[0].shifted(np.array([25.0, 0])), cells[1].shifted(np.array([-25.0, 0])), cells[2]]
    assert overlap(moved[0], moved[1]).any()
    parted = separate(cells, moved)
    assert not any(overlap(parted[i], parted[j]).any() for i, j in ((0, 1), (1, 2), (0, 2)))
    assert parted[2] is cells[2]


def test_cells_that_overlap_from_the_beginning_end_the_search(monkeypatch):
    parameters, rng, numbers = CultureParameters(), np.random.default_rng(1), Numbers()
    cells = [
        make_cell("neuron", np.array([x, 0.0]), numbers, parameters.maturities["mature"], parameters, rng)
        for x in (0.0, 5.0)
    ]
    monkeypatch.setattr(crowding, "_push", lambda cells, *others: cells)
    moved = [cell.shifted(np.array([1.0, 0.0])) for cell in cells]
    for cell, back in zip(cells, separate(cells, moved), strict=True):
        np.testing.assert_array_equal(cell.centre, back.centre)


def test_alone_nothing_is_pushed():
    parameters, numbers = CultureParameters(), Numbers()
    cell = make_cell(
        "glia", np.zeros(2), numbers, parameters.maturities["mature"], parameters, np.random.default_rng(1)
    )
    assert separate([cell], [cell])[0] is cell
