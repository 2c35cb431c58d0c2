"""TIFF with 16 bits or floating point a channel."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from pellucid.images.decoded import Decoded, require_size
from pellucid.images.orientation import ORIENTATION_TAG
from pellucid.images.picture import Depth, Metadata, Picture, to_array

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PLAIN = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE, tifffile.PHOTOMETRIC.RGB)
TEXT_TAGS = (0x010F, 0x0110, 0x0132, 0x013B, 0x8298)  # make, model, date, artist, copyright


def read_tiff(path: Path, max_pixels: int) -> Decoded | None:
    """The first page, as uint16 or float32; None for what Pillow reads as well or better.

    Raises:
        ValueError: the values have no known white, or the picture is too large.
    """
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages.first
        if page.photometric not in PLAIN or page.dtype in (np.uint8, np.bool_):
            return None
        if page.dtype is None or page.dtype.kind not in "uf":
            raise ValueError(f"values of type {page.dtype} have no known white; save as 8 or 16 bits, or as float")
        require_size(page.imagewidth, page.imagelength, max_pixels)
        try:
            array = page.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            warnings.warn(f"{path}: this compression is read with 8 bits a channel only", stacklevel=2)
            return None
        orientation = page.tags.valueof(ORIENTATION_TAG, 1)
        return Decoded(_plain(array, page), _metadata(page), int(orientation))


def _metadata(page: Any) -> Metadata:
    exif = Image.Exif()
    for tag in TEXT_TAGS:
        if isinstance(value := page.tags.valueof(tag), str):
            exif[tag] = value
    inches = {2: 1.0, 3: 2.54}.get(int(page.tags.valueof(296, 2)))
    resolution = [page.tags.valueof(tag) for tag in (282, 283)]
    dpi = None
    if inches and all(value and value[0] and value[1] for value in resolution):
        dpi = (resolution[0][0] / resolution[0][1] * inches, resolution[1][0] / resolution[1][1] * inches)
    return Metadata(page.tags.valueof(34675), exif.tobytes() if len(exif) else None, dpi)


def _plain(array: np.ndarray, page: Any) -> np.ndarray:
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and array.ndim == 3:
        array = np.moveaxis(array, 0, 2)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] > 4):
        raise ValueError(f"a TIFF of shape {array.shape} is neither grey nor colour")
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
