import numpy as np
import pandas as pd
import pytest

from cellvid_diffusers.evaluation.cells import measure_cells
from cellvid_diffusers.evaluation.events import count_events
from cellvid_diffusers.evaluation.tracks import (
    link_cells,
    localisation_variance,
    mean_squared_displacement,
    measure_tracks,
    msd_exponent,
)


def discs(paths, *, size=64, radius=5):
    """Labels `(F, H, W)` of discs on paths `(N, F, 2)`; NaN where a disc is missing; numbers are shuffled."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((len(paths[0]), size, size), np.int32)
    for frame in range(len(labels)):
        for number, k in enumerate(rng.permutation(len(paths)), start=1):
            cy, cx = paths[k][frame]
            labels[frame][np.hypot(y - cy, x - cx) <= radius] = number
    return labels


def straight(start, step, frames=8):
    return np.asarray(start) + np.arange(frames)[:, None] * np.asarray(step, float)


def test_cells_keep_their_label_while_they_move():
    paths = [straight((20, 12), (0, 4)), straight((36, 50), (0, -4)), straight((52, 10), (1, 5))]
    tracked, tracks = link_cells(discs(paths))
    assert len(tracks) == 3 and (tracks["num_frames"] == 8).all()
    assert set(tracks["started"]) == {"first_frame"} and set(tracks["ended"]) == {"last_frame"}
    for path in paths:
        names = [tracked[frame][tuple(np.rint(place).astype(int))] for frame, place in enumerate(path)]
        assert len(set(names)) == 1 and names[0] > 0


def test_steps_without_overlap_are_linked_by_distance():
    for step, count in ((9.5, 2), (14, 8)):
        paths = [straight((20, 8), (0, step), 4), straight((50, 55), (0, -step), 4)]
        assert len(link_cells(discs(paths, radius=4))[1]) == count


@pytest.mark.parametrize("max_gap", [1, 2])
def test_missed_frames_are_bridged_and_a_longer_gap_is_not(max_gap):
    path = straight((30, 30), (0, 1), 9)
    for missed, count in ((max_gap, 1), (max_gap + 1, 2)):
        gappy = path.copy()
        gappy[4 : 4 + missed] = np.nan
        _, tracks = link_cells(discs([gappy]), max_gap=max_gap)
        assert len(tracks) == count


@pytest.mark.parametrize("step", [4, 5, 7])
def test_a_cell_that_vanished_does_not_take_over_one_that_comes_to_its_place(step):
    gone, walker = np.full((7, 2), np.nan), straight((30, 10), (0, step), 7)
    gone[0] = 30, 10 + 2.5 * step
    tracks = link_cells(discs([gone, walker], radius=4))[1]
    assert sorted(tracks["num_frames"]) == [1, 7]


def test_merges_splits_appearances_and_disappearances_are_counted():
    a, b = straight((20, 20), (0, 0), 10), straight((20, 34), (0, 0), 10)
    labels = discs([a, b], radius=6)
    labels[5:][:, 14:27, 14:41] = 1  # both cells within one outline
    counts = count_events(link_cells(labels)[1]).iloc[0]
    assert (counts["merges"], counts["disappearances"]) == (1, 0)
    counts = count_events(link_cells(labels[::-1])[1]).iloc[0]
    assert (counts["splits"], counts["appearances"]) == (1, 0)
    late = a.copy()
    late[:3] = late[8:] = np.nan
    counts = count_events(link_cells(discs([late, straight((50, 50), (0, 0), 10)]))[1]).iloc[0]
    assert (counts["appearances"], counts["disappearances"], counts["cell_frames"]) == (1, 1, 15)


@pytest.mark.parametrize("frames", [1, 2])
def test_touching_cells_that_share_an_outline_for_moments_neither_merge_nor_split(frames):
    a, b = straight((20, 20), (0, 0), 10), straight((20, 34), (0, 0), 10)
    labels = discs([a, b], radius=6)
    labels[5 : 5 + frames, 14:27, 14:41] = 1
    tracked = link_cells(labels)[0]
    assert [tracked[9][20, 20], tracked[9][20, 34]] == [tracked[0][20, 20], tracked[0][20, 34]]
    counts = count_events(link_cells(labels)[1]).iloc[0]
    assert not counts[["appearances", "disappearances", "merges", "splits"]].any()


@pytest.mark.parametrize(("frames", "parted"), [(1, 0), (2, 0), (3, 1)])
def test_a_piece_that_goes_back_after_a_moment_was_never_a_cell(frames, parted):
    labels = np.zeros((9, 64, 64), np.int32)
    labels[:, 20:40, 20:50] = 1
    labels[3 : 3 + frames, 20:40, 42:50] = 2
    tracked, tracks = link_cells(labels, max_gap=2)
    events = count_events(tracks).iloc[0]
    assert len(tracks) == 1 + parted and events["splits"] == events["merges"] == parted
    assert (tracked[:, 30, 30] == 1).all()
    assert (tracked[3 : 3 + frames, 30, 45] == 1 + parted).all()


@pytest.mark.parametrize(("frames", "parted"), [(1, 0), (2, 0), (3, 1)])
def test_a_piece_seen_for_a_moment_where_a_clip_begins_or_ends_is_no_cell(frames, parted):
    labels = np.zeros((9, 64, 64), np.int32)
    labels[:, 20:40, 20:50] = 1
    labels[:frames, 20:40, 42:50] = 2
    for clip, kind in ((labels, "merges"), (labels[::-1], "splits")):
        tracks = link_cells(clip, max_gap=2)[1]
        assert len(tracks) == 1 + parted and count_events(tracks)[kind].item() == parted


def test_coming_in_and_leaving_at_the_border_is_no_event():
    path = straight((30, -20), (0, 10), 11)
    _, tracks = link_cells(discs([path]))
    assert tracks[["started", "ended"]].values.tolist() == [["border", "border"]]
    assert not count_events(tracks)[["appearances", "disappearances", "merges", "splits"]].any(axis=None)


def test_no_cells_give_empty_tables():
    tracked, tracks = link_cells(np.zeros((4, 32, 32), int))
    assert not tracked.any() and len(tracks) == 0
    cells = measure_cells(tracked, np.zeros((4, 32, 32), np.uint8))
    table = measure_tracks(cells, tracks)
    assert len(table) == 0 and {"kind", "displacement_1", "msd_exponent"} <= set(table)
    assert count_events(tracks).iloc[0]["cell_frames"] == 0


@pytest.mark.parametrize("motion", ["still", "straight", "random"])
@pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0])
def test_localisation_variance_is_told_from_motion(motion, sigma):
    rng = np.random.default_rng(1)
    steps = {"still": 0.0, "straight": rng.normal(size=(400, 1, 2)), "random": rng.normal(size=(400, 10, 2))}[motion]
    paths = np.cumsum(np.broadcast_to(steps, (400, 10, 2)), axis=1)
    noisy = paths + sigma * rng.normal(size=paths.shape)
    noise = localisation_variance(list(noisy))
    assert noise == pytest.approx(sigma**2, abs=0.06)
    moved = np.mean([mean_squared_displacement(path, 4, noise=noise) for path in noisy])
    true = np.mean([mean_squared_displacement(path, 4) for path in paths])
    assert moved == pytest.approx(true, rel=0.06, abs=0.3)


def test_the_exponent_tells_a_walk_from_a_run_and_needs_thirty_frames():
    rng = np.random.default_rng(2)
    walks = np.cumsum(rng.normal(size=(200, 60, 2)), axis=1)
    assert np.mean([msd_exponent(walk) for walk in walks]) == pytest.approx(1, abs=0.1)
    assert msd_exponent(straight((0, 0), (1, 2), 60)) == pytest.approx(2)
    assert np.isnan(msd_exponent(straight((0, 0), (1, 2), 29)))
    assert np.isnan(msd_exponent(np.zeros((40, 2))))


def test_displacements_of_moving_discs():
    labels = discs([straight((20, 10), (0, 3)), straight((45, 30), (0, 0))])
    tracked, tracks = link_cells(labels)
    table = measure_tracks(measure_cells(tracked, np.zeros(labels.shape, np.uint8)), tracks).sort_values(
        "displacement_1"
    )
    assert table["displacement_1"].tolist() == pytest.approx([0, 3], abs=0.05)
    assert table["displacement_4"].tolist() == pytest.approx([0, 12], abs=0.05)
    assert table["displacement_8"].isna().all()


def test_labels_that_are_no_video_are_refused():
    with pytest.raises(ValueError, match="labels must be integers"):
        link_cells(np.zeros((4, 32, 32)))


def test_one_perfect_link_and_a_lost_cell_are_better_than_two_bad_links():
    y, x = np.mgrid[:100, :200]
    still, lost, new = (np.hypot(y - 50, x - cx) <= r for cx, r in ((100, 14), (124, 7), (76, 7)))
    tracked, tracks = link_cells(np.stack([still + 2 * lost] * 3 + [still + 2 * new] * 3))
    assert len(set(tracked[:, 50, 100])) == 1
    assert tracks["ended"].tolist() == ["last_frame", "disappearance", "last_frame"]
    assert tracks["started"].tolist() == ["first_frame", "first_frame", "appearance"]


def test_noise_of_the_position_is_measured_in_paths_with_gaps_too():
    rng, rows = np.random.default_rng(0), []
    for label in range(1, 201):
        path = np.cumsum(rng.normal(size=(10, 2)), axis=0) + rng.normal(size=(10, 2))
        rows += [(label, frame, *place, "living") for frame, place in enumerate(path)]
    cells = pd.DataFrame(rows, columns=["label", "frame", "y", "x", "kind"])
    tracks = pd.DataFrame({"track": np.arange(1, 201), "begin": 0, "end": 9})
    for seen in (cells, cells[cells["frame"] != 5]):
        noise = measure_tracks(seen, tracks)["localisation_noise"]
        assert (noise**2).mean() == pytest.approx(1, abs=0.1)


def test_a_cell_whose_outline_flickers_leaves_the_others_their_displacement():
    rng = np.random.default_rng(0)
    steady = np.stack([np.arange(10.0) * 2, np.zeros(10)], axis=1)
    flickering = steady + 8 * (-1.0) ** np.arange(10)[:, None] + rng.normal(size=(10, 2))
    rows = [
        (track, frame, *path[frame], "round")
        for track, path in enumerate((steady, flickering, steady, steady[:3]), start=1)
        for frame in range(len(path))
    ]
    cells = pd.DataFrame(rows, columns=["label", "frame", "y", "x", "kind"])
    tracks = pd.DataFrame({"track": [1, 2, 3, 4], "begin": 0, "end": [9, 9, 9, 2]})
    table = measure_tracks(cells, tracks)
    assert table["displacement_1"][[0, 2, 3]].tolist() == pytest.approx([2, 2, 2])  # the last is too short to tell
    assert table["localisation_noise"][1] > 5
