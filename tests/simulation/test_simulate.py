"""Properties of simulated cultures."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage

from cellvid_diffusers.flow import warp
from cellvid_diffusers.simulation import (
    DENSITIES,
    MATURITIES,
    CultureParameters,
    MicroscopeParameters,
    motion,
    simulate,
)
from cellvid_diffusers.simulation.cells import Cell, Numbers, make_cell
from cellvid_diffusers.simulation.crowding import FARTHEST_UM, overlap, separate
from cellvid_diffusers.simulation.culture import _live, _seed
from cellvid_diffusers.simulation.motion import World, amid_mitosis, roundness
from cellvid_diffusers.simulation.optics import phase_contrast
from cellvid_diffusers.simulation.render import draw

FRAMES, SIZE = 6, 96


@pytest.fixture(scope="module", params=[("dense", "mature", 3), ("moderate", "very_young", 1)], ids=["mature", "young"])
def culture(request):
    density, maturity, seed = request.param
    return simulate(num_frames=FRAMES, size=SIZE, density=density, maturity=maturity, seed=seed)


def test_shapes_and_types(culture):
    assert culture.video.shape == culture.masks.shape == culture.cells.shape == culture.clean.shape == (6, 96, 96)
    assert culture.flow.shape == (5, 96, 96, 2)
    assert (culture.video.dtype, culture.masks.dtype, culture.flow.dtype) == (np.uint8, np.int32, np.float32)
    assert len(culture.neurites) == FRAMES


def test_seed_makes_the_culture():
    options = {"size": 48, "num_frames": 3, "density": "dense"}
    first, again, other = simulate(**options, seed=3), simulate(**options, seed=3), simulate(**options, seed=4)
    for name in ("video", "flow", "masks", "cells", "tracks"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.video, other.video)


def test_background_stands_still_and_cells_move(culture):
    assert np.all(culture.flow[culture.cells[:-1] == 0] == 0)
    assert np.abs(culture.flow[culture.masks[:-1] > 0]).max() > 1


def test_bodies_are_parts_of_their_cells(culture):
    bodies = culture.masks > 0
    np.testing.assert_array_equal(culture.masks[bodies], culture.cells[bodies])


def test_flow_carries_the_masks(culture):
    """A body's pixel moved by its flow lands in the same body, but for rounding at the outline, or in its daughters."""
    daughters = {label: parent for label, _, _, parent in culture.tracks if parent}
    for mask, following, flow in zip(culture.masks[:-1], culture.masks[1:], culture.flow, strict=True):
        rows, columns = np.nonzero(mask)
        x, y = np.rint(np.stack([columns, rows]) + flow[rows, columns].T).astype(int)
        inside = (x >= 0) & (x < SIZE) & (y >= 0) & (y < SIZE)
        there = following[y[inside], x[inside]]
        mothers = np.array([daughters.get(label, label) for label in there])
        here = mask[rows, columns][inside]
        assert ((there == here) | (mothers == here)).mean() > 0.93


def test_flow_explains_the_image(culture):
    """Frame k + 1 taken back by the flow resembles frame k far more than it does unmoved."""
    clean = torch.from_numpy(culture.clean)
    moved = warp(clean[1:], torch.from_numpy(culture.flow).permute(0, 3, 1, 2))
    bodies = torch.from_numpy(culture.masks[:-1] > 0)
    neurites = torch.from_numpy(culture.cells[:-1] > 0) & ~bodies
    for where, share in ((bodies, 0.6), (neurites, 0.85)):
        explained = (moved - clean[:-1])[where].abs().mean()
        assert explained < share * (clean[1:] - clean[:-1])[where].abs().mean()


@pytest.mark.parametrize("density, maturity, seed", [("very_dense", "mature", 2), ("dense", "very_young", 5)])
def test_cells_come_and_go_at_the_border_or_by_division(density, maturity, seed):
    culture = simulate(size=SIZE, num_frames=8, density=density, maturity=maturity, seed=seed)
    mothers = set(culture.tracks[:, 3]) - {0}
    for label, first, last, parent in culture.tracks:
        for frame, at_end in ((first, first == 0 or parent), (last, last == 7 or label in mothers)):
            if not at_end:
                rows, columns = np.nonzero(culture.masks[frame] == label)
                assert min(rows.min(), columns.min(), 95 - rows.max(), 95 - columns.max()) == 0


def test_tracks_are_unbroken(culture):
    for label, first, last, _ in culture.tracks:
        seen = np.flatnonzero((culture.masks == label).any(axis=(1, 2)))
        np.testing.assert_array_equal(seen, np.arange(first, last + 1))
    assert set(culture.tracks[:, 0]) == set(np.unique(culture.masks)) - {0}


def test_bodies_stay_whole(culture):
    """None is cut in two by another that climbs over it."""
    for mask in culture.masks:
        for label in np.unique(mask)[1:]:
            pieces, count = ndimage.label(mask == label, np.ones((3, 3)))
            sizes = np.bincount(pieces.ravel())[1:]
            inside = not (np.any(mask[[0, -1]] == label) or np.any(mask[:, [0, -1]] == label))
            assert count == 1 or not inside or sizes.max() > 0.9 * sizes.sum()


def clumps(density: str, maturity: str):
    """For each clump and step of deadly cultures: whether it moves, and whether another cell comes within 4 px."""
    usual = CultureParameters()
    deadly = replace(usual, maturities={maturity: replace(usual.maturities[maturity], dead=0.8)})
    for seed in range(3):
        culture = simulate(num_frames=4, size=96, density=density, maturity=maturity, seed=seed, parameters=deadly)
        for frame, flow in enumerate(culture.flow):
            for label in culture.dead:
                clump = culture.cells[frame] == label
                near = ndimage.binary_dilation(clump, iterations=4)
                sighted = clump.any() and not (near[[0, -1]].any() or near[:, [0, -1]].any())
                if sighted:
                    others = culture.cells[frame : frame + 2]
                    yield bool(np.any(flow[clump])), bool(((others > 0) & (others != label) & near).any())


def test_dead_clumps_lie_still_unless_touched():
    alone = [moves for moves, touched in clumps("moderate", "very_young") if not touched]
    assert len(alone) > 5
    assert not any(alone)
    assert any(moves for moves, touched in clumps("dense", "mature") if touched)


def test_halves_of_a_dividing_cell_become_daughters():
    for seed in range(40):
        culture = simulate(num_frames=10, size=96, density="moderate", maturity="very_young", seed=seed)
        daughters = culture.tracks[culture.tracks[:, 3] > 0]
        if len(daughters) == 2:
            break
    (_, first, _, mother), (_, other_first, _, other_mother) = daughters
    assert (first, mother) == (other_first, other_mother)
    assert culture.tracks[culture.tracks[:, 0] == mother][0, 2] == first - 1
    area = [np.sum(culture.masks[f] == mother) for f in (first - 1,)] + [
        np.sum(culture.masks[first] == d[0]) for d in daughters
    ]
    assert 0.6 < (area[1] + area[2]) / area[0] < 1.6


@pytest.mark.parametrize("share, cells, bodies", [(0.05, 1, 1), (0.5, 1, 1), (0.8, 1, 2), (0.999, 2, 1)])
def test_a_culture_can_begin_at_any_stage_of_division(share, cells, bodies):
    numbers, rng, parameters = Numbers(), np.random.default_rng(0), CultureParameters()
    world = World(400.0, 0.5, parameters.maturities["very_young"], parameters, numbers, rng)
    cell = make_cell("progenitor", np.array([200.0, 200.0]), numbers, world.maturity, parameters, rng)
    found = amid_mitosis(cell, share, world)
    assert len(found) == cells and all(len(each.bodies) == bodies for each in found)
    if cells == 1:
        assert found[0].mitosis == pytest.approx(share)
        assert roundness(found[0]) == pytest.approx(min(1, share / 0.4))


@pytest.mark.parametrize("kind", ["glia", "progenitor"])
def test_daughters_part_spread_and_move_on(kind):
    for seed in range(3):
        numbers, rng, parameters = Numbers(), np.random.default_rng(seed), CultureParameters()
        world = World(400.0, 10.0, parameters.maturities["mature"], parameters, numbers, rng)
        mother = make_cell(kind, np.array([200.0, 200.0]), numbers, world.maturity, parameters, rng)
        last = _live(amid_mitosis(mother, 0.9, world), 16, world)[-1][0]
        assert len(last) == 2 and [cell.mitosis for cell in last] == [None, None]


def test_cells_that_touch_go_on_moving(culture):
    speed, inside = np.linalg.norm(culture.flow, axis=-1), culture.masks[:-1] > 0
    assert (speed[inside] < 1e-4).mean() < 0.2


@pytest.mark.parametrize("maturity", ["very_young", "mature"])
def test_cells_of_packed_cultures_move(maturity):
    culture = simulate(num_frames=6, size=96, density="very_dense", maturity=maturity, seed=0)
    still, seen = 0, 0
    for mask, flow in zip(culture.masks[:-1], culture.flow, strict=True):
        for label in set(np.unique(mask)) - {0} - set(culture.dead):
            still, seen = still + int(not flow[mask == label].any()), seen + 1
    assert still < 0.05 * seen


def lone(kind: str, minutes: float) -> tuple[Cell, World]:
    """A cell in the middle of its world, stepped every `minutes`, that does not divide by itself."""
    numbers, rng, parameters = Numbers(), np.random.default_rng(0), CultureParameters()
    maturity = replace(parameters.maturities["mature"], division_per_h=0.0)
    world = World(96.0, minutes, maturity, parameters, numbers, rng)
    return make_cell(kind, np.array([48.0, 48.0]), numbers, maturity, parameters, rng), world


def test_daughters_of_a_cell_without_room_to_round_up_do_not_overlap():
    cell, world = lone("progenitor", 10.0)
    cells = [replace(cell, mitosis=0.0)]
    for step in range(60):  # held back by half, at times entirely
        share = 0.5 if step % 4 else 0.0
        cells = motion.divide([motion._advance(cells[0], world).kept_back(cells[0], share)], world)
        if len(cells) == 2:
            break
    assert not overlap(*cells).any()


@pytest.mark.parametrize("kind", ["glia", "progenitor"])
def test_daughters_grow_to_the_size_of_their_mother(kind):
    mother, world = lone(kind, 30.0)
    daughters = _live(amid_mitosis(mother, 0.99, world), 60, world)[-1][0]
    assert len(daughters) == 2
    for cell in daughters:
        assert cell.core == cell.bodies[0].core == pytest.approx(mother.core, rel=0.02)
        assert abs(np.log(cell.bodies[0].stretch / mother.stretch)) <= 0.1 + 1e-9  # migration stretches it by as much


@pytest.mark.parametrize("kind", ["glia", "progenitor"])
def test_the_optical_path_over_a_cell_changes_evenly_through_mitosis(kind):
    """It lies between those of the spread cells and the ball, so that no frame shows them black."""
    cell, world = lone(kind, 10.0)
    cells, totals = [replace(cell, mitosis=0.0)], []
    for _ in range(16):
        totals.append(draw(cells, cells, 96, 1.0).path_difference.sum())
        cells = motion.divide([motion._advance(each, world) for each in cells], world)
    ends = totals[0], totals[3], totals[-1]
    assert 0.9 * min(ends) <= min(totals) and max(totals) <= 1.15 * max(ends)


def test_a_crowd_pushes_no_cell_far():
    parameters = CultureParameters()
    for seed in range(2):
        world = World(
            200.0, 10.0, parameters.maturities["very_young"], parameters, Numbers(), np.random.default_rng(seed)
        )
        cells = _seed(parameters.cells_per_mm2["very_dense"], world)
        for _ in range(4):
            cells = motion.divide(cells, world)
            alone = [motion._advance(cell, world) for cell in cells]
            together = separate(cells, alone)
            for before, free, after in zip(cells, alone, together, strict=True):
                by_itself, moved = (np.linalg.norm(each.centre - before.centre) for each in (free, after))
                assert moved <= by_itself + FARTHEST_UM + 1e-6
            cells = together


def test_a_round_cell_in_mitosis_is_bright():
    """Its optical path exceeds half a wavelength, so that the contrast turns; spread cells are dark."""
    cell, world = lone("progenitor", 2.0)
    for share, bright in ((0.0, False), (0.5, True)):
        cells = amid_mitosis(cell, share, world)
        scene = draw(cells, cells, 96, 1.0)
        image = phase_contrast(scene.path_difference, pixel_size_um=1.0, microscope=MicroscopeParameters())
        assert (image[scene.bodies > 0].mean() > 1) == bright


def test_beginning_amid_division_takes_no_longer_for_short_intervals(monkeypatch):
    steps = []
    advance = motion._advance
    monkeypatch.setattr(motion, "_advance", lambda cell, world: steps.append(1) or advance(cell, world))
    cell, world = lone("progenitor", 0.001)
    assert amid_mitosis(cell, 0.5, world)[0].mitosis == pytest.approx(0.5)
    assert len(steps) < 100


def test_clumps_are_in_one_piece():
    numbers, rng, parameters = Numbers(), np.random.default_rng(0), CultureParameters()
    for _ in range(300):
        clump = make_cell("dead", np.zeros(2), numbers, parameters.maturities["mature"], parameters, rng)
        joined, rest = list(clump.bodies[:1]), list(clump.bodies[1:])
        while rest:
            beside = [b for b in rest if any(np.hypot(*(b.centre - j.centre)) < b.core + j.core for j in joined)]
            assert beside
            joined, rest = joined + beside, [b for b in rest if b not in beside]


def test_divisions_come_as_often_in_the_first_frames_as_later():
    births, parameters = np.zeros(10, int), CultureParameters()
    maturity = replace(parameters.maturities["very_young"], progenitors=1.0, glia=0.0, division_per_h=0.3)
    for seed in range(12):
        world = World(150.0, 10.0, maturity, parameters, Numbers(), np.random.default_rng(seed))
        history = _live(_seed(parameters.cells_per_mm2["dense"], world), 10, world)
        numbers = [{cell.number for cell in cells if cell.parent} for cells, _ in history]
        births[1:] += [len(now - before) for before, now in pairwise(numbers)]
    assert births[1:5].sum() > 0.5 * births[5:9].sum() > 10


@pytest.mark.parametrize("density", DENSITIES)
def test_as_many_cells_are_placed_as_the_density_says(density):
    parameters, living = CultureParameters(), 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        world = World(300.0, 10.0, parameters.maturities["very_young"], parameters, Numbers(), rng)
        living += sum(cell.kind != "dead" for cell in _seed(parameters.cells_per_mm2[density], world))
    assert living == pytest.approx(3 * 0.3**2 * parameters.cells_per_mm2[density], rel=0.15)


def test_density_is_met():
    counts = [np.mean([len(simulate(num_frames=1, density=d, seed=s).tracks) for s in range(3)]) for d in DENSITIES]
    assert counts == sorted(counts) and counts[-1] > 4 * counts[0]


def test_mature_cultures_have_longer_neurites_and_slower_cells():
    lengths, speeds = [], []
    for maturity in MATURITIES:
        cultures = [simulate(num_frames=2, maturity=maturity, seed=s) for s in range(3)]
        lengths.append(np.mean([line.length for c in cultures for line in c.neurites[0]]))
        speeds.append(np.mean([np.abs(c.flow[c.masks[:-1] > 0]).mean() for c in cultures]))
    assert lengths == sorted(lengths)
    assert speeds == sorted(speeds, reverse=True)


def test_neurites_lie_on_their_cells(culture):
    hits = []
    for frame, neurites in enumerate(culture.neurites):
        for neurite in neurites:
            x, y = np.rint(neurite.line).astype(int).T
            inside = (x >= 0) & (x < SIZE) & (y >= 0) & (y < SIZE)
            hits.extend(culture.cells[frame][y[inside], x[inside]] > 0)
    assert np.mean(hits) > 0.95


def test_a_halo_surrounds_thick_bodies():
    culture = simulate(num_frames=1, size=96, density="sparse", maturity="very_young", seed=9)
    bodies = culture.cells[0] > 0
    ring = ndimage.binary_dilation(bodies, iterations=4) & ~ndimage.binary_dilation(bodies, iterations=1)
    far = ~ndimage.binary_dilation(bodies, iterations=15)
    assert culture.clean[0][ring].mean() > 1.02 * culture.clean[0][far].mean()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"density": "full"}, "density must be one of"),
        ({"maturity": "old"}, "maturity must be"),
        ({"size": 4}, "size"),
        ({"pixel_size_um": 9.0}, "pixel_size_um must lie between 0.2 and 4, got 9.0"),
        ({"frame_interval_min": 0.0}, "frame_interval_min must lie above 0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(**arguments)
