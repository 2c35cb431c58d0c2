"""Reading: one entry, one reader a kind of file, every complaint an `ImageFileError`."""

from __future__ import annotations

import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from pellucid.errors import ConfigError, ImageFileError
from pellucid.images.arrays import read_head, read_npz
from pellucid.images.ct import CT
from pellucid.images.decoded import Decoded, require_size
from pellucid.images.dicom import DICOM, is_dicom, read_dicom
from pellucid.images.hu import CT_WINDOW
from pellucid.images.metadata import metadata_of
from pellucid.images.modes import plain_array
from pellucid.images.orientation import ORIENTATION_TAG, upright
from pellucid.images.picture import Depth, Picture, from_array
from pellucid.images.png import read_png16
from pellucid.images.tiff import TIFF_SIGNATURES, read_tiff

# Named one by one: others of Pillow's formats start foreign programs (EPS) or are no photographs.
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
SUFFIXES = frozenset(
    [".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".pnm", ".jp2", ".avif", ".npy"]
).union([".npz"], DICOM)
WINDOW_KEY = "pellucid:window"  # the comment of a PNG that says which Hounsfield units are black and white
DAMAGED = (struct.error, zlib.error, zipfile.BadZipFile)
MAX_PIXELS = 150_000_000


def read(
    path: Path,
    max_pixels: int = MAX_PIXELS,
    *,
    window: tuple[float, float] = CT_WINDOW,
    keep_identity: bool = False,
) -> Picture:
    """Reads a picture upright, alpha aside, grey as one channel, in [0, 1] (floating-point files: as they are).

    Args:
        path: a file of one of `SUFFIXES`, or a DICOM file without a suffix; `.npy` holds a measurement of any shape, or
            a picture as (c, h, w), in the units of pictures in [0, 1]; the keys of `.npz` are in
            `pellucid.images.arrays`.
        max_pixels: larger pictures are refused before they are unpacked.
        window: Hounsfield units of 0 and 1, for files that hold such; nothing is clipped.
        keep_identity: of a DICOM file also read whose it is.

    Raises:
        ConfigError: a DICOM file, and pydicom is not installed.
        ImageFileError: the file is missing, empty, truncated, too large, no picture, or holds NaN.
    """
    if not path.exists():
        raise ImageFileError(f"{path} does not exist")
    if not path.is_file():
        raise ImageFileError(f"{path} is not a file")
    if path.stat().st_size == 0:
        raise ImageFileError(f"{path} is empty (0 bytes)")
    with _one_line(path):
        if path.suffix.lower() == ".npy":
            picture = _read_npy(path, max_pixels)
        elif path.suffix.lower() == ".npz":
            picture = read_npz(path, max_pixels, window)
        elif is_dicom(path):
            picture = read_dicom(path, max_pixels, window, keep_identity)
        else:
            picture = _in_window(_read_image(path, max_pixels), window)
    if not torch.isfinite(picture.pixels).all():
        raise ImageFileError(f"{path} holds NaN or infinite values; mend or mask them first")
    return picture


def _read_image(path: Path, max_pixels: int) -> Picture:
    file = read_tiff(path, max_pixels) if _head(path, 4) in TIFF_SIGNATURES else None
    if file is None:
        file = _read_pillow(path, max_pixels)
    pixels, alpha = from_array(upright(file.array, file.orientation))
    kind = file.array.dtype
    depth: Depth = "float" if kind.kind == "f" else "8" if kind == np.uint8 else "16"
    return Picture(pixels, alpha, depth, file.metadata)


def _in_window(picture: Picture, window: tuple[float, float]) -> Picture:
    """A PNG that says which Hounsfield units are black and white, in units of the window."""
    texts = dict(picture.metadata.texts)
    try:
        low, high = (float(part) for part in texts.pop(WINDOW_KEY, "").split(","))
        shown = CT((low, high))
    except (ValueError, ConfigError):
        return picture
    ct = CT(window)
    return replace(
        picture,
        pixels=ct.unit(shown.hounsfield(picture.pixels)) if shown.window != ct.window else picture.pixels,
        metadata=replace(picture.metadata, texts=texts),
        ct=ct,
    )


def _read_pillow(path: Path, max_pixels: int) -> Decoded:
    with warnings.catch_warnings():
        # The limit is ours, checked below before a pixel is unpacked.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        opened = Image.open(path, formats=FORMATS)
    with opened as image:
        require_size(image.width, image.height, max_pixels)
        image.load()
        metadata = metadata_of(image)
        # Read after loading: Pillow turns TIFFs by itself, and then the tag is gone.
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
        if image.format == "PNG" and _png_bits(path) == 16:
            return Decoded(read_png16(path), metadata, orientation)
        array, profile = plain_array(image)
        return Decoded(array, replace(metadata, icc=profile), orientation)


def _png_bits(path: Path) -> int:
    return _head(path, 25)[24]


def _head(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _read_npy(path: Path, max_pixels: int) -> Picture:
    with path.open("rb") as file:
        shape, dtype = read_head(file, path.stat().st_size, "it")
    if dtype.kind not in "fiub":
        raise ImageFileError(f"{path} holds values of type {dtype}; real numbers are needed")
    if prod(shape) > max_pixels:
        raise ImageFileError(f"{path} of shape {shape} has more than the {max_pixels:,} values that are read")
    array = np.load(path, allow_pickle=False)
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        raise ImageFileError(
            f"{path} holds integers from {array.min()}, and a .npy has no place for their unit; for Hounsfield units "
            "save it as numpy.savez('slice.npz', hu=array)"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and `read` refuses that
        return Picture(torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)), None, "float")


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Whatever the decoders make of a damaged file becomes one line."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise ImageFileError(f"{path} is not a picture of a known format ({', '.join(FORMATS)})") from error
    except Image.DecompressionBombError as error:
        raise ImageFileError(f"{path} has more pixels than the {MAX_PIXELS:,} that are read") from error
    except MemoryError as error:
        raise ImageFileError(f"{path} is too large for this machine's memory") from error
    except (*DAMAGED, OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageFileError(f"cannot read {path}: {reason}") from error
