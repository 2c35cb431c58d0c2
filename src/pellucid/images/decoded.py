"""What every decoder gives: the file's own values, and what it says about them. Decoders raise `ValueError`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pellucid.images.picture import Metadata


@dataclass(frozen=True)
class Decoded:
    """A file's content.

    Attributes:
        array: (h, w) or (h, w, c) of uint8, uint16 or float32; alpha last.
        metadata: of the file.
        orientation: EXIF code of how the array is to be turned, 1 for not at all.
    """

    array: np.ndarray
    metadata: Metadata
    orientation: int = 1


def require_size(width: int, height: int, most: int) -> None:
    """Refuses what would not fit into memory, before it is unpacked. Raises `ValueError`."""
    if width * height > most:
        raise ValueError(f"{width} x {height} pixels are more than the {most:,} that are read")
