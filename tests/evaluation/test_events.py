import numpy as np
import pandas as pd
import pytest

from cellvid_diffusers.evaluation.events import EVENTS, compare_events
from cellvid_diffusers.evaluation.strata import Side


def clips(rng, rate: float, number: int = 60, cell_frames: int = 40) -> pd.DataFrame:
    """Events of independent clips, all at one rate per cell and frame."""
    counts = {event: rng.poisson(rate * cell_frames, number) for event in EVENTS}
    return pd.DataFrame(counts | {"clip": np.arange(number), "cell_frames": cell_frames})


def own_units(*tables: pd.DataFrame) -> tuple[Side, ...]:
    return tuple(Side(np.arange(len(table)).astype(str), np.full(len(table), "all")) for table in tables)


def test_three_times_as_often_is_found():
    rng = np.random.default_rng(0)
    real, synth = clips(rng, 0.02), clips(rng, 0.06)
    for found in compare_events(real, synth, own_units(real, synth)).values():
        low, high = found["interval"]
        assert 1.2 < low < found["ratio"] < high < 6
        assert found["ratio"] == pytest.approx(found["synth"] / found["real"], rel=0.03)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng, held = np.random.default_rng(1), []
    for trial in range(50):
        real, synth = clips(rng, 0.03), clips(rng, 0.03)
        found = compare_events(real, synth, own_units(real, synth), repeats=300, seed=trial)
        held += [row["interval"][0] <= 1 <= row["interval"][1] for row in found.values()]
    assert 0.9 < np.mean(held) <= 1


def test_clips_of_one_recording_are_no_independent_witnesses():
    rng = np.random.default_rng(2)
    real, synth = clips(rng, 0.03), clips(rng, 0.03)
    real.loc[:29, list(EVENTS)] *= 4  # one of two recordings is livelier
    alone = compare_events(real, synth, own_units(real, synth))
    together = compare_events(
        real, synth, (Side(np.repeat(["a", "b"], 30), own_units(real)[0].strata), own_units(synth)[0])
    )
    for event in EVENTS:
        assert np.ptp(together[event]["interval"]) > 1.5 * np.ptp(alone[event]["interval"])


def test_more_cells_of_a_livelier_type_are_no_more_events():
    rng, kinds = np.random.default_rng(3), np.repeat(["calm", "lively"], 60)
    sides = tuple(Side(np.arange(120).astype(str), kinds) for _ in range(2))
    tables = []
    for cells in (40, 200):
        parts = [clips(rng, 0.01, cell_frames=40), clips(rng, 0.05, cell_frames=cells)]
        tables.append(pd.concat(parts, ignore_index=True).assign(clip=np.arange(120)))
    for found in compare_events(*tables, sides).values():
        assert found["ratio"] == pytest.approx(1, abs=0.3)  # 1.44 over all cells
    rare = tuple(
        Side(side.units, np.where(kinds == "calm", "calm", name)) for side, name in zip(sides, "ab", strict=True)
    )
    for found in compare_events(*tables, rare).values():  # of types that one side lacks nothing is said
        assert found["real"] < 2 and found["synth"] < 2


@pytest.mark.parametrize("seen, exact", [(5, 0.92), (12, 2.8)])
def test_what_a_side_does_not_show_may_be_rare_there(seen, exact):
    """Given `seen` events on one side and none on the other, the interval of their ratio has no upper end; its lower
    end is exact by the conditional binomial."""
    about = {"clip": np.arange(40), "cell_frames": 9}
    none, some = (pd.DataFrame(about | {event: np.arange(40) < count for event in EVENTS}) for count in (0, seen))
    for found in compare_events(none, some, own_units(none, some)).values():
        assert found["interval"][0] == pytest.approx(exact, rel=0.4) and found["interval"][1] > 20 * seen
    for found in compare_events(some, none, own_units(some, none)).values():
        assert found["interval"][1] == pytest.approx(1 / exact, rel=0.6) and found["interval"][0] < 1 / (20 * seen)


def test_no_event_is_no_division_by_zero_and_no_cell_no_ratio():
    none, empty = (pd.DataFrame(dict.fromkeys(EVENTS, [0] * 4) | {"clip": range(4), "cell_frames": n}) for n in (10, 0))
    for found in compare_events(none, none, own_units(none, none)).values():
        assert found == {"real": 0, "synth": 0, "ratio": None, "interval": None}
    for found in compare_events(none, empty, own_units(none, empty)).values():
        assert found["ratio"] is None and found["interval"] is None
