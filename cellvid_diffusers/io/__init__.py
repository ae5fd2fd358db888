"""Clips, masks and tracks as files that Fiji, napari, a browser and the Cell Tracking Challenge read.

Every writer writes beside its target and renames at the end: what is there is whole, whatever goes wrong.
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
