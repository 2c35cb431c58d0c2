"""Files that hold pictures: photographs, and arrays in .npy and .npz; all of them taken for hostile."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from pellucid.images.decoded import require_size
from pellucid.images.modes import plain_array
from pellucid.images.orientation import ORIENTATION_TAG, upright
from pellucid.images.read import FORMATS, MAX_PIXELS
from pellucid.train.data.entry import Entry, Refused
from pellucid.train.data.volume import Slicing, cut

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
ARRAYS = {".npy", ".npz"}


def photograph(path: Path) -> Entry:
    """A picture file; 8 bits, 16 bits and float stay what they are, transparency is dropped."""
    return Entry(str(path), partial(_decode, path), partial(_size, path))


def _open(path: Path) -> Image.Image:
    image = Image.open(path, formats=FORMATS)
    require_size(image.width, image.height, MAX_PIXELS)
    return image


def _size(path: Path) -> tuple[int, int]:
    with _open(path) as image:
        turned = image.getexif().get(ORIENTATION_TAG, 1) in (5, 6, 7, 8)
        return (image.width, image.height) if turned else (image.height, image.width)


def _decode(path: Path) -> np.ndarray:
    with _open(path) as image:
        image.load()
        array, _ = plain_array(image)
        array = upright(array, image.getexif().get(ORIENTATION_TAG, 1))
    return array if array.ndim == 2 else array[..., 0] if array.shape[2] < 3 else array[..., :3]


def arrays(path: Path, slicing: Slicing, most: int) -> Iterator[Entry]:
    """The pictures of an .npy or .npz file.

    An .npz is unpacked whole: it may take `most` bytes, which is looked up in its headers first. An .npy is mapped
    into memory and may have any size.

    Raises:
        Refused: a shape, a type or a size that is not read.
        OSError, ValueError, zipfile.BadZipFile: a damaged file.
    """
    if path.suffix.lower() == ".npy":
        yield from _stack(str(path), np.load(path, mmap_mode="r", allow_pickle=False), slicing)
        return
    _require_bytes(path, most)
    with np.load(path, allow_pickle=False) as file:
        for key in file.files:
            yield from _stack(f"{path}[{key}]" if len(file.files) > 1 else str(path), file[key], slicing)


def _stack(name: str, array: np.ndarray, slicing: Slicing) -> Iterator[Entry]:
    """Pictures of (h, w), (n, h, w) or (n, h, w, c)."""
    if array.dtype not in (np.uint8, np.uint16, np.int16) and array.dtype.kind != "f":
        raise Refused(f"{array.dtype} values; uint8, uint16, int16 (Hounsfield units) and floats are read")
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if not (array.ndim in (2, 3) or (array.ndim == 4 and array.shape[3] == 3)):
        raise Refused(f"shape {array.shape}; (h, w), (n, h, w) and (n, h, w, 1 or 3) are read")
    if array.ndim == 2:
        yield Entry(name, partial(np.ascontiguousarray, array))
    else:
        yield from cut(name, array, slicing, None)


def _require_bytes(path: Path, most: int) -> None:
    """Adds up what the archive says that it unpacks to. Raises `Refused` where that is too much."""
    with zipfile.ZipFile(path) as archive:
        total = sum(member.file_size for member in archive.infolist())
    if total > most:
        raise Refused(
            f"it unpacks to {total / 1e9:.1f} GB, more than the {most / 1e9:.1f} GB of `memory`; "
            "give more, or save it as .npy, which is read piece by piece"
        )
