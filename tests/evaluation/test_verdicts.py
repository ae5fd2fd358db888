import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cellvid_diffusers.evaluation.compare import length_row, paper_table2
from cellvid_diffusers.evaluation.comparisons import compare_directions, compare_lengths, compare_measure
from cellvid_diffusers.evaluation.halves import split_halves
from cellvid_diffusers.evaluation.strata import Side
from cellvid_diffusers.evaluation.verdicts import decide


def culture(rng, *, recordings=8, clips=6, cells=6, scale=1.0):
    """Clustered measures, log-normal as areas are, and the side they belong to."""
    recording = np.repeat(np.arange(recordings), clips)
    by_recording, by_clip = rng.normal(0, 0.2, (recordings, 3)), rng.normal(0, 0.3, (len(recording), 3))
    clip = np.repeat(np.arange(len(recording)), cells)
    log = 5 + by_recording[recording[clip]] + by_clip[clip] + rng.normal(0, 0.4, (len(clip), 3))
    table = pd.DataFrame(scale * np.exp(log), columns=["area", "perimeter", "length"]).assign(clip=clip)
    return table, Side(recording.astype(str), np.full(len(recording), "all"))


def verdicts(real, synth, sides, **options):
    splits = split_halves(*vars(sides[0]).values(), max_splits=10)
    columns = ("area", "perimeter", "length")
    rows = {c: compare_measure(real, synth, c, sides, splits, **options) for c in columns}
    decide(rows)
    return rows


def half(table, side, chosen):
    """The clips `chosen` of a table, numbered anew, and their side."""
    number = {clip: i for i, clip in enumerate(chosen)}
    part = table[table["clip"].isin(chosen)]
    return part.assign(clip=part["clip"].map(number)), Side(side.units[chosen], side.strata[chosen])


@pytest.mark.parametrize("unit", ["clip", pytest.param("recording", marks=pytest.mark.slow)])
def test_false_alarms_over_200_random_splits(unit):
    rng, alarms, equivalent = np.random.default_rng(0), [], []
    table, side = culture(rng, recordings=12)
    for trial in range(200):
        if unit == "recording":  # whole recordings go to one side
            first = np.isin(side.units, rng.permutation(np.unique(side.units))[:6])
            labelled = side
        else:
            first = rng.permutation(np.arange(len(side.units)) % 2 == 0)
            labelled = Side(np.arange(len(side.units)).astype(str), side.strata)
        (real, a), (synth, b) = (half(table, labelled, np.flatnonzero(m)) for m in (first, ~first))
        rows = verdicts(real, synth, (a, b), repeats=25, seed=trial)
        alarms.append(any(row["verdict"] == "different" for row in rows.values()))
        equivalent.append(np.mean([row["verdict"] == "equivalent" for row in rows.values()]))
    assert np.mean(alarms) <= 0.05
    assert np.mean(equivalent) > (0.6 if unit == "clip" else 0.1)


def test_cells_twice_as_large_are_different():
    (real, a), (synth, b) = culture(np.random.default_rng(0)), culture(np.random.default_rng(1), scale=2)
    row = verdicts(real, synth, (a, b))["area"]
    assert row["verdict"] == "different" and row["p_holm"] < 0.05
    assert row["interval"][0] > 0 and row["w1_ratio"] > 2


def test_with_too_few_recordings_there_is_no_p_but_an_obvious_difference_is_told():
    rng = np.random.default_rng(2)
    (real, a), (same, b), (large, c) = (culture(rng, recordings=3, clips=15, scale=s) for s in (1, 1, 4))
    rows = verdicts(real, large, (a, c))
    assert {row["p"] for row in rows.values()} == {None}
    assert rows["area"]["verdict"] == "different" and "p_holm" not in rows["area"]
    assert "different" not in {row["verdict"] for row in verdicts(real, same, (a, b)).values()}


def test_a_measure_with_hardly_any_cells_has_no_row():
    table, side = culture(np.random.default_rng(0))
    assert compare_measure(table.head(2), table, "area", (side, side), []) is None


@pytest.mark.parametrize(("shift", "expected"), [(0, "equivalent"), (2.0, None), (3.5, "different")])
def test_cell_types_are_compared_with_their_like(shift, expected):
    """Real units are blocks, eight of either type; synthetic ones clips, in the real clips' mix of 2 to 5."""
    rng = np.random.default_rng(0)
    real_kinds, synth_kinds = np.repeat(["a", "b"], [24, 60]), np.repeat(["a", "b"], [44, 114])
    blocks = np.array([f"{kind}{number % 8}" for number, kind in enumerate(real_kinds)])
    sides = Side(blocks, real_kinds), Side(np.arange(158).astype(str), synth_kinds)

    def table(kinds, shift):
        clip = np.repeat(np.arange(len(kinds)), 4)
        return pd.DataFrame({"clip": clip, "d": np.where(kinds[clip] == "a", 10, 4) + rng.normal(shift, 2, len(clip))})

    splits = split_halves(blocks, real_kinds, max_splits=50)
    rows = {"d": compare_measure(table(real_kinds, 0), table(synth_kinds, shift), "d", sides, splits)}
    decide(rows)
    assert rows["d"]["units"] == [16, 158]
    assert rows["d"]["verdict"] == expected if expected else rows["d"]["verdict"] != "equivalent"


def of_types(rng, units, cells, means):
    """Areas of cells, `cells[type]` a clip, and their side: six clips to each of `units[type]` units."""
    kinds = np.array([kind for kind, count in units.items() for _ in range(6 * count)])
    names = np.array([f"{kind}{number // 6}" for number, kind in enumerate(kinds)])
    clip = np.concatenate([np.full(cells[kind], number) for number, kind in enumerate(kinds)])
    area = np.array([means[kind] for kind in kinds[clip]]) + rng.normal(0, 10, len(clip))
    return pd.DataFrame({"clip": clip, "area": area}), Side(names, kinds)


@pytest.mark.parametrize("recordings", [2, 5])
def test_more_cells_of_one_type_make_no_cell_larger(recordings):
    rng, units, means = np.random.default_rng(0), {"a": recordings, "b": recordings}, {"a": 100, "b": 300}
    real, one = of_types(rng, units, {"a": 10, "b": 10}, means)
    synth, other = of_types(rng, units, {"a": 10, "b": 50}, means)
    rows = {"area": compare_measure(real, synth, "area", (one, other), split_halves(one.units, one.strata))}
    decide(rows)
    assert rows["area"]["verdict"] == "equivalent"
    assert abs(rows["area"]["effect"]) < 0.1 and rows["area"]["w1_ratio"] < 3


def test_a_type_that_one_side_lacks_is_left_out():
    rng, cells, means = np.random.default_rng(0), {"a": 9, "b": 9, "c": 9}, {"a": 100, "b": 300, "c": 900}
    real, one = of_types(rng, {"a": 6, "b": 6, "c": 3}, cells, means)
    synth, other = of_types(rng, {"a": 6, "b": 6}, cells, means)
    rows = {"area": compare_measure(real, synth, "area", (one, other), split_halves(one.units, one.strata))}
    decide(rows)
    assert rows["area"]["verdict"] != "different" and rows["area"]["count"] == [2 * 6 * 6 * 9] * 2
    assert abs(rows["area"]["effect"]) < 0.1 and rows["area"]["w1_ratio"] < 3


def test_a_type_of_a_single_unit_leaves_nothing_equivalent():
    """Its one clip may differ from all real ones, and is not compared."""
    rng, cells = np.random.default_rng(0), {"a": 8, "b": 8}
    real, one = of_types(rng, {"a": 5, "b": 5}, cells, {"a": 100, "b": 300})
    synth, other = of_types(rng, {"a": 5, "b": 1}, cells, {"a": 100, "b": 900})
    rows = {"area": compare_measure(real, synth, "area", (one, other), split_halves(one.units, one.strata))}
    decide(rows)
    assert rows["area"]["left_out"] == ["b"] and rows["area"]["verdict"] == "inconclusive"


def test_more_neurites_of_one_type_are_neither_longer_nor_turned():
    rng, tables, sides = np.random.default_rng(0), [], []
    for more in (10, 50):
        kinds = np.repeat(["a", "b"], 10)
        count = np.where(kinds == "a", 10, more)
        clip, kind = np.repeat(np.arange(20), count), np.repeat(kinds, count)
        length = rng.gamma(4, np.where(kind == "a", 8, 16))
        direction = np.where(kind == "a", rng.vonmises(0, 3, len(kind)), rng.vonmises(2, 3, len(kind)))
        seen = {"clip": clip, "direction": direction, "length": np.minimum(length, 90), "censored": length > 90}
        tables.append(pd.DataFrame(seen))
        sides.append(Side(np.arange(20).astype(str), kinds))
    assert compare_directions(*tables, tuple(sides))["p"] > 0.05
    lengths = compare_lengths(*tables, tuple(sides))
    assert lengths["p"] > 0.05
    assert lengths["median_synth"] == pytest.approx(lengths["median_real"], rel=0.15)


def test_a_type_of_a_single_group_has_no_part_in_the_floor():
    rng, cells, means = np.random.default_rng(0), {"a": 9, "b": 9}, {"a": 100, "b": 900}
    real, one = of_types(rng, {"a": 6, "b": 1}, cells, means)
    synth, other = of_types(rng, {"a": 6, "b": 3}, cells, means)
    row = compare_measure(real, synth, "area", (one, other), split_halves(one.units, one.strata))
    assert row["w1_ratio"] < 3


def test_five_units_a_side_can_tell_an_obvious_difference_among_twenty_measures():
    rng = np.random.default_rng(0)
    clip = np.repeat(np.arange(5), 8)
    side = Side(np.arange(5).astype(str), np.full(5, "all"))
    splits = split_halves(side.units, side.strata)
    rows = {}
    for number in range(20):
        real, synth = (pd.DataFrame({"clip": clip, "d": rng.normal(s, 1, len(clip))}) for s in (0, 5 * (number == 0)))
        rows[str(number)] = compare_measure(real, synth, "d", (side, side), splits)
    decide(rows)
    assert rows["0"]["p"] < 0.05 < rows["0"]["p_holm"] and rows["0"]["verdict"] == "different"
    assert "different" not in {row["verdict"] for name, row in rows.items() if name != "0"}


@pytest.mark.parametrize(
    "interval, verdict",
    [((0.8, 17.0), "inconclusive"), ((0.1, 1.2), "inconclusive"), (None, "inconclusive"), ((0.7, 1.6), "equivalent")],
)
def test_events_are_as_frequent_only_if_the_ratio_of_their_rates_says_so(interval, verdict):
    rows = {"merges": {"p": 0.9, "p_equivalence": 1e-6, "effect": 0.1, "rate_interval": interval}}
    decide(rows)
    assert rows["merges"]["verdict"] == verdict


def test_what_no_real_clip_has_is_different_and_what_none_at_all_has_gets_no_row():
    synth, side = culture(np.random.default_rng(0))
    none = synth.assign(area=0.0)
    splits = split_halves(side.units, side.strata, max_splits=10)
    rows = {"dead cells": compare_measure(none, synth, "area", (side, side), splits)}
    decide(rows)
    assert rows["dead cells"]["verdict"] == "different" and rows["dead cells"]["interval"][0] > 0.5
    hardly = none.assign(area=np.arange(len(none)) == 0)  # one in a single clip is chance
    rows = {"dead cells": compare_measure(none, hardly, "area", (side, side), splits)}
    decide(rows)
    assert rows["dead cells"]["verdict"] != "different"
    assert compare_measure(none, none, "area", (side, side), splits) is None


def neurites(rng, *, clips=12, skew=0.0, scale=1.0, frame=40.0):
    clip = np.repeat(np.arange(clips), 8)
    grid = rng.integers(0, 4, len(clip)) * np.pi / 2 + rng.normal(0, 0.15, len(clip))
    direction = np.where(rng.uniform(size=len(clip)) < skew, grid, rng.uniform(0, 2 * np.pi, len(clip)))
    length = scale * rng.gamma(3, 8, len(clip))
    table = pd.DataFrame(
        {"clip": clip, "direction": direction, "length": np.minimum(length, frame), "censored": length > frame}
    )
    return table, Side(np.arange(clips).astype(str), np.full(clips, "all"))


def test_cardinal_skew_is_found_on_the_side_that_has_it():
    rng = np.random.default_rng(3)
    (real, a), (synth, b) = neurites(rng), neurites(rng, skew=0.8)
    found = compare_directions(real, synth, (a, b))
    assert found["cardinal_index_synth"] > 0.5 > 0.2 > abs(found["cardinal_index_real"])
    assert found["p_rotation_synth"] < 0.01 < found["p_rotation_real"]
    # Watson's statistic hardly sees a fourfold preference, so that the cosine is a measure of its own.
    cosines = [t.assign(cardinal=np.cos(4 * t["direction"])) for t in (real, synth)]
    rows = {"grid": compare_measure(*cosines, "cardinal", (a, b), split_halves(*vars(a).values(), max_splits=10))}
    decide(rows)
    assert rows["grid"]["verdict"] == "different"


def test_a_common_direction_is_told():
    rng = np.random.default_rng(5)
    (real, a), (synth, b) = neurites(rng), neurites(rng)
    assert compare_directions(real, synth, (a, b))["p"] > 0.05
    leaning = synth.assign(direction=rng.vonmises(0.3, 2, len(synth)))
    assert compare_directions(real, leaning, (a, b))["p"] < 0.05


def test_censored_lengths_are_not_taken_for_short_ones():
    rng = np.random.default_rng(4)
    (real, a), (synth, b) = neurites(rng, frame=40), neurites(rng, frame=22)
    assert stats.ttest_ind(real["length"], synth["length"]).pvalue < 0.01  # what the paper would have done
    found = compare_lengths(real, synth, (a, b))
    assert found["p"] > 0.05
    assert found["median_synth"] == pytest.approx(found["median_real"], rel=0.2)
    (short, c) = neurites(rng, scale=0.5)
    assert compare_lengths(real, short, (a, c))["p"] < 0.05


def test_censored_lengths_are_never_called_equivalent():
    (table, side), rows = neurites(np.random.default_rng(6), clips=48), {}
    splits = split_halves(*vars(side).values(), max_splits=10)
    rows["as seen"] = compare_measure(table, table, "length", (side, side), splits)
    found = compare_lengths(table, table, (side, side))
    rows["neurite length"] = length_row(table, table, found, (side, side), splits)
    decide(rows)
    assert rows["as seen"]["verdict"] == "equivalent"
    assert rows["neurite length"]["verdict"] == "inconclusive"
    assert rows["neurite length"]["effect"] == 0 and rows["neurite length"]["log_rank"] == pytest.approx(0, abs=1e-9)


def test_paper_table2_is_the_ordinary_t_test_over_cells():
    sides = [culture(np.random.default_rng(s))[0].assign(kind="living") for s in (0, 1)]
    table = paper_table2(sides, sides)
    expected = stats.ttest_ind(sides[0]["area"], sides[1]["area"]).pvalue
    assert table.loc["area", "neuron"] == pytest.approx(expected)
    assert np.isnan(table.loc["area", "dead cell"])
