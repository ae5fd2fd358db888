import sys

import numpy as np
import pytest
from launching import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from recorded_events import cut, rates


def test_clips_and_masks_are_cut_alike():
    video = np.arange(21, dtype=np.uint8)[:, None, None] * np.ones((1, 130, 200), np.uint8)
    masks = np.zeros(video.shape, np.uint16)
    masks[:, :60, 140:] = 7
    clips = list(cut(video, masks, 2))
    assert len(clips) == 2 and all(v.shape == m.shape == (10, 64, 64) for v, m in clips)
    assert [v[0, 0, 0] for v, _ in clips] == [0, 10]
    assert len(list(cut(video, masks, 1))) == 2 * 2 * 3
    assert (clips[0][1][:, :30] == 0).all()  # the cell lies right of x = 64 once reduced


def test_rates_are_per_hundred_cells_and_frames():
    labels = np.zeros((10, 32, 32), np.int32)
    labels[:, 4:12, 4:12] = 1
    labels[4:, 18:26, 18:26] = 2  # turns up in the middle of the field
    found = rates([labels])
    assert found["appearances"] == pytest.approx(100 / 16)
    assert found["disappearances"] == found["merges"] == found["splits"] == 0
    assert set(rates([np.zeros((10, 32, 32), int)]).values()) == {0}
