"""Optical flow, ours and that of other libraries: speed, and how well the flow explains the frames.

Residual: mean difference of frames after warping by the flow, as a share of the difference before; 0 is perfect, 1
explains nothing.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyoptflow.hornschunck
import torch
from flow_peers import by_pairs, farneback, ilk, tv_l1
from flow_quality import residual
from scipy.signal import convolve2d
from timing import take_turns

from cellvid_diffusers import horn_schunck, simulate
from cellvid_diffusers.data import read_recording
from cellvid_diffusers.flow import dis_flow

PAPER = "ours, the paper's Horn-Schunck"
PYRAMID = "ours, coarse-to-fine Horn-Schunck"
PYOPTFLOW = "pyoptflow, Horn-Schunck"
RECORDING = Path(__file__).parents[2] / "shared" / "data" / "u373" / "u373_challenge01.tif"


def pyoptflow_paper(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """pyoptflow's iteration with the paper's derivatives and neighbourhood, which computes the same as ours."""
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], float)
    module = pyoptflow.hornschunck
    kept = module.HSKERN, module.computeDerivatives
    module.HSKERN = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]) / 4
    module.computeDerivatives = lambda a, b: (
        convolve2d(a, sobel, "same", "symm"),
        convolve2d(a, sobel.T, "same", "symm"),
        a - b,
    )
    try:
        return np.stack(module.HornSchunck(one, two, alpha=1.0, Niter=10))
    finally:
        module.HSKERN, module.computeDerivatives = kept


ESTIMATORS: dict[str, Callable[[np.ndarray], torch.Tensor]] = {
    PAPER: lambda video: horn_schunck(video, mode="paper"),
    PYOPTFLOW: by_pairs(lambda a, b: np.stack(pyoptflow.HornSchunck(a, b, alpha=1.0, Niter=10))),
    f"{PYOPTFLOW}, the paper's kernels": by_pairs(pyoptflow_paper),
    PYRAMID: horn_schunck,
    "scikit-image, TV-L1": tv_l1,
    "scikit-image, ILK": ilk,
    "OpenCV, DIS medium": dis_flow,
    "OpenCV, Farneback": farneback,
}


def measure(quick: bool, repeats: int) -> dict[str, Any]:
    """Time, residual and end-point error of each estimator on a simulated clip, and on a real one if available."""
    cv2.setNumThreads(1)
    size, frames = (64, 3) if quick else (128, 10)
    culture = simulate(num_frames=frames, size=size, seed=0)
    clips = {"simulated": np.asarray(culture.video)}
    if RECORDING.exists():
        clips["u373"] = liveliest(np.asarray(read_recording(RECORDING).frames[:frames]), size)
    truth = torch.from_numpy(np.asarray(culture.flow)).permute(3, 0, 1, 2)
    rows = take_turns(
        {name: lambda flow=flow: flow(clips["simulated"]) for name, flow in ESTIMATORS.items()},
        repeats=repeats,
        once_above=30,
    )
    for name, estimate in ESTIMATORS.items():
        rows[name]["pairs_per_second"] = (frames - 1) / rows[name]["seconds"]
        for clip, video in clips.items():
            rows[name][f"residual_{clip}"] = residual(video, estimate(video))
        error = estimate(clips["simulated"]) - truth
        rows[name]["end_point_error_px"] = float(error.square().sum(0).sqrt().mean())
    inner = (..., slice(12, -12), slice(12, -12))  # ten iterations spread the different border by ten pixels
    one = ESTIMATORS[PAPER](clips["simulated"])[inner]
    two = ESTIMATORS[f"{PYOPTFLOW}, the paper's kernels"](clips["simulated"])[inner]
    return {"rows": rows, "paper_against_pyoptflow": float((one - two).abs().max() / one.abs().max())}


def liveliest(video: np.ndarray, size: int) -> np.ndarray:
    """The patch of a recording that changes most."""
    changes = np.abs(np.diff(video.astype(np.float32), axis=0)).mean(0)
    corners = [(y, x) for y in range(0, video.shape[1] - size, 16) for x in range(0, video.shape[2] - size, 16)]
    y, x = max(corners, key=lambda corner: changes[corner[0] : corner[0] + size, corner[1] : corner[1] + size].mean())
    return np.ascontiguousarray(video[:, y : y + size, x : x + size])
