"""Masks and kernels from files; nothing is unpickled, and sizes are looked at before pixels are read."""

from __future__ import annotations

import tokenize
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import OperatorError

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 2**26
MAX_KERNEL = 1025
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")


def read_grey(path: str | Path, max_pixels: int = MAX_PIXELS) -> Tensor:
    """A picture file as grey levels, (h, w) float64 in [0, 1].

    Raises:
        OperatorError: the file is missing, too large, or not a picture.
    """
    from PIL import Image

    _require_file(path)
    try:
        with _quiet(Image.DecompressionBombWarning), Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise OperatorError(f"{path} has {image.width} x {image.height} pixels, more than {max_pixels}")
            sixteen = image.mode.startswith("I")
            pixels = np.asarray(image if sixteen else image.convert("L"), dtype=np.float64)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise OperatorError(f"{path} is not a picture that can be read: {error}") from error
    return torch.from_numpy(pixels / (65535 if sixteen else 255))


def read_kernel(path: str | Path) -> Tensor:
    """A blur kernel, (kh, kw) float64, from a .npy array or a grey picture; not yet normalised.

    Raises:
        OperatorError: the file is missing, not such an array, or larger than 1025 x 1025.
    """
    kernel = _read_array(path) if Path(path).suffix == ".npy" else read_grey(path, MAX_KERNEL**2)
    if kernel.ndim != 2 or not 1 <= max(kernel.shape) <= MAX_KERNEL:
        raise OperatorError(f"a kernel is (height, width), at most {MAX_KERNEL} each, but {path} is {[*kernel.shape]}")
    return kernel


def _read_array(path: str | Path) -> Tensor:
    _require_file(path)
    try:
        # Mapped, so that a header that lies about the size allocates nothing; objects cannot be mapped.
        array = np.lib.format.open_memmap(path, mode="r")
        if array.dtype.kind not in "fiub" or array.size > MAX_KERNEL**2:
            raise ValueError(f"{array.dtype} of shape {array.shape}")
        return torch.from_numpy(np.array(array, dtype=np.float64))
    except (OSError, ValueError, SyntaxError, tokenize.TokenError) as error:
        raise OperatorError(f"{path} is not a .npy array of at most {MAX_KERNEL}^2 real numbers: {error}") from error


@contextmanager
def _quiet(category: type[Warning]) -> Iterator[None]:
    """Pillow warns of pictures that are refused here anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        yield


def _require_file(path: str | Path) -> None:
    try:
        size = Path(path).stat().st_size
    except (OSError, ValueError) as error:
        raise OperatorError(f"there is no file {path}") from error
    if not Path(path).is_file() or not 0 < size <= MAX_BYTES:
        raise OperatorError(f"{path} is not a file of 1 byte to {MAX_BYTES >> 20} MiB")
