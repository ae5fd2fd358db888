"""Wrong pixels are counted once, where they lie."""

import sys

import numpy as np
import pytest
from launching import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from segmentation import place_errors


def test_wrong_pixels_lie_where_they_lie():
    truth, found = np.zeros((2, 100, 100), int)
    truth[10:30, 10:30], found[10:30, 9:30] = 1, 1  # one column too many: 20 px at the outline
    truth[60:65, 60:68] = 2  # 40 px nobody found
    found[60:66, 10:20] = 2  # 60 px nobody drew
    truth[70:90, 70:90], found[76:90, 70:90] = 3, 3  # 6 rows missing: 4 beyond 2 px of the outline but for its ends
    shares = place_errors(found, truth)
    assert sum(shares.values()) == pytest.approx(1)
    wrong = 20 + 40 + 60 + 120
    assert shares["found, not drawn"] == pytest.approx(60 / wrong)
    assert shares["drawn, not found"] == pytest.approx(40 / wrong)
    assert shares["elsewhere"] == pytest.approx(4 * 16 / wrong)


def test_no_error_has_no_place():
    labels = np.eye(20, dtype=int)
    assert not any(place_errors(labels, labels).values())
