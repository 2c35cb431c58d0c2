"""The EXIF orientation, applied to arrays of any depth."""

from __future__ import annotations

import numpy as np

ORIENTATION_TAG = 0x0112


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """(h, w, ...) as it is to be seen; `orientation` is the EXIF code, 1 to 8 (others do nothing)."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array
