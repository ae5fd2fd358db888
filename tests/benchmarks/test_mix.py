"""Cell types of generated clips in the mix of the held-out ones."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from distances import names_in_mix


@pytest.mark.parametrize("count, expected", [(64, (18, 46)), (4, (1, 3)), (2, (1, 1))])
def test_numbers_follow_the_held_out_clips(count, expected):
    names = names_in_mix(np.array(["a"] * 24 + ["b"] * 60), count, ["a", "b"])
    assert (Counter(names)["a"], Counter(names)["b"]) == expected


def test_every_type_is_there_and_unknown_ones_are_not():
    assert set(names_in_mix(np.array(["a"] + ["b"] * 99 + ["c"] * 9), 4, ["a", "b"])) == {"a", "b"}
    assert names_in_mix(np.array(["c"]), 4, ["a", "b"]) == []


def test_types_are_interleaved():
    assert names_in_mix(np.array(["a", "b"]), 4, ["a", "b"]) == ["a", "b", "a", "b"]
