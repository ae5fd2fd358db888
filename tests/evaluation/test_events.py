import numpy as np
import pandas as pd
import pytest

from cellvid_diffusers.evaluation.events import EVENTS, compare_events


def clips(rng, rate: float, number: int = 60, cell_frames: int = 40) -> pd.DataFrame:
    """Events of independent clips, all at one rate per cell and frame."""
    counts = {event: rng.poisson(rate * cell_frames, number) for event in EVENTS}
    return pd.DataFrame(counts | {"clip": np.arange(number), "cell_frames": cell_frames})


def own_units(*tables: pd.DataFrame) -> tuple[np.ndarray, ...]:
    return tuple(np.arange(len(table)).astype(str) for table in tables)


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
    together = compare_events(real, synth, (np.repeat(["a", "b"], 30), own_units(synth)[0]))
    for event in EVENTS:
        assert np.ptp(together[event]["interval"]) > 1.5 * np.ptp(alone[event]["interval"])


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
