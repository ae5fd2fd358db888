"""Is a synthetic clip a training clip in disguise?

Each clip is compared with every training clip, mirrored or not, at every angle (training turns its clips by
any), all shifts up to an eighth of the frame, and all offsets in time.  First a coarse search: the middle frame,
cut to its inner part, against every window of every training frame, both band-passed, blurred and reduced to 16 px;
normalised correlation is one matrix product. Then the best few are aligned at full resolution and compared over
all frames that overlap.  The similarity is that correlation: 1 for a copy, whatever its brightness and contrast.

What counts as a copy is fixed (`COPY`), and held-out real clips, which cannot be copies, go through the
same search: cells of one kind resemble each other, and only what goes beyond that is memory.
"""

from dataclasses import dataclass

import cv2
import numpy as np

COPY = 0.85
"""Correlation of the aligned band-passed clips from which on a pair counts as a copy."""

STEP = 6
"""Degrees between the orientations of the coarse search. A copy that is three degrees off still correlates at 0.8, and
one that is half of `FINE` off, as it is when aligned, at 0.97."""

FINE = 1.5
"""Degrees between the orientations in which a candidate is aligned."""

ORIENTATIONS = [(angle, flip) for flip in (False, True) for angle in range(0, 360, STEP)]


@dataclass
class Match:
    """The training clip nearest to a clip.

    ``similarity`` is the correlation over the overlap, ``train`` the index of the training clip; turn the
    clip by ``angle`` degrees counter-clockwise, after mirroring it left to right if ``flip``, and its frame k,
    moved by ``shift`` (y, x) px, lies on the training clip's frame k + ``offset``.
    """

    similarity: float
    train: int
    angle: float
    flip: bool
    shift: tuple[int, int]
    offset: int


def transform(clip: np.ndarray, angle: float, flip: bool) -> np.ndarray:
    """A clip `(F, H, W)`, mirrored left to right if `flip`, then turned by `angle` degrees counter-clockwise about its
    centre; what comes in from outside is its reflection. Right angles move whole pixels."""
    clip = clip[:, :, ::-1] if flip else clip
    if angle % 90 == 0:
        return np.rot90(clip, round(angle / 90), axes=(1, 2))
    height, width = clip.shape[1:]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1)
    options = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REFLECT_101}
    return np.stack([cv2.warpAffine(np.ascontiguousarray(f), matrix, (width, height), **options) for f in clip])


def nearest_training_clips(
    clips: np.ndarray, train: np.ndarray, *, exclude: np.ndarray | None = None, candidates: int = 6
) -> list[Match]:
    """The nearest training clip of each clip.

    Parameters
    ----------
    clips : (N, F, H, W) float32
        Any intensity unit; square frames, or only upright and half-turned orientations are tried.
    train : (M, F', H', W') float32
        May be longer and larger than the clips.
    exclude : (N, M) bool, optional
        Pairs not to compare, such as a clip with itself or with others of its own recording.
    candidates : int
        How many of the coarse search are aligned at full resolution.
    """
    if any(t < c for t, c in zip(train.shape[2:], clips.shape[2:], strict=True)):
        raise ValueError(f"training clips must be as large as the clips, got {train.shape[2:]} for {clips.shape[2:]}")
    unit = float(train.std()) or 1.0  # what is added below against division by zero is meant for grey levels
    clips, train = (side * np.float32(40 / unit) for side in (clips, train))
    scale = max(1, round(min(clips.shape[2:]) / 16))
    wide = min(clips.shape[2:]) / 10
    sharp, sharp_train = _band_pass(clips, wide), _band_pass(train, wide)
    middle = clips.shape[1] // 2
    square = clips.shape[2] == clips.shape[3]
    orientations = [o for o in ORIENTATIONS if square or o[0] % 180 == 0]
    scores, places = _coarse(sharp[:, middle], sharp_train, orientations, scale, exclude, candidates)
    matches = []
    for clip, row, place in zip(sharp, scores, places, strict=True):
        found = []
        for score, (m, t, o, dy, dx) in zip(row, place, strict=True):
            if np.isfinite(score):
                about, mirrored = orientations[o]
                for angle in _angles_about(about, square=square):
                    turned = transform(clip, angle, mirrored)
                    similarity, shift = _align(turned, sharp_train[m], t - middle, (dy, dx), scale, angle % 90 != 0)
                    found.append(Match(similarity, int(m), angle, mirrored, shift, int(t - middle)))
        matches.append(max(found, key=lambda match: match.similarity, default=Match(0.0, 0, 0, False, (0, 0), 0)))
    return matches


def _angles_about(angle: float, *, square: bool) -> list[float]:
    """The angles, in degrees, in which a candidate of the coarse search is aligned."""
    steps = int(STEP / FINE / 2) if square else 0
    return [(angle + k * FINE) % 360 for k in range(-steps, steps + 1)]


def _band_pass(clips: np.ndarray, wide: float) -> np.ndarray:
    """Detail between 1 px and a tenth of the frame: no noise, no shading, which all recordings share."""
    flat = clips.reshape(-1, *clips.shape[2:]).astype(np.float32)
    out = [cv2.GaussianBlur(f, (0, 0), 1) - cv2.GaussianBlur(f, (0, 0), wide) for f in flat]
    return np.stack(out).reshape(clips.shape)


def _coarse(frames, train, orientations, scale, exclude, candidates):
    """Best windows of the training frames for the inner part of each frame, in every orientation.

    Returns scores (N, candidates) and places (N, candidates, 5): training clip, frame, orientation, shift
    y and x in full-resolution px; at most one place for each training clip.
    """
    n, m = len(frames), len(train)
    h, w = (side // scale for side in frames.shape[1:])
    margin = max(2, round(min(h, w) / 8))
    turned = (_shrink(transform(frames, *o), scale) for o in orientations)
    inner = np.stack([each[:, margin : h - margin, margin : w - margin] for each in turned])
    keys = _normalise(inner.reshape(len(orientations) * n, -1))
    best, place = np.full((n, m), -np.inf, np.float32), np.zeros((n, m, 5), int)
    for j, clip in enumerate(train):
        windows = np.lib.stride_tricks.sliding_window_view(_shrink(clip, scale), inner.shape[2:], axis=(1, 2))
        count, steps = windows.shape[0], windows.shape[1:3]
        values = keys @ _normalise(windows.reshape(count * steps[0] * steps[1], -1)).T
        values = values.reshape(len(orientations), n, -1).transpose(1, 0, 2).reshape(n, -1)
        top = values.argmax(1)
        best[:, j] = values[np.arange(n), top]
        o, t, y, x = np.unravel_index(top, (len(orientations), count, *steps))
        place[:, j] = np.stack([np.full(n, j), t, o, (y - margin) * scale, (x - margin) * scale], 1)
    if exclude is not None:
        best[exclude] = -np.inf
    order = np.argsort(best, 1)[:, ::-1][:, :candidates]
    return np.take_along_axis(best, order, 1), np.take_along_axis(place, order[..., None], 1)


def _shrink(frames: np.ndarray, scale: int) -> np.ndarray:
    """Frames `(F, H, W)` at whole pixels of `scale`, so blurred that half a step of shift or angle costs little."""
    height, width = (side // scale for side in frames.shape[1:])
    whole = np.ascontiguousarray(frames[:, : height * scale, : width * scale])
    blurred = (cv2.GaussianBlur(f, (0, 0), 0.75 * scale) for f in whole)
    return np.stack([cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA) for f in blurred])


def _normalise(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(1, keepdims=True)
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6 * np.sqrt(rows.shape[1]))


def _align(clip, train, offset, shift, scale, oblique) -> tuple[float, tuple[int, int]]:
    """Correlation over the common frames and pixels at the best shift within a coarse pixel of `shift`.

    The shift is found on the inner part of the middle frame. An `oblique` clip, whose corners came from outside, is
    compared within the circle that its frame holds.
    """
    middle = len(clip) // 2
    h, w = clip.shape[1:]
    edge = min(h, w) // 8
    pad = edge + 2 * scale
    inner = np.ascontiguousarray(clip[middle, edge : h - edge, edge : w - edge])
    around = np.pad(train[middle + offset], pad)
    y, x = (pad + s + edge - scale for s in shift)
    field = around[y : y + inner.shape[0] + 2 * scale, x : x + inner.shape[1] + 2 * scale]
    found = cv2.matchTemplate(np.ascontiguousarray(field), inner, cv2.TM_CCORR_NORMED)
    dy, dx = np.unravel_index(found.argmax(), found.shape)
    y, x = int(shift[0] + dy - scale), int(shift[1] + dx - scale)
    first, last = max(0, -offset), min(len(clip), len(train) - offset)
    ours, theirs = clip[first:last], train[first + offset : last + offset]
    height, width = theirs.shape[1:]
    common = slice(max(0, -y), min(h, height - y)), slice(max(0, -x), min(w, width - x))
    a = np.ascontiguousarray(ours[(slice(None), *common)])
    b = np.ascontiguousarray(theirs[:, max(0, y) : min(height, y + h), max(0, x) : min(width, x + w)])
    if oblique:
        across, down = np.arange(w) - (w - 1) / 2, np.arange(h) - (h - 1) / 2
        disc = (down[:, None] ** 2 + across**2 <= (min(h, w) / 2) ** 2)[common]
        a, b = a * disc, b * disc
    power = np.sqrt(float(np.vdot(a, a)) * float(np.vdot(b, b)))
    return float(np.vdot(a, b)) / (power + 1e-6 * a.size), (y, x)


def search_copies(
    real: np.ndarray,
    synth: np.ndarray,
    train: np.ndarray | None,
    real_groups: np.ndarray,
    *,
    closest: int = 8,
    seed: int = 0,
) -> tuple[dict, list[tuple[int, Match]]]:
    """The search for copies among synthetic clips, among held-out real ones, and among planted copies.

    Parameters
    ----------
    real, synth : (N, F, H, W) and (M, F, H, W) float32
        Grey levels.
    train : (K, F', H', W') float32 or None
        None: `real` takes its place, and each real clip is held against those of other groups.
    real_groups : (N,) labels
    closest : int
        Synthetic clips to return, those with the highest similarity.

    Returns
    -------
    summary : dict
        ``copy_share``, ``copy_share_real``; ``similarity`` and ``similarity_real``, lists; ``control``:
        the share recognised of up to 20 training clips that were flipped, turned by any angle, cut to the size of the
        synthetic ones where they are larger, and given new noise.
    pairs : list of (index of synthetic clip, Match)
    """
    known = real if train is None else train
    exclude = None if train is not None else real_groups[:, None] == real_groups[None]
    ours = nearest_training_clips(synth, known)
    theirs = nearest_training_clips(real, known, exclude=exclude)
    rng = np.random.default_rng(seed)
    planted = known[rng.permutation(len(known))[:20], : synth.shape[1]]
    turned = [transform(c, rng.uniform(0, 360), bool(rng.integers(2))) for c in planted]
    planted = np.stack([_middle(c, synth.shape[2:]) for c in turned])
    planted = planted + rng.normal(0, 0.1 * planted.std((2, 3)).mean(), planted.shape).astype(np.float32)
    summary = {
        "copy_share": copy_share(ours),
        "copy_share_real": copy_share(theirs),
        "similarity": [m.similarity for m in ours],
        "similarity_real": [m.similarity for m in theirs],
        "training_given": train is not None,
        "control": copy_share(nearest_training_clips(planted, known)),
    }
    order = np.argsort([-m.similarity for m in ours])[:closest]
    return summary, [(int(i), ours[i]) for i in order]


def _middle(clip: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The middle of a clip `(F, H, W)`."""
    y, x = ((have - want) // 2 for have, want in zip(clip.shape[1:], size, strict=True))
    return clip[:, y : y + size[0], x : x + size[1]]


def copy_share(matches: list[Match]) -> float:
    """Share of clips whose nearest training clip is a copy."""
    return float(np.mean([match.similarity >= COPY for match in matches]))
