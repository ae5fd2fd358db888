"""Counts of what cells rarely do and bad videos do often: merge, split, appear and vanish inside the frame."""

import pandas as pd

EVENTS = {
    "appearances": ("started", "appearance"),
    "disappearances": ("ended", "disappearance"),
    "merges": ("ended", "merge"),
    "splits": ("started", "split"),
}


def count_events(tracks: pd.DataFrame) -> pd.DataFrame:
    """Count events over the tracks of one clip.

    Coming in and leaving at the border is no event, nor is a gap that a track bridges. A division counts as a split.

    Parameters
    ----------
    tracks : DataFrame
        From `link_cells`.

    Returns
    -------
    DataFrame
        One row: ``appearances``, ``disappearances``, ``merges``, ``splits`` (counts), ``cell_frames`` (cells times
        frames, by which counts are divided) and the four as ``..._rate`` per cell and frame (NaN without cells).
    """
    cell_frames = int(tracks["num_frames"].sum())
    counts = {name: int((tracks[column] == value).sum()) for name, (column, value) in EVENTS.items()}
    rates = {f"{name}_rate": count / cell_frames if cell_frames else float("nan") for name, count in counts.items()}
    return pd.DataFrame([counts | {"cell_frames": cell_frames} | rates])
