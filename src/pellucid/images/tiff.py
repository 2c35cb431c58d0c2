"""TIFF with 16 bits or floating point a channel."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from pellucid.errors import ImageFileError
from pellucid.images.picture import Depth, Metadata, Picture, to_array

PLAIN = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE, tifffile.PHOTOMETRIC.RGB)
TEXT_TAGS = (0x010F, 0x0110, 0x0132, 0x013B, 0x8298)  # make, model, date, artist, copyright


def read_tiff(path: Path) -> np.ndarray | None:
    """The first page, (h, w) or (h, w, c), uint16 or float32; None for what Pillow reads as well or better.

    Raises:
        ImageFileError: the values have no known white.
    """
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        if page.photometric not in PLAIN or page.dtype == np.uint8 or page.dtype == np.bool_:
            return None
        if page.dtype is None or page.dtype.kind not in "uf" or page.dtype.itemsize > 8:
            raise ImageFileError(f"{path} holds values of type {page.dtype}; save as 8 or 16 bits, or as float")
        try:
            array = page.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            warnings.warn(f"{path}: this compression is read with 8 bits a channel only", stacklevel=2)
            return None
        return _oriented(array, page)


def _oriented(array: np.ndarray, page: Any) -> np.ndarray:
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and array.ndim == 3:
        array = np.moveaxis(array, 0, 2)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] > 4):
        raise ImageFileError(f"a TIFF of shape {array.shape} is neither grey nor colour")
    if array.dtype.kind == "u":
        white = np.iinfo(array.dtype).max
        array = array if array.dtype == np.uint16 else np.rint(array / white * 65535).astype(np.uint16)
        return array if page.photometric != tifffile.PHOTOMETRIC.MINISWHITE else 65535 - array
    return array.astype(np.float32)


def write_tiff(path: Path, picture: Picture, depth: Depth, texts: dict[str, str]) -> None:
    """Deflated, not clipped if `depth` is "float"; the texts go into the description as JSON."""
    array, metadata = to_array(picture, depth), picture.metadata
    tifffile.imwrite(
        path,
        array,
        photometric="rgb" if picture.pixels.shape[0] == 3 else "minisblack",
        extrasamples=None if picture.alpha is None else ["unassalpha"],
        planarconfig="contig" if array.ndim == 3 else None,
        compression="zlib",
        predictor=depth != "float",
        iccprofile=metadata.icc,
        resolution=metadata.dpi,
        resolutionunit="INCH" if metadata.dpi else None,
        description=json.dumps(texts),
        metadata=None,
        software=False,
        extratags=_text_tags(metadata),
    )


def _text_tags(metadata: Metadata) -> list[tuple[int, int, int, str, bool]]:
    exif = Image.Exif()
    exif.load(metadata.exif or b"")
    ascii_only = ((tag, str(exif[tag])) for tag in TEXT_TAGS if tag in exif)
    return [(tag, 2, 0, text, True) for tag, text in ascii_only if text.isascii()]
