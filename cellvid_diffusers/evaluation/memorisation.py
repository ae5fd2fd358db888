"""Search for copies of training clips among synthetic clips.

Each clip is compared with every training clip, mirrored or not, at every angle (training rotates its clips by any),
at all shifts up to an eighth of the frame, and at all offsets in time that leave `OVERLAP` of the frames.  A coarse
search comes first: the central part of the middle frame against every window of every training frame, both
band-passed, blurred and reduced to 16 px; normalised correlation is a matrix product.  One frame at 16 px resembles
many others, so the best match in each of many training frames is aligned at full resolution and compared over all
frames that overlap, and the best few of these in finer steps of angle.  The similarity is that correlation: 1 for a
copy, whatever its brightness and contrast.

The threshold of a copy is fixed (`COPY`), and held-out real clips, which cannot be copies, go through the same
search: cells of one kind resemble each other, and only similarity beyond that indicates memorisation.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

COPY = 0.85
"""Correlation of the aligned band-passed clips at which, or above, a pair counts as a copy."""

OVERLAP = 2 / 3
"""Share of the shorter clip's frames that must overlap. Training clips are cut from within the stored ones, so a copy
lies in one of them from its first frame to its last, whereas a few frames of one cell resemble many others."""

STEP = 6
"""Degrees between the orientations of the coarse search. A copy that is three degrees off still has a correlation of
0.8, and one that is off by half of `FINE`, the largest error after alignment, 0.97."""

FINE = 1.5
"""Degrees between the orientations in which a candidate is aligned."""

ORIENTATIONS = [(angle, flip) for flip in (False, True) for angle in range(0, 360, STEP)]


@dataclass
class Match:
    """The training clip nearest to a clip.

    ``similarity`` is the correlation over the overlap, ``train`` the index of the training clip.  Mirror the clip
    left to right if ``flip``, then rotate it by ``angle`` degrees counter-clockwise: its frame k, moved by ``shift``
    (y, x) px, lies on frame k + ``offset`` of the training clip.
    """

    similarity: float
    train: int
    angle: float
    flip: bool
    shift: tuple[int, int]
    offset: int


def transform(clip: np.ndarray, angle: float, flip: bool) -> np.ndarray:
    """Mirror a clip `(F, H, W)` left to right if `flip`, then rotate it by `angle` degrees counter-clockwise about its
    centre. Pixels from outside are filled by reflection; right angles need no interpolation."""
    clip = clip[:, :, ::-1] if flip else clip
    if angle % 90 == 0:
        return np.rot90(clip, round(angle / 90), axes=(1, 2))
    height, width = clip.shape[1:]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1)
    options = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REFLECT_101}
    return np.stack([cv2.warpAffine(np.ascontiguousarray(f), matrix, (width, height), **options) for f in clip])


def nearest_training_clips(
    clips: np.ndarray, train: Sequence[np.ndarray], *, exclude: np.ndarray | None = None, candidates: int = 96
) -> list[Match]:
    """Find the nearest training clip of each clip.

    Parameters
    ----------
    clips : (N, F, H, W) float32
        In any intensity unit. If frames are not square, only rotations by 0 and 180 degrees are tried.
    train : M of (F', H', W') float32
        At least as high and wide as the clips; lengths may differ.
    exclude : (N, M) bool, optional
        Pairs not to compare, such as a clip with itself or with others of its own recording.
    candidates : int
        Number of training frames from the coarse search that are aligned at full resolution, an eighth of them also
        in finer steps of angle. If training clips differ in length, each length gets a number in proportion to its
        share of all frames.
    """
    found, frames = [], sum(map(len, train))
    for length in sorted({len(each) for each in train}):
        here = [k for k, each in enumerate(train) if len(each) == length]
        pairs = None if exclude is None else exclude[:, here]
        tried = max(candidates // 8, round(candidates * length * len(here) / frames))
        matches = _nearest_of_one_length(clips, np.stack([train[k] for k in here]), pairs, tried)
        found.append([replace(match, train=here[match.train]) for match in matches])
    return [max(each, key=lambda match: match.similarity) for each in zip(*found, strict=True)]


def _nearest_of_one_length(
    clips: np.ndarray, train: np.ndarray, exclude: np.ndarray | None, candidates: int
) -> list[Match]:
    """`nearest_training_clips` among training clips of one length."""
    if any(t < c for t, c in zip(train.shape[2:], clips.shape[2:], strict=True)):
        raise ValueError(f"training clips must be as large as the clips, got {train.shape[2:]} for {clips.shape[2:]}")
    if clips.shape[1] > train.shape[1]:
        return _nearest_of_pieces(clips, train, exclude, candidates)
    unit = float(train.std()) or 1.0  # the constants below that prevent division by zero assume grey levels
    scale = max(1, round(min(clips.shape[2:]) / 16))
    wide = min(clips.shape[2:]) / 10
    sharp, sharp_train = (_band_pass(side, wide, 40 / unit) for side in (clips, train))
    square = clips.shape[2] == clips.shape[3]
    orientations = [o for o in ORIENTATIONS if square or o[0] % 180 == 0]
    places = _coarse(sharp, sharp_train, orientations, scale, exclude, candidates)
    turns = np.arange(-STEP, STEP + FINE / 2, FINE) if square else np.zeros(1)  # a wrong shift can pass for an angle
    matches = []
    for clip, found in zip(sharp, places, strict=True):
        near = _aligned(clip, sharp_train, found, scale)[: max(1, candidates // 8)]
        best = _aligned(clip, sharp_train, near, scale, turns, (-1, 0, 1))
        matches.append(best[0] if best else Match(0.0, 0, 0, False, (0, 0), 0))
    return matches


def _nearest_of_pieces(
    clips: np.ndarray, train: np.ndarray, exclude: np.ndarray | None, candidates: int
) -> list[Match]:
    """Find the training clip nearest to any piece of each clip; pieces are as long as the training clips."""
    length = train.shape[1]
    starts = {*range(0, clips.shape[1] - length, max(1, length // 3)), clips.shape[1] - length}
    found = []
    for start in sorted(starts):
        piece = clips[:, start : start + length]
        matches = _nearest_of_one_length(piece, train, exclude, candidates)
        found.append([replace(match, offset=match.offset - start) for match in matches])
    return [max(each, key=lambda match: match.similarity) for each in zip(*found, strict=True)]


def _aligned(
    clip: np.ndarray,
    train: np.ndarray,
    places: list[Match],
    scale: int,
    turns: Iterable[float] = (0,),
    delays: Iterable[int] = (0,),
) -> list[Match]:
    """Align each place at the best shift around it, with each of some further `turns` (degrees) and `delays` (frames);
    the most similar first."""
    near = [
        replace(place, angle=float((place.angle + turn) % 360), offset=place.offset + delay)
        for place in places
        for turn in turns
        for delay in delays
    ]
    turned = {orientation: transform(clip, *orientation) for orientation in {(m.angle, m.flip) for m in near}}
    offsets = _offsets(len(clip), train.shape[1])
    found = []
    for match in near:
        if match.offset in offsets:
            view, oblique = turned[match.angle, match.flip], match.angle % 90 != 0
            similarity, shift = _align(view, train[match.train], match.offset, match.shift, scale, oblique)
            found.append(replace(match, similarity=similarity, shift=shift))
    return sorted(found, key=lambda match: -match.similarity)


def _offsets(length: int, train_length: int) -> range:
    """The offsets in time at which the clip's middle frame and enough others overlap the training clip."""
    common, middle = math.ceil(OVERLAP * min(length, train_length)), length // 2
    return range(max(common - length, -middle), min(train_length - common, train_length - 1 - middle) + 1)


def _band_pass(clips: np.ndarray, wide: float, factor: float) -> np.ndarray:
    """Band-pass between 1 px and `wide`, times `factor`: removes noise and shading, which all recordings share."""
    out = np.empty(clips.shape, np.float32)
    for index in np.ndindex(clips.shape[:2]):
        frame = np.ascontiguousarray(clips[index], dtype=np.float32)
        out[index] = factor * (cv2.GaussianBlur(frame, (0, 0), 1) - cv2.GaussianBlur(frame, (0, 0), wide))
    return out


def _coarse(
    clips: np.ndarray,
    train: np.ndarray,
    orientations: list[tuple[int, bool]],
    scale: int,
    exclude: np.ndarray | None,
    candidates: int,
) -> list[list[Match]]:
    """For each clip, find the training frames that best match the central part of its middle frame in any orientation,
    and the position to a coarse pixel; at most `candidates`, the best first."""
    middle = clips.shape[1] // 2
    h, w = (side // scale for side in clips.shape[2:])
    margin = max(2, round(min(h, w) / 8))
    turned = (_shrink(transform(clips[:, middle], *o), scale) for o in orientations)
    keys = np.stack([each[:, margin : h - margin, margin : w - margin] for each in turned])
    offsets = _offsets(clips.shape[1], train.shape[1])
    frames = train[:, middle + offsets.start : middle + offsets.stop]
    found = (_best_windows(keys, _shrink(each, scale)) for each in frames)
    values, windows = (np.stack(each, 1) for each in zip(*found, strict=True))
    if exclude is not None:
        values[exclude] = -np.inf
    matches: list[list[Match]] = []
    for value, window in zip(values.reshape(len(clips), -1), windows.reshape(len(clips), -1, 3), strict=True):
        order = [int(k) for k in np.argsort(-value)[:candidates] if np.isfinite(value[k])]
        matches.append([])
        for k in order:
            (index, t), (o, y, x) = divmod(k, len(offsets)), window[k].tolist()
            shift, (angle, flip) = ((y - margin) * scale, (x - margin) * scale), orientations[o]
            matches[-1].append(Match(float(value[k]), index, angle, flip, shift, offsets[t]))
    return matches


def _best_windows(keys: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the window of each of `frames` (T, H, W) that best matches N images in any orientation, `keys` (O, N, h, w).

    Returns the correlations (N, T), and orientation and corner (y, x) of the windows (N, T, 3).
    """
    number, n = keys.shape[:2]
    views = np.lib.stride_tricks.sliding_window_view(frames, keys.shape[2:], (1, 2))
    keys = _normalise(keys.reshape(number * n, -1)).reshape(number, n, -1)
    count, rows, columns = views.shape[:3]
    windows = _normalise(views.reshape(count * rows * columns, -1)).T
    best, where = np.full((n, count), -np.inf, np.float32), np.zeros((n, count, 3), int)
    together = max(1, 1000 // n)  # orientations at once: enough for a fast product, few enough to fit in memory
    for first in range(0, number, together):
        some = keys[first : first + together]
        values = (some.reshape(-1, some.shape[2]) @ windows).reshape(*some.shape[:2], count, rows * columns)
        top = values.argmax(3)
        values = np.take_along_axis(values, top[..., None], 3)[..., 0]
        o = values.argmax(0)
        value, at = (np.take_along_axis(each, o[None], 0)[0] for each in (values, top))
        better = value > best
        best = np.where(better, value, best)
        here = np.stack([first + o, at // columns, at % columns], 2)
        where = np.where(better[..., None], here, where)
    return best, where


def _shrink(frames: np.ndarray, scale: int) -> np.ndarray:
    """Reduce frames `(F, H, W)` by `scale`, blurred so that an error of half a step in shift or angle costs little."""
    height, width = (side // scale for side in frames.shape[1:])
    whole = np.ascontiguousarray(frames[:, : height * scale, : width * scale])
    blurred = (cv2.GaussianBlur(f, (0, 0), 0.75 * scale) for f in whole)
    return np.stack([cv2.resize(f, (width, height), interpolation=cv2.INTER_AREA) for f in blurred])


def _normalise(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(1, keepdims=True)
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6 * np.sqrt(rows.shape[1]))


def _align(
    clip: np.ndarray, train: np.ndarray, offset: int, shift: tuple[int, int], scale: int, oblique: bool
) -> tuple[float, tuple[int, int]]:
    """Correlation over the common frames and pixels at the best shift within a coarse pixel of `shift`.

    The shift is estimated on the central part of the middle frame. An `oblique` clip, whose corners were filled from
    outside, is compared within the circle inscribed in its frame.
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
    train: Sequence[np.ndarray] | None,
    real_groups: np.ndarray,
    *,
    closest: int = 8,
    seed: int = 0,
) -> tuple[dict, list[tuple[int, Match]]]:
    """Search for copies among synthetic clips, among held-out real ones, and among planted copies.

    Parameters
    ----------
    real, synth : (N, F, H, W) and (M, F, H, W) float32
        Grey levels.
    train : K of (F', H', W') float32, or None
        None: `real` is used instead, and each real clip is compared with those of other groups.
    real_groups : (N,) labels
    closest : int
        Number of synthetic clips to return, those with the highest similarity.

    Returns
    -------
    summary : dict
        ``copy_share``, ``copy_share_real``; ``similarity`` and ``similarity_real``, lists; ``training_given``;
        ``control``: the share of up to 20 planted copies (`_planted_copies`) that were recognised.
    pairs : list of (index of synthetic clip, Match)
    """
    known = list(real if train is None else train)
    exclude = None if train is not None else real_groups[:, None] == real_groups[None]
    ours = nearest_training_clips(synth, known)
    theirs = nearest_training_clips(real, known, exclude=exclude)
    planted = _planted_copies(known, synth.shape[1:], np.random.default_rng(seed))
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


def _planted_copies(train: Sequence[np.ndarray], size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Make copies of `size` (F, H, W) from up to 20 training clips, with a random first frame, mirrored or not, and new
    noise: every other one is cut at a random place and rotated by right angles; the rest, if square, are rotated by a
    random angle and cut from the centre."""
    square = size[1] == size[2]  # others are searched for at 0 and 180 degrees only
    usual = np.median([len(each) for each in train])
    long = [k for k, each in enumerate(train) if len(each) >= usual]
    length = min(size[0], *(len(train[k]) for k in long))
    copies = []
    for k, index in enumerate(rng.permutation(long)[:20]):
        places = [have - want for have, want in zip(train[index].shape, (length, *size[1:]), strict=True)]
        t, y, x = (int(rng.integers(max(0, place) + 1)) for place in places)
        clip, mirrored = train[index][t : t + length], bool(rng.integers(2))
        if k % 2 and square:
            y, x = (place // 2 for place in places[1:])
            clip = transform(clip, rng.uniform(0, 360), mirrored)[:, y : y + size[1], x : x + size[2]]
        else:
            angle = 90 * int(rng.integers(4)) if square else 180 * int(rng.integers(2))
            clip = transform(clip[:, y : y + size[1], x : x + size[2]], angle, mirrored)
        copies.append(clip)
    planted = np.stack(copies)
    return planted + rng.normal(0, 0.1 * planted.std((2, 3)).mean(), planted.shape).astype(np.float32)


def copy_share(matches: list[Match]) -> float:
    """Share of clips that count as a copy of their nearest training clip."""
    return float(np.mean([match.similarity >= COPY for match in matches]))
