import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cellvid_diffusers.evaluation.memorisation import COPY, FINE, nearest_training_clips, search_copies, transform


@pytest.fixture(scope="module")
def train(make_clips):
    return make_clips(20, 0).astype(np.float32)


@pytest.mark.parametrize("turns, flip", [(0, False), (1, False), (2, True), (3, True)])
def test_a_turned_copy_is_found_with_its_orientation(train, turns, flip):
    copies = np.stack([transform(clip, -90 * turns, False) for clip in train])
    copies = copies[..., ::-1] if flip else copies  # undone by mirroring first, then turning
    for i, match in enumerate(nearest_training_clips(copies, train)):
        assert match.train == i
        assert match.similarity > 0.99
        assert (match.angle, match.flip, match.shift) == (90 * turns, flip, (0, 0))


@pytest.mark.parametrize("angle, flip", [(10, False), (45, True), (208, False)])
def test_a_copy_cut_out_at_any_angle_is_found(train, angle, flip):
    turned = np.stack([transform(clip, -angle, False) for clip in train])[..., 4:-4, 4:-4]
    copies = turned[..., ::-1] if flip else turned
    matches = nearest_training_clips(copies, train)
    found = [m for i, m in enumerate(matches) if m.train == i and m.similarity > COPY]
    assert len(found) >= 0.9 * len(train)
    assert np.mean([m.flip == flip and abs(m.angle - angle) <= FINE for m in found]) >= 0.9


@pytest.mark.parametrize("unit", [1 / 65535, 257])
def test_copies_are_found_in_any_unit(train, unit):
    copies = [
        match.similarity for match in nearest_training_clips(train[:3] * np.float32(unit), train * np.float32(unit))
    ]
    assert min(copies) > 0.99


def test_shift_offset_brightness_noise_and_blur_do_not_hide_a_copy(train):
    rng = np.random.default_rng(0)
    shifted = np.roll(train, (3, -4), axis=(2, 3))
    later = train[:, [3, 4, 5, 6, 7, 8, 9, 9, 9, 9]]
    spoilt = 0.7 * train + 20 + rng.normal(0, 4, train.shape)
    blurred = gaussian_filter(train, (0, 0, 1, 1))
    for copies in (later, spoilt, blurred):
        matches = nearest_training_clips(copies, train)
        assert [m.train for m in matches] == list(range(20))
        assert min(m.similarity for m in matches) > COPY
    found = nearest_training_clips(shifted, train)
    assert np.mean([m.shift == (-3, 4) for m in found]) >= 0.9
    assert nearest_training_clips(later, train)[0].offset == 3


def test_copies_are_told_from_newcomers(train, make_clips):
    fresh, synth = make_clips(12, 1).astype(np.float32), np.concatenate([train[:6], make_clips(6, 2)])
    summary, pairs = search_copies(fresh, synth.astype(np.float32), train, np.arange(12))
    assert summary["copy_share"] == 0.5
    assert summary["copy_share_real"] == 0
    assert summary["control"] == 1
    assert {i for i, _ in pairs[:6]} == set(range(6))


def test_without_a_training_set_real_clips_are_not_held_against_their_own_recording(train):
    doubled = np.concatenate([train, train])
    summary, _ = search_copies(doubled, train, None, np.tile(np.arange(20), 2))
    assert summary["copy_share"] == 1
    assert summary["copy_share_real"] == 0


def test_copies_cut_from_any_place_and_time_of_larger_clips_are_found(make_clips):
    train = make_clips(10, 4, frames=25, size=80).astype(np.float32)
    places = np.random.default_rng(0).integers((16, 33, 33), size=(10, 3, 3))
    crops = [clip[t : t + 10, y : y + 48, x : x + 48] for clip, at in zip(train, places, strict=True) for t, y, x in at]
    matches = nearest_training_clips(np.stack(crops), train)
    assert np.mean([m.similarity > COPY and m.train == i // 3 for i, m in enumerate(matches)]) >= 0.9


def test_copies_within_longer_clips_are_found(train, make_clips):
    longer = make_clips(3, 6, frames=30).astype(np.float32)
    for clip, copied, start in zip(longer, train, (0, 7, 20), strict=False):
        clip[start : start + 10] = copied
    matches = nearest_training_clips(longer, train)
    assert [(m.train, m.offset) for m in matches] == [(0, 0), (1, -7), (2, -20)]
    assert min(m.similarity for m in matches) > 0.99


def test_copies_are_found_in_training_clips_of_any_length(make_clips):
    train = [*make_clips(6, 8).astype(np.float32), *make_clips(3, 9, frames=30).astype(np.float32)]
    copies = np.stack([train[2], train[7][18:28]])
    matches = nearest_training_clips(copies, train)
    assert [(m.train, m.offset) for m in matches] == [(2, 0), (7, 18)]
    assert min(m.similarity for m in matches) > 0.99
    assert search_copies(copies, copies, train, np.arange(2))[0]["control"] == 1


def test_planted_copies_of_frames_that_are_not_square_can_be_found(make_clips):
    train = make_clips(12, 7)[..., :40].astype(np.float32)
    assert search_copies(train[:2], train[:2], train, np.arange(2))[0]["control"] == 1


def test_a_few_frames_alike_are_no_copy(train, make_clips):
    fresh = make_clips(20, 5).astype(np.float32)
    half = np.concatenate([train[:, 5:], fresh[:, 5:]], 1)  # as if a training clip were left after five frames
    matches = nearest_training_clips(half, train)
    assert all(-3 <= m.offset <= 3 for m in matches)
    assert max(m.similarity for m in matches) < COPY


def test_a_training_clip_may_be_longer_and_larger(train):
    match = nearest_training_clips(train[:2, 2:8, 8:40, 4:36], train)[1]
    assert (match.train, match.offset) == (1, 2)
    assert match.shift == (8, 4)
