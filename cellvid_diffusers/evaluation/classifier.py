"""Classifier two-sample test: can a classifier tell synthetic clips from real ones, and by which features?

A ridge-penalised logistic regression on the standardised features, tested on groups (recordings, blocks) that it
was not trained on: clips of one recording resemble each other, and a classifier trained on some of them would
recognise the recording rather than the synthetic clips.

References
----------
D. Lopez-Paz, M. Oquab, Revisiting classifier two-sample tests (2017), https://arxiv.org/abs/1610.06545
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import rankdata


def classifier_test(
    real: np.ndarray,
    synth: np.ndarray,
    names: list[str],
    *,
    real_groups: np.ndarray,
    synth_groups: np.ndarray,
    folds: int = 5,
    penalty: float = 1.0,
    top: int = 8,
    seed: int = 0,
) -> dict:
    """Cross-validated ROC AUC of classifying clips as synthetic or real, and the features that decide it.

    Parameters
    ----------
    real, synth : (N, D) and (M, D)
        Standardised features; both sides have the same total weight, however many clips they have.
    names : list of D str
    real_groups, synth_groups : (N,) and (M,) labels
        No group is split between training and test.
    penalty : float
        Factor of half the squared weights, added to the mean log-loss times the number of clips.

    Returns
    -------
    dict
        ``auc``: 0.5 is chance, 1 is perfect (mean over the folds, weighted by their number of pairs of a real and a
        synthetic clip); ``folds``; ``giveaways``: ``feature``, ``weight`` (mean over the folds; positive if
        synthetic clips have higher values) and ``auc`` of that feature alone, for the `top` features.
    """
    x = np.clip(np.concatenate([real, synth]), -5, 5)
    y = np.repeat([0.0, 1.0], [len(real), len(synth)])
    fold = np.concatenate([_folds(g, folds, seed) for g in (real_groups, synth_groups)])
    balance = np.where(y == 1, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    weights, areas, pairs = [], [], []
    for k in np.unique(fold):
        test = fold == k
        if len(np.unique(y[~test])) < 2:
            continue
        w = _fit(x[~test], y[~test], balance[~test], penalty)
        weights.append(w[1:])
        if np.ptp(y[test]):  # scores of different folds are not on the same scale
            areas.append(_auc(x[test] @ w[1:], y[test]))
            pairs.append(np.sum(y[test] == 0) * np.sum(y[test] == 1))
    mean = np.mean(weights, 0)
    single = [_auc(column, y) for column in x.T]
    return {
        "auc": float(np.average(areas, weights=pairs)) if areas else float("nan"),
        "folds": len(weights),
        "giveaways": [
            {"feature": names[i], "weight": float(mean[i]), "auc": max(single[i], 1 - single[i])}
            for i in np.argsort(-np.abs(mean))[:top]
        ],
    }


def _folds(groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    names, index = np.unique(groups, return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(names)) % folds)[index]


def _fit(x: np.ndarray, y: np.ndarray, balance: np.ndarray, penalty: float) -> np.ndarray:
    """Weights (1 + D,), intercept first, of the ridge-penalised logistic regression."""

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = w[0] + x @ w[1:]
        error = balance * (expit(z) - y)
        value = balance @ (np.logaddexp(0, z) - y * z) + 0.5 * penalty * w[1:] @ w[1:]
        return value, np.append(error.sum(), x.T @ error + penalty * w[1:])

    return minimize(loss, np.zeros(1 + x.shape[1]), jac=True, method="L-BFGS-B").x


def _auc(score: np.ndarray, y: np.ndarray) -> float:
    positive = int(y.sum())
    ranks = rankdata(score)[y == 1].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * (len(y) - positive)))
