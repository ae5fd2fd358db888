import numpy as np
import pytest
from scipy.spatial.distance import cdist

from cellvid_diffusers.evaluation.controls import CONTROLS
from cellvid_diffusers.evaluation.distance import (
    Yardstick,
    compare_clips,
    energy_distance,
    mark_trust,
)
from cellvid_diffusers.evaluation.features import clip_features
from cellvid_diffusers.evaluation.halves import check_halves, group_clips, lies_in_one, split_halves


def distance(a, b):
    return energy_distance(cdist(a, a), cdist(a, b), cdist(b, b), np.ones(len(a)), np.ones(len(b)))


def test_energy_distance_is_unbiased():
    rng = np.random.default_rng(0)
    small, large = ([distance(rng.normal(size=(n, 3)), rng.normal(size=(n, 3))) for _ in range(300)] for n in (5, 40))
    for values in (small, large):
        assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300)


def test_energy_distance_of_shifted_normals_in_one_dimension():
    """E|X - Y| of two normals a distance m apart is that of the folded normal with variance 2."""
    from scipy.stats import foldnorm

    rng, m = np.random.default_rng(1), 1.5
    expected = 2 * foldnorm.mean(m / np.sqrt(2), scale=np.sqrt(2)) - 2 * foldnorm.mean(0, scale=np.sqrt(2))
    values = [distance(rng.normal(size=(200, 1)), rng.normal(m, 1, (200, 1))) for _ in range(20)]
    assert np.mean(values) == pytest.approx(expected, abs=3 * np.std(values) / np.sqrt(20))


@pytest.fixture(scope="module")
def report(make_clips):
    return compare_clips(make_clips(48, 0), make_clips(40, 1), real_groups=np.arange(48) // 6, repeats=200)


@pytest.mark.parametrize("family", ["appearance", "spectrum", "motion"])
def test_more_of_the_same_is_not_different(report, family):
    found = report["distances"][family]
    assert found["verdict"] != "different"
    assert found["interval"][0] < found["ratio"] < found["interval"][1]
    assert found["trusted"]


@pytest.mark.parametrize("name", CONTROLS)
def test_each_control_is_seen_by_the_distance_meant_to_see_it(report, name):
    for family in CONTROLS[name][1]:
        assert report["controls"][name][family]["verdict"] == "different", (name, family)


def test_order_of_frames_is_invisible_to_appearance_and_spectrum(report):
    for family in ("appearance", "spectrum"):
        assert report["controls"]["shuffled"][family]["verdict"] != "different"


@pytest.mark.parametrize("spoil", ["contrast", "speed"])
def test_what_differs_is_named(make_clips, spoil):
    options = {"contrast": {"contrast": 25.0}, "speed": {"speed": 2.0}}[spoil]
    family = {"contrast": "appearance", "speed": "motion"}[spoil]
    result = compare_clips(make_clips(30, 0), make_clips(30, 1, **options), controls=False, repeats=100)
    found = result["distances"][family]
    assert found["verdict"] == "different"
    assert not found["trusted"]  # no control was looked at
    words = {"contrast": ("contrast", "intensity", "gradient"), "speed": ("change", "displacement", "speed", "flow")}
    assert any(word in found["telltale"][0]["feature"] for word in (*words[spoil], "power", "residue"))


def test_false_alarms_over_200_random_splits(make_clips):
    """Real against real of the same recordings: at most 5 % `different`, for each distance and for all together."""
    features, rng = clip_features(make_clips(80, 3)), np.random.default_rng(0)
    alarms = []
    for _ in range(200):
        order = rng.permutation(80)
        sides = [{f: {k: v[i] for k, v in d.items()} for f, d in features.items()} for i in (order[:40], order[40:])]
        groups = np.arange(40).astype(str)
        alarms.append(
            [
                Yardstick(sides[0][f], groups, np.full(40, "all"), max_splits=40).measure(
                    sides[1][f], groups, repeats=60
                )["verdict"]
                == "different"
                for f in features
            ]
        )
    assert np.mean(alarms, 0).max() <= 0.05
    assert np.mean(np.any(alarms, 1)) <= 0.05


def test_groups_are_recordings_where_there_are_several_and_blocks_where_there_is_one():
    recording = np.array(["a", "a", "b", "b", *["c"] * 4])
    kind = np.array(["x"] * 4 + ["y"] * 4)
    position = np.array([[0, 0]] * 4 + [[0, 0], [0, 90], [90, 0], [90, 90]])
    groups, strata, how = group_clips(recording, kinds=kind, positions=position)
    assert groups[:4].tolist() == ["a", "a", "b", "b"]
    assert len(set(groups[4:])) == 4
    assert "c" in how and strata.tolist() == kind.tolist()


@pytest.mark.parametrize("seen, verdict", [("different", "equivalent"), ("inconclusive", "inconclusive")])
def test_a_distance_that_misses_a_control_finds_nothing_equivalent(seen, verdict):
    distances = {"motion": {"verdict": "equivalent"}}
    mark_trust(distances, {"frozen": {"motion": {"meant": True, "verdict": seen}}})
    assert distances["motion"] == {"verdict": verdict, "trusted": seen == "different"}


def test_two_recordings_give_no_verdict(make_clips):
    real, synth = make_clips(12, 0), make_clips(12, 1, contrast=120)
    for groups, verdict in ((np.repeat(["a", "b"], 6), "inconclusive"), (np.repeat(list("abcdef"), 2), "different")):
        found = compare_clips(real, synth, real_groups=groups, controls=False)["distances"]["appearance"]
        assert found["verdict"] == verdict


def test_a_grey_level_is_no_distance_where_all_clips_are_saturated():
    rng = np.random.default_rng(0)
    real = {"brightest": np.full(20, 255.0), "other": rng.normal(100, 5, 20)}
    synth = {"brightest": np.full(20, 254.0), "other": rng.normal(100, 5, 20)}
    groups = np.repeat([str(i) for i in range(10)], 2)
    found = Yardstick(real, groups, np.full(20, "all")).measure(synth, np.arange(20).astype(str), repeats=50)
    assert found["ratio"] < 20


def test_blocks_of_a_recording_share_an_eighth_at_most():
    corners = np.array([(t, y, x) for t in (0, 10, 20, 27) for y in (0, 2) for x in (0, 64, 132, 200)])
    size = 10, 128, 128
    groups, strata, _ = group_clips(["c"] * len(corners), positions=corners[:, 1:], times=corners[:, 0], size=size)
    assert len(set(groups)) == 4 + 1 and (~lies_in_one(groups)).sum() > 0
    for a, b in split_halves(groups, strata):
        for one in corners[a > 0]:
            apart = np.abs(corners[b > 0] - one) >= 7 / 8 * np.array(size)
            assert apart.any(1).all()
        assert 2 * np.count_nonzero(a + b) >= len(corners)


def test_halves_of_a_single_clip_are_no_halves(make_clips):
    groups, one = np.repeat(["a", "b", "c"], [8, 7, 1]), np.full(16, "all")
    splits = split_halves(groups, one)
    assert splits and all(min(np.count_nonzero(half) for half in pair) > 1 for pair in splits)
    unlike = np.array(["a", "a", "a", "b"])
    with pytest.raises(ValueError, match=r"two halves of at least two clips, got groups of \[1, 3\]"):
        check_halves(split_halves(unlike, one[:4]), unlike)
    found = compare_clips(make_clips(4, 0), make_clips(4, 1), controls=False)  # some draws hold one clip four times
    for row in found["distances"].values():
        assert np.isfinite([row["value"], row["floor"], *row["interval"]]).all()


def test_the_floor_of_twelve_groups_does_not_depend_on_their_names():
    real = dict(zip("abc", np.random.default_rng(0).normal(size=(3, 48)), strict=True))
    names = np.repeat([f"{letter}.tif" for letter in "abcdefghijkl"], 4)
    floors = [Yardstick(real, each, np.full(48, "all")).floor for each in (names, names[::-1])]
    assert floors[0] == pytest.approx(floors[1], rel=1e-9)


def test_halves_share_no_group_and_keep_the_weight_of_each_stratum():
    groups = np.repeat([f"g{i}" for i in range(7)], [1, 2, 3, 4, 5, 6, 7])
    strata = np.where(np.isin(groups, ["g0", "g1", "g2"]), "x", "y")
    for a, b in split_halves(groups, strata):
        assert not set(groups[a > 0]) & set(groups[b > 0])
        for weights in (a, b):
            assert weights[strata == "x"].sum() == pytest.approx(6)
            assert weights[strata == "y"].sum() == pytest.approx(22)


def test_a_group_that_two_strata_hold_lies_in_one_half():
    groups = np.repeat(["r0", "r1", "r2", "r3"], 8)
    strata = np.tile(["sparse", "dense"], 16)
    splits = split_halves(groups, strata)
    assert len(splits) == 6
    for a, b in splits:
        assert not set(groups[a > 0]) & set(groups[b > 0]) and (a + b > 0).all()


def test_strata_that_no_cut_halves_together_are_halved_apart():
    groups, strata = np.repeat(["r0", "r1", "r2"], 8), np.array([*"aaaabbbb", *"bbbbcccc", *"ccccaaaa"])
    splits = split_halves(groups, strata)
    assert splits
    for a, b in splits:
        assert not set(groups[a > 0]) & set(groups[b > 0]) and a.any() and b.any()


@pytest.mark.parametrize("count", [6, 30])
def test_the_margin_does_not_shrink_with_the_number_of_clips(count):
    """Half a deviation in each of 30 features, against the distance of normals that are as far apart."""
    rng = np.random.default_rng(0)
    values = []
    for _ in range(20):
        real = {str(k): column for k, column in enumerate(rng.normal(size=(30, count)))}
        yardstick = Yardstick(real, np.arange(count).astype(str), np.full(count, "all"), max_splits=5)
        values.append(yardstick.distance_of_shift(0.5 / np.mean(yardstick.scale)))
    wide, far = rng.normal(size=(400, 30)), rng.normal(0.5, 1, (400, 30))
    assert np.mean(values) == pytest.approx(distance(wide, far), rel=0.25)


@pytest.mark.parametrize(
    "real, synth, message",
    [
        (np.zeros((0, 10, 48, 48), np.uint8), np.zeros((3, 10, 48, 48), np.uint8), "at least one clip, got none"),
        (np.zeros((3, 10, 48, 48), np.uint8), np.zeros((3, 10, 64, 64), np.uint8), "same frames and size, got"),
        (np.zeros((3, 10, 48, 48), np.uint8), np.zeros((1, 10, 48, 48), np.uint8), "at least two clips, got 3 and 1"),
        (np.full((3, 10, 48, 48), np.nan), np.zeros((3, 10, 48, 48), np.uint8), "finite, got NaN"),
        (np.full((3, 10, 48, 48), 200.0), np.zeros((3, 10, 48, 48), np.uint8), r"lie in \[0, 1\], got"),
        (np.zeros((3, 3, 48, 48), np.uint8), np.zeros((3, 3, 48, 48), np.uint8), "at least 4 frames, got 3"),
        (np.zeros((3, 10, 16, 48), np.uint8), np.zeros((3, 10, 16, 48), np.uint8), "at least 32 px high and wide"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(real, synth, message):
    with pytest.raises(ValueError, match=message) as error:
        compare_clips(real, synth, controls=False)
    assert "\n" not in str(error.value)


def test_too_few_real_clips_and_labels_of_another_length_are_named(make_clips):
    clips = make_clips(6)
    with pytest.raises(ValueError, match="two halves of at least two clips"):
        compare_clips(clips[:3], clips[3:], controls=False)
    for name in ("real_groups", "real_strata", "synth_groups"):
        with pytest.raises(ValueError, match=f"{name} must have a label for each of the 6 clips"):
            compare_clips(clips, clips, controls=False, **{name: ["a", "b"]})


@pytest.mark.parametrize("size", [48, 50, 64])
def test_each_ring_of_the_spectrum_holds_something(size):
    found = clip_features(np.random.default_rng(0).integers(0, 255, (2, 5, size, size), dtype=np.uint8))
    assert all(np.isfinite(values).all() for values in found["spectrum"].values())


@pytest.mark.parametrize("count", [8, 16, 64])
def test_few_real_groups_do_not_make_what_differs_equivalent(count):
    """Five of ten features off by one deviation: never equivalent, however coarse the floor."""
    verdicts = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        real, synth = rng.normal(size=(count, 10)), rng.normal(size=(100, 10)) + np.repeat([1.0, 0.0], 5)
        sides = [{str(i): side[:, i] for i in range(10)} for side in (real, synth)]
        yardstick = Yardstick(sides[0], np.arange(count).astype(str), np.full(count, "all"), max_splits=40)
        verdicts.append(yardstick.measure(sides[1], np.arange(100).astype(str), repeats=60)["verdict"])
    assert "equivalent" not in verdicts


def test_the_margin_does_not_depend_on_the_number_of_groups():
    rng, margins = np.random.default_rng(0), []
    real = {str(i): rng.normal(size=96) for i in range(10)}
    for clips in (24, 12, 1):
        groups = (np.arange(96) // clips).astype(str)
        margins.append(Yardstick(real, groups, np.full(96, "all"), max_splits=40).distance_of_shift(0.5))
    assert margins[0] == margins[1] == margins[2] > 0


def test_real_clips_that_are_all_the_same_give_no_floor():
    same, groups = {"x": np.zeros(8)}, np.arange(8).astype(str)
    with pytest.raises(ValueError, match="real clips must differ from each other"):
        Yardstick(same, groups, np.full(8, "all"))
