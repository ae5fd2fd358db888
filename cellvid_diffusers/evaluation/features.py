"""Handcrafted features of a clip, without a network: appearance and spectrum of its frames, and motion.

Each clip becomes one vector, so that a distance between two sets of vectors is a distance between two sets of
clips. There are three families because no single one detects everything: a frozen clip is perfectly real in
`appearance`, a blurred one in `motion`.  All intensities are in grey levels (0 to 255), all displacements in px, all
spatial frequencies in cycles/px. Quantities that span decades enter as logarithms with a floor at the level of the
8-bit quantisation noise, so that a perfectly still or flat clip is far away, but at a finite distance.
"""

from itertools import pairwise

import cv2
import numpy as np

from .motion import estimate_flow, warp_error

Features = dict[str, np.ndarray]

QUANTISATION = 1 / 12  # variance of rounding to whole grey levels
STILL = 0.02  # px/frame; below this, a displacement is not measurable


def as_grey_levels(clips: np.ndarray) -> np.ndarray:
    """Convert `(N, F, H, W)` clips, uint8 or floats in [0, 1], to float32 grey levels in [0, 255]."""
    clips = np.asarray(clips)
    if clips.ndim != 4:
        raise ValueError(f"clips must have shape (N, F, H, W), got {clips.shape}")
    if clips.shape[0] == 0:
        raise ValueError("there must be at least one clip, got none")
    if clips.dtype == np.uint8:
        return clips.astype(np.float32)
    if not np.isfinite(clips).all():
        bad = np.flatnonzero(~np.isfinite(clips).all((1, 2, 3)))
        raise ValueError(f"frames must be finite, got NaN or infinity in clips {bad[:5].tolist()}")
    if not np.issubdtype(clips.dtype, np.floating):
        raise ValueError(f"clips must be uint8, or floats in [0, 1], got {clips.dtype}")
    if clips.min() < -1e-3 or clips.max() > 1 + 1e-3:
        raise ValueError(f"float frames must lie in [0, 1], got [{clips.min():.4g}, {clips.max():.4g}]")
    return 255 * clips.astype(np.float32)


def appearance_features(clips: np.ndarray, *, num_frames: int = 4) -> Features:
    """Intensity, local contrast, a difference-of-Gaussians filter bank and gradient orientation.

    Parameters
    ----------
    clips : (N, F, H, W) float32
        Grey levels, 0 to 255.
    num_frames : int
        Frames per clip to describe, evenly spaced; their features are averaged.

    Returns
    -------
    dict of (N,) arrays
        Independent of the order of the described frames by construction.
    """
    chosen = np.unique(np.linspace(0, clips.shape[1] - 1, num_frames).round().astype(int))
    rows = [[_describe_frame(clip[k]) for k in chosen] for clip in clips]
    return {name: np.array([np.mean([frame[name] for frame in row]) for row in rows]) for name in rows[0][0]}


def _describe_frame(frame: np.ndarray) -> dict[str, float]:
    out = {f"intensity, {q} % quantile": v for q, v in _quantiles(frame, (1, 5, 25, 50, 75, 95, 99))}
    smooth = {s: _blur(frame, s) for s in (1, 2, 4, 8, 16)}
    out["finest detail"] = _log_rms(frame - smooth[1])
    for s in (1, 2, 4, 8):
        band = smooth[s] - smooth[2 * s]
        square = np.square(band)
        power = np.mean(square) + QUANTISATION
        out[f"contrast at {s} px"] = 0.5 * np.log(power)
        out[f"sparseness at {s} px"] = np.log((np.mean(np.square(square)) + QUANTISATION**2) / power**2)
        low, high = np.percentile(band, (1, 99))
        out[f"bright against dark at {s} px"] = (high + low) / np.sqrt(power)
    for s in (2, 4):
        spread = np.sqrt(np.maximum(_blur(np.square(frame), s) - np.square(smooth[s]), 0) + QUANTISATION)
        out |= {
            f"local contrast over {s} px, {q} % quantile": np.log(v) for q, v in _quantiles(spread, (10, 50, 90, 99))
        }
    gy, gx = np.gradient(smooth[1])
    strength = np.hypot(gx, gy)
    twice = (np.square(gx) - np.square(gy)) / np.maximum(np.square(strength), 1e-12)  # cosine of twice the angle
    out["gradient"] = np.log(strength.mean() + STILL)
    # The fourth harmonic measures a preference for the axes of the pixel grid, as in the paper's Figure 7.
    for k, cosine in ((2, twice), (4, 2 * np.square(twice) - 1)):
        out[f"edges along the grid, harmonic {k}"] = np.sum(strength * cosine) / (strength.sum() + 1)
    return out


def spectrum_features(clips: np.ndarray) -> Features:
    """Logarithm of the radial power spectrum of the frames, averaged over a clip.

    The total (without the lowest frequencies) is one feature; the bins are relative to it, so that an empty clip
    and a crowded one can have the same shape.  Two ratios compare the power along the axes of the pixel grid with
    that along the diagonals, to detect the checkerboard artefacts of up-sampling layers.

    Parameters
    ----------
    clips : (N, F, H, W) float32
        Grey levels, 0 to 255; H and W of at least 32.
    """
    n, _, h, w = clips.shape
    window = np.hanning(h + 2)[1:-1, None] * np.hanning(w + 2)[None, 1:-1]
    window /= np.sqrt(np.mean(window**2))
    fy, fx = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None]
    radius, axial = np.hypot(fy, fx), np.cos(4 * np.arctan2(fy, fx))
    edges = _ring_edges(min(h, w))
    filled = np.histogram(radius, edges)[0] > 0
    edges = edges[np.append(True, filled)]  # a ring that falls between two frequencies is merged with the next one
    ring = np.digitize(radius, edges) - 1
    out = np.empty((n, len(edges) + 2))
    for i, clip in enumerate(clips):
        spectrum = np.fft.rfft2((clip - clip.mean((1, 2), keepdims=True)) * window)
        power = np.mean(np.abs(spectrum) ** 2, 0) / (h * w) + QUANTISATION
        radial = np.log([power[ring == b].mean() for b in range(len(edges) - 1)])
        total = np.log(power[ring >= 0].mean())
        grid = [_axial_ratio(power, axial, (radius > lo) & (radius <= hi)) for lo, hi in ((0.1, 0.25), (0.25, 0.5))]
        out[i] = [total, *(radial - total), *grid]
    names = ["power"] + [f"power at {a:.2f}-{b:.2f} cycles/px" for a, b in pairwise(edges)]
    names += ["power along the grid, middle", "power along the grid, fine"]
    return dict(zip(names, out.T, strict=True))


def _ring_edges(size: int) -> np.ndarray:
    """Edges of the rings from 1/32 cycles/px: each a third, and at least one frequency step, above the one before; the
    last ring holds the corners of the spectrum."""
    edges = [1 / 32]
    while edges[-1] < 0.5:
        edges.append(min(0.5, max(1.32 * edges[-1], edges[-1] + 1 / size)))
    return np.array([*edges[:-1], 0.5, 0.75])


def _axial_ratio(power: np.ndarray, axial: np.ndarray, band: np.ndarray) -> float:
    return float(np.log(power[band & (axial > 0.5)].mean() / power[band & (axial < -0.5)].mean()))


def motion_features(clips: np.ndarray) -> Features:
    """Temporal differences, speed and steadiness of the flow, displacement, temporal spectrum.

    The flow is OpenCV's dense inverse search (`dis`), which should not be the flow that a model is trained on.  A
    frozen clip has no differences; in a shuffled one, flow is not steady and differences do not grow with the lag; one
    at half speed has half the flow.

    Parameters
    ----------
    clips : (N, F, H, W) float32
        Grey levels, 0 to 255; F of at least 4.
    """
    if clips.shape[1] < 4:
        raise ValueError(f"motion needs clips of at least 4 frames, got {clips.shape[1]}")
    rows = [_describe_motion(clip) for clip in clips]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _describe_motion(clip: np.ndarray) -> dict[str, float]:
    last = len(clip) - 1
    coarse = np.stack([_blur(frame, 2) for frame in clip])
    out = {"brightness flicker": _log_rms(np.diff(clip.mean((1, 2))))}
    for name, video in (("fine", clip), ("coarse", coarse)):
        step = {lag: _log_rms(video[lag:] - video[:-lag]) for lag in (1, 2, last // 2, last)}
        out[f"{name} change in a frame"] = step[1]
        out[f"{name} change against contrast"] = step[1] - 0.5 * np.log(video.var((1, 2)).mean() + QUANTISATION)
        out |= {f"{name} change, {lag} frames over one": step[lag] - step[1] for lag in (2, last // 2, last)}
    flow = estimate_flow(clip)
    speed = np.hypot(*np.moveaxis(flow, 1, 0))
    out |= {f"speed, {q} % quantile": np.log(v + STILL) for q, v in _quantiles(speed, (25, 50, 75, 90, 99))}
    energy = np.mean(flow**2) + STILL**2
    out["steadiness of flow"] = np.mean(flow[1:] * flow[:-1]) / energy
    out["steadiness of flow, two frames"] = np.mean(flow[2:] * flow[:-2]) / energy
    out["roughness of flow"] = 0.5 * np.log((np.mean(np.diff(flow, axis=3) ** 2) + STILL**2) / energy)
    residue = warp_error(clip, flow)
    out["residue after warping"] = _log_rms(residue[~np.isnan(residue)]) - _log_rms(np.diff(clip, axis=0))
    for name, lag in (("half the clip", last // 2), ("the clip", last)):
        far = np.hypot(*estimate_flow(clip[[0, lag]])[0])
        out |= {f"displacement over {name}, {q} % quantile": np.log(v + STILL) for q, v in _quantiles(far, (50, 90))}
    power = np.mean(np.abs(np.fft.rfft(coarse - coarse.mean(0), axis=0)[1:]) ** 2, (1, 2)) + QUANTISATION
    thirds = np.array_split(power, min(3, len(power)))
    out |= {
        f"temporal power, {('slow', 'middle', 'fast')[i]}": np.log(p.mean() / power.mean())
        for i, p in enumerate(thirds)
    }
    return out


def _blur(frame: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(frame, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)


def _log_rms(values: np.ndarray) -> float:
    return 0.5 * float(np.log(np.mean(np.square(values)) + QUANTISATION))


def _quantiles(values: np.ndarray, percents: tuple[int, ...]) -> list[tuple[int, float]]:
    return list(zip(percents, np.percentile(values, percents).tolist(), strict=True))


FAMILIES = {"appearance": appearance_features, "spectrum": spectrum_features, "motion": motion_features}


def clip_features(clips: np.ndarray) -> dict[str, Features]:
    """Compute all three families of features of `(N, F, H, W)` clips: uint8, or floats in [0, 1]."""
    clips = as_grey_levels(clips)
    if min(clips.shape[2:]) < 32:
        raise ValueError(f"clips must be at least 32 px high and wide, got {clips.shape[2]} x {clips.shape[3]}")
    return {family: describe(clips) for family, describe in FAMILIES.items()}
