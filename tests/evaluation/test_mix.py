"""Both sides with one mix of cell types."""

import numpy as np
import pytest

from cellvid_diffusers.evaluation.clips import ClipSet
from cellvid_diffusers.evaluation.mix import thin_to_mix


def clips(*kinds: str) -> ClipSet:
    names = [str(k) for k in range(len(kinds))]
    frames = np.zeros((len(kinds), 2, 4, 4), np.uint8)
    return ClipSet(frames, names, np.array(names), np.array(kinds), flow=[None] * len(kinds))


def test_the_largest_subset_with_the_shares_of_the_real_side_stays():
    kept, mix = thin_to_mix(clips(*["a"] * 24, *["b"] * 60), clips(*["a", "b"] * 36))
    assert mix["real"] == {"a": 24, "b": 60} and mix["synth"] == {"a": 14, "b": 36}
    assert mix["left_out"] == 22 and mix["left_out_types"] == [] and mix["matched"]
    assert len(kept) == 50


def test_the_first_clips_of_each_type_stay_in_order():
    kept, _ = thin_to_mix(clips("a", "a", "b"), clips("b", "a", "b", "a", "b"))
    assert kept.names == ["0", "1", "3"]


def test_types_of_one_side_only():
    kept, mix = thin_to_mix(clips("a", "b", "c"), clips("a", "b", "d", "a"))
    assert kept.names == ["0", "1"]
    assert mix["real"]["c"] == 1 and "d" not in mix["synth"]
    assert mix["left_out_types"] == ["d"]


@pytest.mark.parametrize("types", [["unknown"] * 3, ["a", "unknown", "a"], ["c"] * 3])
def test_nothing_is_left_out_without_known_and_shared_types(types):
    kept, mix = thin_to_mix(clips("a", "b"), clips(*types))
    assert len(kept) == 3 and not mix["matched"] and mix["left_out"] == 0


def test_the_mix_can_be_kept():
    kept, mix = thin_to_mix(clips("a", "b"), clips("a", "a", "b"), keep=True)
    assert len(kept) == 3 and mix["synth"] == {"a": 2, "b": 1} and not mix["matched"]
