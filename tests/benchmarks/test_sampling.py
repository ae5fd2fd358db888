"""Generated clips have the cell types of the held-out ones, in their mix."""

import sys
from collections import Counter

import numpy as np
from launching import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from sampling import names_in_mix


def test_names_in_mix_keep_the_shares_from_the_first_on():
    kinds = np.array(["u373"] * 93 + ["t98g"] * 28)
    assert Counter(names_in_mix(kinds, 121)) == {"u373": 93, "t98g": 28}
    assert Counter(names_in_mix(kinds, 13)) == {"u373": 10, "t98g": 3}
    for count in range(1, 121):
        drawn = Counter(names_in_mix(kinds, count))
        assert abs(drawn["t98g"] - count * 28 / 121) < 1


def test_names_in_mix_of_one_kind():
    assert names_in_mix(np.array(["unknown"] * 3), 2) == ["unknown", "unknown"]
