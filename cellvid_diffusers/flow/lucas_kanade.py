"""Sparse tracks: corners followed by pyramidal Lucas-Kanade with a forward-backward check."""

import cv2
import numpy as np
import torch

from .video import as_eight_bit, as_tensor, check_video

__all__ = ["lucas_kanade"]


def lucas_kanade(
    video: torch.Tensor | np.ndarray,
    *,
    max_tracks: int = 200,
    detect_every: int | None = None,
    quality: float = 0.02,
    min_distance: float = 5.0,
    window: int = 15,
    num_levels: int = 3,
    max_return_error: float = 0.5,
) -> np.ndarray:
    """Follow corners through a clip.

    A corner is lost when it leaves the frame, or when tracking it back to the previous frame misses its position there
    by more than `max_return_error`. A lost corner is not resumed.

    Parameters
    ----------
    video : torch.Tensor or numpy.ndarray, shape (F, H, W)
        Grey frames, uint8 (0 to 255) or floating (0 to 1; rounded to 8 bits). At least two frames.
    max_tracks : int
        Maximum number of corners followed at a time, the strongest first.
    detect_every : int, optional
        Detect new corners, away from those followed, every `detect_every` frames; by default only in the first frame.
    quality : float
        Weakest corner as a fraction of the strongest (Shi and Tomasi's smallest eigenvalue).
    min_distance : float
        Minimum distance between new corners, and from those followed, in pixels.
    window : int
        Side of the matching window, in pixels.
    num_levels : int
        Levels of the image pyramid.
    max_return_error : float
        Forward-backward error in pixels above which a corner is lost.

    Returns
    -------
    numpy.ndarray, shape (N, F, 2)
        float32 positions (x to the right, y down) in pixels, with pixel centres at whole numbers; NaN before a corner
        is detected and from the frame in which it is lost.

    Raises
    ------
    ValueError
        If the video does not have three axes, or `horn_schunck` would reject it, as it does floating grey levels up to
        255; or if an option is out of range.

    References
    ----------
    Pyramidal implementation of the Lucas Kanade feature tracker (Bouguet, 2001);
    Forward-backward error (Kalal, Mikolajczyk, Matas, 2010), https://doi.org/10.1109/ICPR.2010.675
    """
    video = as_tensor(video)
    if video.ndim != 3:
        raise ValueError(f"video must be (F, H, W), got shape {tuple(video.shape)}")
    check_video(video)
    for name, value, least in (
        ("max_tracks", max_tracks, 1),
        ("detect_every", detect_every, 1),
        ("window", window, 3),
        ("num_levels", num_levels, 1),
        ("min_distance", min_distance, 0),
        ("max_return_error", max_return_error, 0),
    ):
        if value is not None and not value >= least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if not 0 < quality <= 1:
        raise ValueError(f"quality must lie in (0, 1], got {quality}")
    frames = as_eight_bit(video).round().clamp(0, 255).to(torch.uint8).numpy(force=True)
    options = {"winSize": (window, window), "maxLevel": num_levels - 1}

    tracks = np.empty((0, len(frames), 2), np.float32)
    for k, frame in enumerate(frames):
        followed = np.flatnonzero(~np.isnan(tracks[:, k, 0]))
        if k == 0 or (detect_every and k % detect_every == 0):
            corners = _new_corners(frame, tracks[followed, k], max_tracks, quality, min_distance)
            born = np.full((len(corners), len(frames), 2), np.nan, np.float32)
            born[:, k] = corners
            followed = np.concatenate([followed, len(tracks) + np.arange(len(corners))])
            tracks = np.concatenate([tracks, born])
        if k + 1 < len(frames) and len(followed):
            start = tracks[followed, k][:, None]
            there, seen, _ = cv2.calcOpticalFlowPyrLK(frame, frames[k + 1], start, None, **options)
            back, returned, _ = cv2.calcOpticalFlowPyrLK(frames[k + 1], frame, there, None, **options)
            error = np.linalg.norm(back - start, axis=-1)[:, 0]
            inside = ((there >= 0) & (there <= (frame.shape[1] - 1, frame.shape[0] - 1))).all(-1)[:, 0]
            kept = (seen & returned)[:, 0].astype(bool) & inside & (error <= max_return_error)
            tracks[followed[kept], k + 1] = there[kept, 0]
    return tracks


def _new_corners(
    frame: np.ndarray, taken: np.ndarray, max_tracks: int, quality: float, min_distance: float
) -> np.ndarray:
    """Corners `(M, 2)` of a frame at least `min_distance` from the points `taken`, `max_tracks` in all with these."""
    missing = max_tracks - len(taken)
    if missing <= 0:
        return np.empty((0, 2), np.float32)
    free = np.full(frame.shape, 255, np.uint8)
    for x, y in taken.round().astype(int):
        cv2.circle(free, (int(x), int(y)), round(min_distance), 0, -1)
    corners = cv2.goodFeaturesToTrack(frame, missing, quality, min_distance, mask=free)
    return np.empty((0, 2), np.float32) if corners is None else corners[:, 0]
