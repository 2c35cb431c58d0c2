"""Pictures on disk: read into [0, 1] tensors and written back, with what belongs to them kept."""

from pellucid.images.picture import Depth, Metadata, Picture
from pellucid.images.read import MAX_PIXELS, SUFFIXES, read
from pellucid.images.write import choose_depth, require_writable, write

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Depth",
    "Metadata",
    "Picture",
    "choose_depth",
    "read",
    "require_writable",
    "write",
]
