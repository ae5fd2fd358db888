"""Each statistic against an implementation that shares no code with it."""

import numpy as np
import pytest
from scipy import stats

from cellvid_diffusers.evaluation.statistics import (
    benjamini_hochberg,
    cluster_weights,
    holm,
    kaplan_meier,
    kuiper,
    log_rank,
    median_length,
    tost,
    watson_u2,
)
from cellvid_diffusers.evaluation.statistics.permutation import _difference


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("n, m, shift", [(8, 11, 0.1), (40, 25, 0.6), (200, 150, 0.0)])
def test_tost_agrees_with_statsmodels(rng, n, m, shift):
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    a, b = rng.normal(0, 1, n), rng.normal(shift, 1.7, m)
    assert tost(a, b, margin=0.5) == pytest.approx(weightstats.ttost_ind(b, a, -0.5, 0.5, usevar="unequal")[0])


@pytest.mark.parametrize("ours, theirs", [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])
def test_adjusted_p_agree_with_statsmodels(rng, ours, theirs):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.append(rng.uniform(size=20) ** 3, [0.01, 0.01, 1.0])
    np.testing.assert_allclose(ours(p), multitest.multipletests(p, method=theirs)[1], rtol=1e-12)


@pytest.mark.parametrize("count", range(2, 61))
def test_median_of_whole_lengths_is_where_half_are_over(count):
    """Half of 1 ... n are no longer than n / 2, or the middle one; their survival is a product of n / 2 shares."""
    assert median_length(np.arange(count) + 1.0, np.zeros(count, bool)) == -(-count // 2)


@pytest.mark.parametrize("decimals", [6, 0])
def test_survival_agrees_with_statsmodels(rng, decimals):
    survfunc = pytest.importorskip("statsmodels.duration.survfunc")
    lengths = np.round(rng.gamma(2, 15, 120), decimals) + 1
    censored, group = rng.uniform(size=120) < 0.3, rng.uniform(size=120) < 0.4
    theirs, ours = survfunc.SurvfuncRight(lengths, ~censored), kaplan_meier(lengths, censored)
    np.testing.assert_allclose(ours["length"], theirs.surv_times)
    np.testing.assert_allclose(ours["survival"], theirs.surv_prob, atol=1e-12)
    np.testing.assert_allclose(ours["error"][:-1], theirs.surv_prob_se[:-1], atol=1e-12)
    chi2, p = survfunc.survdiff(lengths, ~censored, group)
    np.testing.assert_allclose(log_rank(lengths, censored, group), (chi2, p), rtol=1e-10)


@pytest.mark.parametrize("n, m, kappa", [(30, 40, 0.0), (80, 60, 0.8)])
def test_kuiper_agrees_with_astropy(rng, n, m, kappa):
    astropy_stats = pytest.importorskip("astropy.stats")
    a, b = rng.vonmises(0, kappa, n) % (2 * np.pi), rng.vonmises(1, kappa, m) % (2 * np.pi)
    v, p = kuiper(a, b)
    expected_v, expected_p = astropy_stats.kuiper_two(a, b)
    assert v == pytest.approx(expected_v, rel=1e-12)
    assert p == pytest.approx(expected_p, rel=1e-9)


@pytest.mark.parametrize("n, m, kappa", [(30, 40, 0.0), (80, 60, 0.8)])
def test_watson_agrees_with_pycircstat(rng, n, m, kappa):
    hypothesis = pytest.importorskip("pycircstat2.hypothesis")
    a, b = rng.vonmises(0, kappa, n) % (2 * np.pi), rng.vonmises(1, kappa, m) % (2 * np.pi)
    u2, p = watson_u2(a, b)
    theirs = hypothesis.watson_u2_test([np.sort(a), np.sort(b)])  # it takes sorted samples
    assert u2 == pytest.approx(theirs.U2, rel=1e-10)
    assert p == pytest.approx(theirs.pval, abs=1e-3 + 2 * np.exp(-8 * np.pi**2 * u2))  # theirs keeps one term


def test_welch_agrees_with_scipy(rng):
    values, called = rng.normal(size=20), np.arange(20) < 7
    difference, variance = _difference(values, called[None])
    t = difference[0] / np.sqrt(variance[0])
    expected = stats.ttest_ind(values[called], values[~called], equal_var=False).statistic
    assert t == pytest.approx(expected, rel=1e-10)


def test_bootstrap_without_clusters_is_the_ordinary_one(rng):
    values = rng.normal(size=400)
    weights = cluster_weights([np.arange(400)], repeats=3000)
    spread = (weights @ values / weights.sum(1)).std()
    assert spread == pytest.approx(values.std() / np.sqrt(400), rel=0.05)


def test_the_same_directions_have_no_p_below_one(rng):
    a = rng.uniform(0, 2 * np.pi, 30)
    assert watson_u2(a, a) == (pytest.approx(0, abs=1e-12), 1)
