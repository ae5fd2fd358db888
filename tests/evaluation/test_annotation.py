"""Annotated videos on disk."""

import numpy as np
import pandas as pd
import pytest

from cellvid_diffusers.evaluation import annotation


def test_more_tracks_than_16_bits_number_lose_only_the_masks(tmp_path, monkeypatch):
    y, x = np.mgrid[:64, :64]
    video = np.where(np.hypot(y - 30, x - 30) < 9, 40, 128).astype(np.uint8)[None].repeat(2, 0)
    masks = np.where(video < 100, 70_000, 0).astype(np.int32)
    tracks = pd.DataFrame({"track": [70_000], "begin": [0], "end": [1], "num_frames": [2]})
    monkeypatch.setattr(annotation, "segment_cells", lambda video, **options: masks)
    monkeypatch.setattr(annotation, "link_cells", lambda masks, **options: (masks, tracks))
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.65535, got 0\.\.70000"):
        annotation.write_cells(video, tmp_path.joinpath)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("cells.csv", "neurites.csv", "tracks.csv"),
        *("outlines.mp4", "rois.zip"),
    }
