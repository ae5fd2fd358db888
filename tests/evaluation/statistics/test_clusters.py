"""Cells of one video are alike: what the statistics make of it."""

import numpy as np
import pytest
from scipy import stats

from cellvid_diffusers.evaluation.statistics import (
    cardinal_index,
    cluster_weights,
    directional_harmonics,
    effect_size,
    permutation_test,
    rotation_test,
    w1_over_floor,
)
from cellvid_diffusers.evaluation.statistics.permutation import least_p


def cells(rng, videos=12, per_video=20, shift=0.0, between=1.0):
    video = np.repeat(np.arange(videos), per_video)
    return shift + between * rng.normal(size=videos)[video] + rng.normal(size=len(video)), video


@pytest.mark.parametrize("more", [0, 1])
def test_the_least_p_is_that_of_sides_wide_apart(more):
    a, b = np.arange(5) * 0.01, 5 + np.arange(5 + more) * 0.01
    p = permutation_test(a, b, np.arange(5), np.arange(5 + more), repeats=50_000)
    assert least_p([(a, b, 1.0)]) == pytest.approx(p, rel=0.2)


def test_whole_videos_hold_their_level_where_cells_do_not():
    rng = np.random.default_rng(1)
    by_cell, by_video = [], []
    for trial in range(200):
        (a, va), (b, vb) = cells(rng), cells(rng)
        by_cell.append(stats.ttest_ind(a, b).pvalue < 0.05)
        by_video.append(permutation_test(a, b, va, vb, repeats=200, seed=trial) < 0.05)
    assert np.mean(by_cell) > 0.3
    assert np.mean(by_video) <= 0.09  # 5 % within three standard errors of 200 trials


def test_permutation_sees_a_shift():
    (a, va), (b, vb) = cells(np.random.default_rng(2), shift=0), cells(np.random.default_rng(3), shift=3)
    assert permutation_test(a, b, va, vb) < 0.01


def test_units_that_all_agree_tell_nothing():
    """Twelve units of the same four values in another order each: their means differ by rounding alone."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.permutation([0.1, 0.2, 0.3, 0.7]) for _ in range(24)])
    units = np.repeat(np.arange(12), 4)
    assert permutation_test(values[:48], values[48:], units, units) == 1


def test_too_few_videos_have_no_p():
    (a, va), (b, vb) = cells(np.random.default_rng(2), videos=4), cells(np.random.default_rng(3))
    assert permutation_test(a, b, va, vb) is None


def test_bootstrap_widens_with_the_likeness_within_videos():
    rng = np.random.default_rng(4)
    values, video = cells(rng, videos=40)
    naive, nested = (
        (w @ values / w.sum(1)).std() for w in (cluster_weights(c) for c in ([np.arange(len(video))], [video]))
    )
    expected = np.sqrt(1 / 40 + 2 / len(values))  # videos, then cells within them, drawn anew
    assert nested == pytest.approx(expected, rel=0.3)
    assert nested > 2 * naive


def test_interval_of_the_effect_covers():
    rng, inside = np.random.default_rng(5), 0
    for trial in range(100):
        (a, va), (b, vb) = cells(rng, shift=0), cells(rng, shift=1)
        low, high = effect_size(a, b, [va], [vb], repeats=200, seed=trial)["interval"]
        inside += low < 1 / np.sqrt(2) < high
    assert inside >= 85


def test_w1_is_at_its_floor_without_and_beyond_it_with_a_difference():
    rng = np.random.default_rng(6)
    real, video = cells(rng, between=0)
    splits = [((video % 2 == k).astype(float), (video % 2 != k).astype(float)) for k in (0, 1)]
    same, shifted = (w1_over_floor(real, cells(rng, between=0, shift=s)[0], splits) for s in (0, 2))
    assert same["w1_ratio"] < 3
    assert shifted["w1_ratio"] > 5 and shifted["beyond_floor"] == 1
    assert shifted["w1"] == pytest.approx(2, abs=0.4)


def test_cardinal_index_and_its_rotation():
    rng, video = np.random.default_rng(7), np.repeat(np.arange(30), 10)
    uniform = rng.uniform(0, 2 * np.pi, 300)
    skewed = rng.integers(0, 4, 300) * np.pi / 2 + rng.normal(0, 0.2, 300)
    assert cardinal_index(skewed + np.pi / 4) == pytest.approx(-cardinal_index(skewed))
    assert abs(directional_harmonics(skewed)[4]) > 0.6 > 0.2 > abs(directional_harmonics(skewed)[1])
    assert rotation_test(skewed, video)[1] < 0.001
    assert rotation_test(uniform, video)[1] > 0.05


def test_without_halves_there_is_no_floor():
    found = w1_over_floor(np.zeros(4), np.ones(3), [(np.ones(4), np.zeros(4))])
    assert found["w1"] == 1 and np.isnan(found["w1_ratio"]) and found["beyond_floor"] == 0


def test_w1_of_few_synthetic_values_is_held_against_as_few_real_ones():
    rng = np.random.default_rng(0)
    real, half = rng.normal(size=2000), np.arange(2000) % 2 == 0
    found = [w1_over_floor(real, rng.normal(size=30), [(half * 1.0, ~half * 1.0)] * 5, seed=k) for k in range(12)]
    assert 0.8 < np.mean([each["w1_ratio"] for each in found]) < 1.25
    assert 0.3 < np.mean([each["beyond_floor"] for each in found]) < 0.7
