"""How much of a square lies on one side of a line, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[np.float64]"


def area_below(t: Array, cos: Array | float, sin: Array | float) -> Array:
    """The area of the unit square around 0 where X cos + Y sin < t, between 0 and 1.

    It is the integral of the square's projection, a trapezoid of height 1 / a that is flat up to (a - b) / 2 and ends
    at (a + b) / 2, with a = max(|cos|, |sin|), b = min(|cos|, |sin|).

    Args:
        t: signed distance of the line from the square's centre.
        cos, sin: of the line's normal.
    """
    a, b = np.maximum(np.abs(cos), np.abs(sin)), np.minimum(np.abs(cos), np.abs(sin))
    distance = np.abs(t)
    corner = np.maximum((a + b) / 2 - distance, 0)
    flat = distance <= (a - b) / 2
    half = np.where(flat, distance / a, 0.5 - corner**2 / np.maximum(2 * a * b, np.finfo(np.float64).tiny))
    return 0.5 + np.copysign(half, t)
