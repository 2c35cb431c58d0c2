"""Pixel values: what is kept of a decoded picture, and how it becomes [0, 1]."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pellucid.errors import ConfigError
from pellucid.train.data.entry import Refused
from pellucid.train.data.window import CT_WINDOW, to_unit

BT601 = np.array([0.299, 0.587, 0.114], np.float32)


def prepare(array: np.ndarray, channels: int, window: tuple[float, float] | None, name: str) -> np.ndarray:
    """A decoded picture as it is kept: (h, w), or (h, w, 3) for colour, of uint8, uint16, int16 or float32.

    Floats with a window are rounded to int16: one Hounsfield unit is finer than any scanner.

    Args:
        array: (h, w) or (h, w, 3).
        channels: 1 makes colour grey; grey stays one channel in memory whatever is asked for.
        window: see `unit`.
        name: for errors.

    Raises:
        Refused: the picture holds NaN or infinite values, or has no such shape.
        ConfigError: its values need a window.
    """
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)) or 0 in array.shape:
        raise Refused(f"shape {array.shape} is no picture")
    if array.dtype.kind == "f":
        array = _floats(array, window, name)
    elif array.dtype == np.int16 and window is None:
        raise ConfigError(f"{name} holds int16 values: say which of them are 0 and 1, such as window = {CT_WINDOW}")
    elif array.dtype not in (np.uint8, np.uint16, np.int16):
        raise Refused(f"{array.dtype} values; uint8, uint16, int16 and floats are read")
    return _grey(array) if channels == 1 and array.ndim == 3 else np.ascontiguousarray(array)


def _floats(array: np.ndarray, window: tuple[float, float] | None, name: str) -> np.ndarray:
    if not np.isfinite(array).all():
        raise Refused("it holds NaN or infinite values")
    if window is None:
        if array.min() < 0 or array.max() > 1:
            span = f"{array.min():g} to {array.max():g}"
            raise ConfigError(f"{name} holds floats from {span}: say which are 0 and 1, such as window = {CT_WINDOW}")
        return array.astype(np.float32)
    # Windows finer than a unit, [0, 1] say, are not Hounsfield units: those values stay floats.
    if window[1] - window[0] < 256:
        return array.astype(np.float32)
    return array.round().clip(-(2**15), 2**15 - 1).astype(np.int16)


def _grey(array: np.ndarray) -> np.ndarray:
    """0.299 R + 0.587 G + 0.114 B (BT.601), in the same dtype."""
    if array.dtype == np.uint8:
        return np.asarray(Image.fromarray(array).convert("L"))
    grey = array.astype(np.float32) @ BT601
    return grey.round().astype(array.dtype) if array.dtype.kind in "iu" else grey


def unit(values: np.ndarray, window: tuple[float, float] | None) -> np.ndarray:
    """float32 in [0, 1]: uint8 / 255; others clip((v - low) / (high - low)); without a window uint16 / 65535.

    Args:
        values: of any shape; what resizing overshoots is clipped.
        window: (low, high).
    """
    if values.dtype == np.uint8:
        return np.divide(values, 255, dtype=np.float32)
    if window is not None:
        return to_unit(values.astype(np.float32), window)
    if values.dtype == np.uint16:
        return np.divide(values, 65535, dtype=np.float32)
    return values.clip(0, 1).astype(np.float32)
