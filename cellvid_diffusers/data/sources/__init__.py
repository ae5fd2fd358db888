"""One interface to all file formats: a `Source` reads the plane at a given time, channel and depth."""

from pathlib import Path

from .numbered import open_numbered
from .source import RecordingError, Source
from .tiff import TIFF_SUFFIXES, open_tiff
from .vendors import BIOIO_SUFFIXES, open_bioio
from .video import VIDEO_SUFFIXES, open_video

__all__ = ["BIOIO_SUFFIXES", "TIFF_SUFFIXES", "VIDEO_SUFFIXES", "RecordingError", "Source", "open_source"]


def open_source(path: Path, *, as_shown: bool = True) -> Source:
    """Open the recording at `path` by its suffix; a folder without a known one is read as numbered pictures.

    `as_shown` inverts TIFF files whose zero is white; False keeps the stored values, which may be labels.
    """
    suffix = path.suffix.lower()
    if suffix in BIOIO_SUFFIXES:
        return open_bioio(path)
    if path.is_dir():
        return open_numbered(path, as_shown=as_shown)
    if suffix in TIFF_SUFFIXES:
        return open_tiff(path, as_shown=as_shown)
    if suffix in VIDEO_SUFFIXES:
        return open_video(path)
    known = ", ".join(TIFF_SUFFIXES + VIDEO_SUFFIXES + BIOIO_SUFFIXES)
    raise RecordingError(f"recording must be a folder or one of {known}, got {suffix or 'a name without suffix'}")
