"""Hounsfield units and the range [0, 1]: one window to compute in, several to look through; one place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from torch import Tensor

from pellucid.errors import ConfigError

Values = TypeVar("Values", np.ndarray, Tensor)

# Air is -1000 HU by definition: what lies below is detector noise, or the padding outside the scanner's circle, which
# vendors fill with -1024 to -3024. Lung is -900 to -500, fat -100, water 0, organs 20 to 80, contrast agent up to 400,
# spongy bone 300 to 700. Above 1000 are dense cortical bone, teeth and metal: few pixels, whose height would cost soft
# tissue its share of the range. 2000 HU over [0, 1] make 0.01 in the unit 20 HU, and water the middle, 0.5. One window
# for chest, abdomen and head keeps one network for all three.
CT_WINDOW = (-1000.0, 1000.0)
# Windows to look through, (centre, width) in HU, as radiology departments set them (widths differ by house).
DISPLAY: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "lung": (-600.0, 1500.0),
        "soft-tissue": (50.0, 350.0),
        "bone": (400.0, 1800.0),
        "brain": (40.0, 80.0),
        "abdomen": (50.0, 400.0),
    }
)
WATER = 0.0193  # linear attenuation of water at 70 keV, in 1/mm (NIST XCOM, between its 60 and 80 keV entries)


def require_window(window: Sequence[float]) -> tuple[float, float]:
    """The window as two floats.

    Raises:
        ConfigError: it is not two finite numbers, the lower first.
    """
    try:
        low, high = (float(edge) for edge in window)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"window must be (low, high) with low < high, such as {CT_WINDOW}, not {window!r}")
    return low, high


def display_window(text: str) -> tuple[float, float]:
    """(low, high) in HU, black and white of a display, from a name in `DISPLAY` or from "centre,width".

    The grey level is linear in between: (hu - low) / width, low = centre - width / 2 (DICOM's LINEAR_EXACT).

    Raises:
        ConfigError: it is neither.
    """
    if text.lower() in DISPLAY:
        centre, width = DISPLAY[text.lower()]
    else:
        try:
            centre, width = (float(part) for part in text.split(","))
        except ValueError:
            centre = width = math.nan
    if not (math.isfinite(centre) and math.isfinite(width) and 1e-3 <= width <= 1e6 and abs(centre) <= 1e6):
        raise ConfigError(
            f"--window is one of {', '.join(DISPLAY)}, or centre,width in Hounsfield units such as 40,400 with a width "
            f"above 0, not {text!r}"
        )
    return centre - width / 2, centre + width / 2


def to_unit(hu: Values, window: tuple[float, float] = CT_WINDOW) -> Values:
    """clip((hu - low) / (high - low), 0, 1), of any shape; float tensors or arrays."""
    low, high = window
    return ((hu - low) / (high - low)).clip(0, 1)


def from_unit(unit: Values, window: tuple[float, float] = CT_WINDOW) -> Values:
    """low + (high - low) unit: the inverse of `to_unit` inside the window; nothing is clipped."""
    low, high = window
    return low + (high - low) * unit


def to_attenuation(hu: Values, water: float = WATER) -> Values:
    """Linear attenuation max(0, water (1 + hu / 1000)) in 1/mm, `water` being that of water."""
    return (water * (1 + hu / 1000)).clip(0, None)


def from_attenuation(attenuation: Values, water: float = WATER) -> Values:
    """1000 (attenuation / water - 1): Hounsfield units of a linear attenuation in 1/mm."""
    return 1000 * (attenuation / water - 1)
