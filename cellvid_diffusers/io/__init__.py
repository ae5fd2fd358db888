"""Clips, masks and tracks as files for Fiji, napari, browsers and the Cell Tracking Challenge.

Every writer writes to a temporary path and renames it at the end, so that existing files are always complete.
"""

from .contact_sheet import contact_sheet
from .contrast import stretch_contrast
from .ctc import read_ctc, write_ctc
from .imagej_rois import write_imagej_rois
from .ome_tiff import OmeVideo, read_ome_tiff, write_ome_tiff
from .preview import write_gif, write_mp4

__all__ = [
    "OmeVideo",
    "contact_sheet",
    "read_ctc",
    "read_ome_tiff",
    "stretch_contrast",
    "write_ctc",
    "write_gif",
    "write_imagej_rois",
    "write_mp4",
    "write_ome_tiff",
]
