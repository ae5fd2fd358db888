import numpy as np
import pytest
from scipy.special import ellipe
from skimage.measure import perimeter_crofton, regionprops

from cellvid_diffusers.evaluation.cells import COLUMNS, measure_cells, measure_shape, perimeter


def ellipse(a, b, angle, *, centre=(0.0, 0.0)):
    reach = int(a) + 5
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1] - np.array(centre)[:, None, None]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (along / a) ** 2 + (across / b) ** 2 <= 1


@pytest.mark.parametrize(
    ("labels", "video", "message"),
    [
        (np.ones((1, 20, 20), bool), np.zeros((1, 20, 20)), "labels must be integers"),
        (np.ones((1, 20, 20), int), np.zeros((1, 30, 30)), r"labels must be integers of shape \(1, 30, 30\)"),
        (np.ones((1, 20, 20), int), np.zeros((1, 20, 20), np.uint16), "video must be .* got uint16"),
    ],
)
def test_what_does_not_fit_is_refused(labels, video, message):
    with pytest.raises(ValueError, match=message):
        measure_cells(labels, video)


@pytest.mark.parametrize("angle", np.deg2rad([0, 10, 22.5, 37, 45, 60, 90]))
@pytest.mark.parametrize(("a", "b"), [(6, 6), (12, 12), (25, 25), (12, 6), (20, 8), (30, 10)])
def test_area_and_perimeter_of_ellipses(a, b, angle):
    shifts = np.random.default_rng(0).uniform(-0.5, 0.5, (8, 2))
    shapes = [measure_shape(ellipse(a, b, angle, centre=shift)) for shift in shifts]
    assert np.mean([s["area"] for s in shapes]) == pytest.approx(np.pi * a * b, rel=0.03)
    assert [s["perimeter"] for s in shapes] == pytest.approx([4 * a * ellipe(1 - (b / a) ** 2)] * 8, rel=0.03)


def test_the_perimeter_does_not_depend_on_the_angle_as_that_of_crofton_does():
    masks = [ellipse(20, 7, angle) for angle in np.linspace(0, np.pi, 24)]
    ours, theirs = ([measure(mask) for mask in masks] for measure in (perimeter, lambda m: perimeter_crofton(m, 4)))
    assert np.std(ours) / np.mean(ours) < 0.01
    assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=0.02)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_thin_arms_and_second_parts_have_an_outline(width):
    disc = np.zeros((80, 160), bool)
    disc[25:56, 25:56] = ellipse(10, 10, 0)
    armed, double = disc.copy(), disc | np.roll(disc, 70, axis=1)
    armed[40 : 40 + width, 40:105] = True
    assert perimeter(armed) == pytest.approx(perimeter(disc) + 2 * 55, rel=0.06)
    assert perimeter(double) == pytest.approx(2 * perimeter(disc))
    assert measure_shape(armed)["circularity"] < 0.3


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2, 2.5])
def test_shape_agrees_with_scikit_image(angle):
    mask = ellipse(18, 7, angle)
    ours, theirs = measure_shape(mask), regionprops(mask.astype(int))[0]
    # scikit-image counts pixels as points, here they are squares
    assert ours["eccentricity"] == pytest.approx(theirs.eccentricity, abs=1e-3)
    assert ours["elongation"] == pytest.approx(theirs.axis_major_length / theirs.axis_minor_length, rel=5e-3)
    assert (ours["y"], ours["x"]) == pytest.approx(theirs.centroid)
    assert ours["solidity"] == pytest.approx(theirs.solidity, abs=0.04)
    assert np.cos(2 * (ours["orientation"] - angle)) > 0.999


def test_a_cell_is_measured_where_it_lies():
    labels = np.zeros((2, 64, 64), np.int32)
    labels[0, 10:20, 30:50] = 7
    labels[1, 0:8, 5:15] = 2
    table = measure_cells(labels, np.full(labels.shape, 0.4), pixel_size_um=0.5)
    assert table[["frame", "label", "area"]].values.tolist() == [[0, 7, 200], [1, 2, 80]]
    assert table["y"].tolist() == [14.5, 3.5] and table["x"].tolist() == [39.5, 9.5]
    assert table["touches_border"].tolist() == [False, True]
    assert table["area_um2"].tolist() == [50, 20]
    assert np.allclose(table["perimeter_um"], table["perimeter"] / 2)


def test_round_and_bright_cells_count_as_dead():
    y, x = np.mgrid[:96, :96]
    video = np.full((1, 96, 96), 0.4, np.float32)
    labels = np.zeros((1, 96, 96), np.int32)
    for number, (cy, cx, grey, stretch) in enumerate([(24, 24, 0.9, 1), (24, 70, 0.3, 1), (70, 48, 0.9, 4)], start=1):
        inside = np.hypot(y - cy, (x - cx) / stretch) < 7
        labels[0][inside] = number
        video[0][inside] = grey
    video += 0.02 * np.random.default_rng(0).normal(size=video.shape)
    assert measure_cells(labels, video)["kind"].tolist() == ["dead", "living", "living"]


def test_no_cells_leave_a_table_with_all_columns():
    table = measure_cells(np.zeros((3, 32, 32), int), np.zeros((3, 32, 32), np.uint8), pixel_size_um=1.0)
    assert len(table) == 0
    assert list(table) == [*COLUMNS, "area_um2", "perimeter_um"]


def test_no_cell_is_larger_than_its_hull():
    square = np.zeros((12, 12), bool)
    square[4:8, 4:8] = True
    assert measure_shape(square)["solidity"] == pytest.approx(1)
