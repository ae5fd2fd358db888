import numpy as np
import pytest

from cellvid_diffusers.evaluation.classifier import classifier_test
from cellvid_diffusers.evaluation.coverage import coverage


def normals(count, seed, dimensions=4):
    return np.random.default_rng(seed).normal(size=(count, dimensions))


def test_equal_distributions_are_covered():
    found = coverage(normals(300, 0), normals(300, 1))
    assert found["density"] == pytest.approx(1, abs=0.1)
    assert min(found["precision"], found["recall"], found["coverage"]) > 0.85


def test_a_dropped_mode_costs_recall_and_coverage_but_not_precision():
    real = normals(200, 0) + np.repeat([[0], [12]], 100, axis=0)
    found = coverage(real, normals(200, 1))
    assert found["precision"] > 0.8
    assert found["coverage"] < 0.6 and found["recall"] < 0.6


def test_noise_costs_precision():
    assert coverage(normals(200, 0), 6 * normals(200, 1))["precision"] < 0.3


def test_coverage_agrees_with_its_definition_item_by_item():
    real, synth, k = normals(30, 2), normals(25, 3), 3
    inside = np.zeros((30, 25), bool)
    for i, x in enumerate(real):
        radius = np.sort(np.linalg.norm(real - x, axis=1))[k]
        inside[i] = np.linalg.norm(synth - x, axis=1) <= radius
    found = coverage(real, synth, neighbours=k)
    assert found["precision"] == pytest.approx(inside.any(0).mean())
    assert found["density"] == pytest.approx(inside.sum() / (k * 25))
    assert found["coverage"] == pytest.approx(inside.any(1).mean())


NAMES = ["a", "b", "c", "d"]


def test_classifier_names_what_gives_the_fakes_away():
    synth = normals(80, 1)
    synth[:, 2] += 3
    found = classifier_test(normals(80, 0), synth, NAMES, real_groups=np.arange(80) // 8, synth_groups=np.arange(80))
    assert found["auc"] > 0.95
    assert found["giveaways"][0]["feature"] == "c" and found["giveaways"][0]["weight"] > 0


def test_recordings_are_not_mistaken_for_fakes():
    """Recordings that differ from each other, on both sides: a split by clip would recognise them."""
    rng = np.random.default_rng(0)
    sides = [(3 * rng.normal(size=(10, 4)))[np.arange(80) // 8] + normals(80, s) for s in (1, 2)]
    groups = np.arange(80) // 8
    grouped = [classifier_test(*sides, NAMES, real_groups=groups, synth_groups=groups, seed=s)["auc"] for s in range(8)]
    assert np.mean(grouped) < 0.75


def test_sides_that_never_overlap_are_always_told_however_unlike_the_folds():
    groups = np.repeat(["a", "b", "c"], [90, 6, 4])
    found = classifier_test(
        normals(100, 0), normals(100, 1) + 50, NAMES, real_groups=groups, synth_groups=np.arange(100)
    )
    assert found["auc"] == 1


def test_classifier_agrees_with_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    from cellvid_diffusers.evaluation.classifier import _fit

    x, y = np.concatenate([normals(60, 0), normals(60, 1) + 0.5]), np.repeat([0.0, 1.0], 60)
    theirs = linear_model.LogisticRegression(C=1.0, tol=1e-8).fit(x, y)
    np.testing.assert_allclose(_fit(x, y, np.ones(120), 1.0)[1:], theirs.coef_[0], atol=2e-3)
