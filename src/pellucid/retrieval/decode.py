"""Encoded pictures, taken for hostile, as tensors."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pellucid.errors import ConfigError, ImageFileError
from pellucid.images.decoded import require_size
from pellucid.images.modes import plain_array
from pellucid.images.orientation import ORIENTATION_TAG, upright
from pellucid.images.read import FORMATS, MAX_PIXELS
from pellucid.train.data.entry import reason
from pellucid.train.data.values import prepare, unit

MOST_BYTES = 512 * 2**20  # of a file


@dataclass(frozen=True)
class Opened:
    """A decoded picture.

    Attributes:
        pixels: (3, h, w) float32 in [0, 1], upright.
        format: of the file, such as JPEG.
    """

    pixels: Tensor
    format: str


def decode(data: bytes, name: str) -> Opened:
    """A picture from a file's content.

    Args:
        data: the content.
        name: of the picture, for errors.

    Raises:
        ImageFileError: it is no picture, damaged, too large, or holds values that are none.
    """
    try:
        with warnings.catch_warnings():
            # The limit is ours, checked before a pixel is unpacked; other warnings are of no use in a collection.
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                require_size(image.width, image.height, MAX_PIXELS)
                image.load()
                array, _ = plain_array(image)
                array = upright(array, image.getexif().get(ORIENTATION_TAG, 1))
                kind = str(image.format)
        array = array if array.ndim == 2 else array[..., 0] if array.shape[2] < 3 else array[..., :3]
        values = unit(prepare(array, 3, None, name), None)
    except ConfigError as error:
        raise ImageFileError(str(error)) from error
    except Exception as error:  # decoders raise anything for a damaged file
        raise ImageFileError(f"{name} is no picture that can be read: {reason(error)}") from error
    pixels = torch.from_numpy(values.copy())
    pixels = pixels.expand(3, -1, -1) if pixels.ndim == 2 else pixels.permute(2, 0, 1)
    return Opened(pixels.contiguous(), kind)


def content(path: Path) -> bytes:
    """A file's bytes. Raises `ImageFileError` where it cannot be read, is empty, or larger than 512 MiB."""
    try:
        if not path.is_file():  # opening a pipe would wait for ever
            raise ImageFileError(f"{path} does not exist, or is no file")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ImageFileError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if not data:
        raise ImageFileError(f"{path} is empty (0 bytes)")
    if len(data) > MOST_BYTES:
        raise ImageFileError(f"{path} is larger than {MOST_BYTES >> 20} MiB")
    return data


def reduced(data: bytes, longest: int) -> tuple[bytes, str] | None:
    """The picture encoded anew (JPEG, quality 95, 4:4:4) with this longest side; None where it is not larger."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            if max(image.size) <= longest:
                return None
            image.load()
            array, _ = plain_array(image)
            turned = Image.fromarray(_bytes_of(upright(array, image.getexif().get(ORIENTATION_TAG, 1))))
    turned.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    out = BytesIO()
    turned.save(out, "JPEG", quality=95, subsampling=0)  # colours keep their resolution
    return out.getvalue(), "JPEG"


def _bytes_of(array: np.ndarray) -> np.ndarray:
    array = array if array.ndim == 2 else array[..., 0] if array.shape[2] < 3 else array[..., :3]
    return (255 * unit(array, None)).round().astype(np.uint8) if array.dtype != np.uint8 else array


def sha256(data: bytes) -> str:
    """Of a content, as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
