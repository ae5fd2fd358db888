"""Tracks follow known motion, end where the pattern leaves, and begin where it arrives."""

import numpy as np
import pytest
import tifffile
import torch
from textures import texture, translate

from cellvid_diffusers.flow import lucas_kanade


@pytest.mark.parametrize(("dx", "dy"), [(1.5, 0), (0, -2), (0.4, 0.7)])
def test_tracks_follow_a_shift(dx, dy):
    tracks = lucas_kanade(translate(texture(64, sigma=2.0), dx, dy, num_frames=5))
    assert tracks.shape[1:] == (5, 2)
    assert len(tracks) > 20
    steps = np.diff(tracks, axis=1)
    assert np.nanmedian(np.linalg.norm(steps - (dx, dy), axis=-1)) < 0.05


def test_lost_stays_lost_and_points_stay_inside():
    tracks = lucas_kanade(translate(texture(48, sigma=2.0), 4, 0, num_frames=6))
    lost = np.isnan(tracks[..., 0])
    assert lost.any() and not lost[:, 0].any()
    assert (np.diff(lost.astype(int), axis=1) >= 0).all()
    assert np.nanmin(tracks) >= 0 and np.nanmax(tracks) <= 47


def test_new_corners_are_found_on_request():
    video = translate(texture(48, sigma=2.0), 4, 0, num_frames=6)
    tracks = lucas_kanade(video, detect_every=2, max_tracks=60)
    born = np.isfinite(tracks[..., 0]).argmax(1)
    assert set(born) == {0, 2, 4}
    assert np.isfinite(tracks[..., 0]).sum(0).max() <= 60


def test_a_blank_clip_has_no_track():
    assert lucas_kanade(torch.zeros(3, 32, 32)).shape == (0, 3, 2)


def test_video_must_be_one_clip():
    with pytest.raises(ValueError, match=r"video must be \(F, H, W\)"):
        lucas_kanade(torch.rand(2, 3, 32, 32))


def test_floating_video_must_lie_in_the_unit_interval():
    with pytest.raises(ValueError, match=r"floating video must lie in \[0, 1\]"):
        lucas_kanade(255 * torch.rand(2, 32, 32))


@pytest.mark.parametrize(
    ("name", "value"),
    [("window", 1), ("num_levels", 0), ("min_distance", -1.0), ("detect_every", -1), ("max_tracks", 0)],
)
def test_options_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least .*, got {value}"):
        lucas_kanade(torch.rand(2, 32, 32), **{name: value})
    with pytest.raises(ValueError, match=r"quality must lie in \(0, 1\], got 0"):
        lucas_kanade(torch.rand(2, 32, 32), quality=0)


def test_real_cells_are_followed(shared_data):
    video = tifffile.imread(shared_data / "u373" / "u373_challenge01.tif", key=range(4))
    tracks = lucas_kanade(video)
    assert np.isfinite(tracks[:, 1, 0]).mean() > 0.3
