"""Statistics that account for cells of one video being alike: the video, not the cell, is the unit."""

from .bootstrap import cluster_weights, effect_size, w1_over_floor
from .directions import cardinal_index, directional_harmonics, kuiper, rotation_test, watson_u2
from .equivalence import tost
from .multiple_testing import benjamini_hochberg, holm
from .permutation import permutation_test, permute_labels, stratify
from .survival import kaplan_meier, log_rank, median_length

__all__ = [
    "benjamini_hochberg",
    "cardinal_index",
    "cluster_weights",
    "directional_harmonics",
    "effect_size",
    "holm",
    "kaplan_meier",
    "kuiper",
    "log_rank",
    "median_length",
    "permutation_test",
    "permute_labels",
    "rotation_test",
    "stratify",
    "tost",
    "w1_over_floor",
    "watson_u2",
]
