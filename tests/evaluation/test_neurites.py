from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from skan import Skeleton, summarize
from skimage.morphology import skeletonize

from cellvid_diffusers.evaluation.neurites import (
    COLUMNS,
    find_somata,
    of_known_direction,
    of_known_length,
    trace_neurites,
)

SIZE, RADIUS, DARKNESS = 112, 8, 40.0


def arc(start, angle, length, curvature, points=40):
    """Points `(N, 2)` (y, x) of an arc of this length; `angle` is the direction of its chord."""
    s = np.linspace(0, length, points)
    middle = angle + curvature * ((s[1:] + s[:-1]) / 2 - length / 2)
    steps = np.diff(s)[:, None] * np.stack([np.sin(middle), np.cos(middle)], axis=1)
    return np.asarray(start) + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def draw(lines, *, width, noise=0.0, seed=0, blur=0.7, fine=4):
    """A grey frame with dark lines, anti-aliased and blurred; lines end bluntly."""
    y, x = (np.mgrid[: SIZE * fine, : SIZE * fine] + 0.5) / fine - 0.5
    covered = np.zeros(y.shape, bool)
    for line in lines:
        for a, b in pairwise(line):
            low, high = ((f(a, b) + sign * 4) * fine for f, sign in ((np.minimum, -1), (np.maximum, 1)))
            box = tuple(slice(max(int(p), 0), max(int(q), 0)) for p, q in zip(low, high, strict=True))
            length = np.hypot(*(b - a))
            dy, dx = (b - a) / length
            along = (y[box] - a[0]) * dy + (x[box] - a[1]) * dx
            across = (y[box] - a[0]) * dx - (x[box] - a[1]) * dy
            covered[box] |= (along >= 0) & (along <= length) & (np.abs(across) <= width / 2)
    coverage = covered.reshape(SIZE, fine, SIZE, fine).mean((1, 3))
    frame = 110 - DARKNESS * ndimage.gaussian_filter(coverage, blur)
    return frame + noise * np.random.default_rng(seed).normal(size=frame.shape)


def cell(centre=(SIZE / 2, SIZE / 2)):
    y, x = np.mgrid[:SIZE, :SIZE]
    return (np.hypot(y - centre[0], x - centre[1]) <= RADIUS).astype(np.int32)


def neuron(angle, length, *, width=2.0, curvature=0.0, noise=0.0, seed=0):
    """Frame, labels and the true chord of a soma with one neurite; the centre is drawn at random within a pixel."""
    centre = SIZE / 2 + np.random.default_rng(seed).uniform(-0.5, 0.5, 2)
    out = np.array([np.sin(angle), np.cos(angle)])
    line = arc(centre + RADIUS * out, angle, length, curvature)
    root = line[0] - 3 * (line[1] - line[0]) / np.hypot(*(line[1] - line[0]))
    labels = cell(centre)
    frame = np.where(labels > 0, 80, draw([np.vstack([root, line])], width=width, noise=noise, seed=seed))
    return frame, labels, np.arctan2(*(line[-1] - line[0]))


@pytest.fixture(scope="module")
def traced():
    """Many neurons with known neurites, and what was traced of them."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(96):
        case = {
            "length": rng.uniform(16, 42),
            "width": rng.choice([1.5, 2.0, 3.0, 4.0]),
            "curvature": rng.choice([0, 0, 1 / 60, -1 / 60]),
            "noise": rng.choice([1.0, 3.0, 6.0]),
        }
        frame, labels, truth = neuron(2 * np.pi * k / 96 + 0.02, seed=k, **case)
        for found in trace_neurites(frame, labels).to_dict("records"):
            rows.append(case | {"case": k, "truth": truth, "found": found["length"], "to": found["direction"]})
    table = pd.DataFrame(rows)
    table["error"] = table["found"] / table["length"] - 1
    table["turn"] = np.rad2deg(np.angle(np.exp(1j * (table["to"] - table["truth"]))))
    return table


def test_every_neurite_is_found_once(traced):
    assert traced["case"].nunique() >= 95
    assert len(traced) <= 98


@pytest.mark.parametrize("by", ["width", "curvature", "noise"])
def test_length_and_direction_hold_over_widths_curvature_and_noise(traced, by):
    for _, group in traced.groupby(by):
        assert abs(group["error"].mean()) < 0.02 and group["error"].abs().quantile(0.9) < 0.05
        assert abs(group["turn"].mean()) < 1.0 and group["turn"].abs().quantile(0.9) < 3.0


def test_directions_are_not_drawn_to_the_axes(traced):
    assert abs(np.cos(4 * traced["to"]).mean() - np.cos(4 * traced["truth"]).mean()) < 0.02


@pytest.mark.slow
def test_lengths_do_not_depend_on_the_angle_as_those_along_pixels_do():
    ours, along_pixels = [], []
    for angle in np.deg2rad([0, 15, 22.5, 30, 45]):
        frame, labels, _ = neuron(angle, 40, width=3.0)
        ours.append(trace_neurites(frame, labels)["length"].item())
        line = skeletonize((frame < 100) & (labels == 0))
        along_pixels.append(summarize(Skeleton(line), separator="-")["branch-distance"].max())
    assert np.ptp(ours) < 0.03 * np.mean(ours) < np.ptp(along_pixels)
    assert np.mean(ours) == pytest.approx(np.mean(along_pixels), rel=0.15)  # thinning shortens


def test_a_fork_is_one_neurite_with_a_branch_point():
    centre = np.array([SIZE / 2, SIZE / 2])
    stem = arc(centre + [0, RADIUS - 2], 0.0, 20, 0)
    twigs = [arc(stem[-1], angle, length, 0) for angle, length in ((0.6, 22), (-0.6, 16))]
    labels = cell(centre)
    frame = np.where(labels > 0, 80, draw([stem, *twigs], width=2.0, noise=1))
    (row,) = trace_neurites(frame, labels).to_dict("records")
    assert row["branch_points"] == 1
    assert row["length"] == pytest.approx(18 + 22, rel=0.05)
    assert row["total_length"] == pytest.approx(18 + 22 + 16, rel=0.08)
    assert row["direction"] == pytest.approx(np.arctan2(22 * np.sin(0.6), 18 + 22 * np.cos(0.6)), abs=np.deg2rad(3))


def test_a_neurite_that_leaves_the_frame_is_censored():
    labels = cell()
    frame = np.where(labels > 0, 80, draw([arc((SIZE / 2, SIZE / 2), 0.3, 90, 0)], width=2.0, noise=1))
    (row,) = trace_neurites(frame, labels).to_dict("records")
    assert row["censored"] and row["origin"] == "soma" and row["label"] == 1
    assert row["tip_x"] > SIZE - 4


def test_a_neurite_whose_soma_is_out_of_view_starts_at_the_border():
    frame = draw([arc((40.0, -10.0), 0.2, 50, 0)], width=2.0, noise=1)
    (row,) = trace_neurites(frame, np.zeros(frame.shape, int)).to_dict("records")
    assert row["origin"] == "border" and row["label"] == 0 and row["censored"]
    assert row["direction"] == pytest.approx(0.2, abs=np.deg2rad(3))


def test_a_neurite_that_crosses_the_frame_tells_neither_direction_nor_length():
    frame = draw([arc((50.0, -10.0), 0.2, 140, 0)], width=2.0, noise=1)
    neurites = trace_neurites(frame, np.zeros(frame.shape, int))
    assert neurites["origin"].tolist() == ["across"] and neurites["censored"].all()
    assert len(of_known_direction(neurites)) == len(of_known_length(neurites)) == 0


def test_directions_of_lines_out_of_view_have_no_preference():
    """Lines at random angles through random places: half of them point down, and none of those that are told does so
    because it was traced from the top."""
    rng, tables = np.random.default_rng(0), []
    for angle in rng.uniform(0, 2 * np.pi, 40):
        middle = rng.uniform(0.3 * SIZE, 0.7 * SIZE, 2)
        start = middle - 100 * np.array([np.sin(angle), np.cos(angle)])
        frame = draw([arc(start, angle, 100 + rng.uniform(-20, 60), 0)], width=2.0, noise=1)
        tables.append(of_known_direction(trace_neurites(frame, np.zeros(frame.shape, int))).assign(truth=angle))
    found = pd.concat(tables)
    assert len(found) > 15
    np.testing.assert_allclose(np.cos(found["direction"] - found["truth"]), 1, atol=0.01)


def test_lengths_are_those_of_neurites_seen_from_the_soma():
    """Of neurites with a median of 74 px in a frame of 112, those that enter it would make the median a third longer:
    the longer, the more of them do."""
    table = pd.DataFrame({"origin": ["soma", "border", "across", "none"], "length": [10.0, 90.0, 112.0, 20.0]})
    assert of_known_length(table)["length"].tolist() == [10.0]
    assert of_known_direction(table)["origin"].tolist() == ["soma", "border"]


def test_a_bridge_between_two_cells_is_one_neurite():
    centres = (np.array([56.0, 26.0]), np.array([56.0, 86.0]))
    labels = cell(centres[0]) + 2 * cell(centres[1])
    frame = np.where(labels > 0, 80, draw([arc(centres[0], 0.0, 60, 0)], width=2.0, noise=1))
    (row,) = trace_neurites(frame, labels).to_dict("records")
    assert {row["label"], row["connects"]} == {1, 2}
    assert row["length"] == pytest.approx(60 - 2 * RADIUS, rel=0.05)


def test_bright_neurites_are_found_when_asked_for():
    frame, labels, _ = neuron(0.5, 30, noise=1)
    dark, bright = trace_neurites(frame, labels), trace_neurites(220 - frame, labels, polarity="bright")
    assert np.allclose(dark["length"], bright["length"], rtol=1e-3)
    assert len(trace_neurites(220 - frame, labels)) == 0


def test_the_highest_number_of_its_type_is_a_label_like_others():
    labels = cell()
    frame = draw([], width=1, noise=2)
    last = np.where(labels > 0, 255, 0)
    pd.testing.assert_frame_equal(trace_neurites(frame, last.astype(np.uint8)), trace_neurites(frame, last))


def test_a_soma_without_neurites_has_none_and_keeps_its_columns():
    labels = cell()
    frame = np.where(labels > 0, 80, draw([], width=1, noise=2))
    for each in (labels, 0 * labels):
        table = trace_neurites(frame, each)
        assert len(table) == 0 and list(table) == list(COLUMNS)


def test_arms_are_taken_off_a_soma():
    labels = cell()
    body = labels.copy()
    labels[55:58, 56:100] = 1
    somata = find_somata(labels)
    assert somata[56, 90] == 0
    assert np.mean(somata != body) < 0.002


@pytest.mark.parametrize(
    ("shape", "options", "rule"), [((4, 5), {}, "alike"), ((SIZE, SIZE), {"polarity": "grey"}, "polarity")]
)
def test_wrong_input_is_refused(shape, options, rule):
    with pytest.raises(ValueError, match=rule):
        trace_neurites(np.zeros((SIZE, SIZE)), np.zeros(shape, int), **options)


def test_somata_are_decided_exactly():
    """Many distances are exactly half of an inscribed radius; rounding them would make somata vary."""
    labels, _ = ndimage.label(ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(400, 400)), 9) > 0.01)
    expected = np.zeros_like(labels)
    for label in range(1, labels.max() + 1):
        region = np.pad(labels, 1) == label
        squares = np.rint(ndimage.distance_transform_edt(region) ** 2).astype(int)
        to_core = np.rint(ndimage.distance_transform_edt(4 * squares < squares.max()) ** 2).astype(int)
        expected[(region & (4 * to_core < squares.max()))[1:-1, 1:-1]] = label
    np.testing.assert_array_equal(find_somata(labels, share=0.5), expected)
