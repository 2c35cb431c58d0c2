"""Training data: sources of pictures, and crops of them as a pure function of (seed, step, rank, index)."""

from pellucid.train.data.crops import Crops
from pellucid.train.data.source import SUFFIXES, Source, open_source
from pellucid.train.data.volume import split_z
from pellucid.train.data.window import CT_WINDOW, from_unit, to_unit

__all__ = [
    "CT_WINDOW",
    "SUFFIXES",
    "Crops",
    "Source",
    "from_unit",
    "open_source",
    "split_z",
    "to_unit",
]
