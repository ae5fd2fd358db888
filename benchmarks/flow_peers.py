"""Dense flow of other libraries in our format: uint8 frames `(F, H, W)` -> `(2, F - 1, H, W)`, u and v in px."""

import itertools
from collections.abc import Callable

import cv2
import numpy as np
import torch
from skimage.registration import optical_flow_ilk, optical_flow_tvl1

Pair = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Estimator for a pair of frames `(H, W)`: u and v, `(2, H, W)`."""


def by_pairs(estimate: Pair) -> Callable[[np.ndarray], torch.Tensor]:
    """Apply an estimator to a video, pair by pair."""

    def flow(video: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.stack([estimate(a, b) for a, b in itertools.pairwise(video)], axis=1)).float()

    return flow


@by_pairs
def farneback(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """OpenCV's polynomial expansion."""
    return cv2.calcOpticalFlowFarneback(one, two, None, 0.5, 3, 15, 3, 5, 1.2, 0).transpose(2, 0, 1)


@by_pairs
def tv_l1(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """scikit-image's total variation."""
    return optical_flow_tvl1(one / 255, two / 255, dtype=np.float64)[::-1]


@by_pairs
def ilk(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """scikit-image's dense Lucas-Kanade."""
    return optical_flow_ilk(one / 255, two / 255, dtype=np.float64)[::-1]
