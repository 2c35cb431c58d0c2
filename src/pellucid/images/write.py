"""Writing: by suffix, whole or not at all, with the metadata that belongs to the picture and the texts given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pellucid.errors import ImageFileError
from pellucid.images.arrays import write_npz
from pellucid.images.atomic import replacing
from pellucid.images.derived import write_dicom
from pellucid.images.dicom import require_pydicom
from pellucid.images.picture import Depth, Picture, to_array
from pellucid.images.png import encode_png16
from pellucid.images.read import WINDOW_KEY
from pellucid.images.tiff import write_tiff

FORMATS = {
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".npy": "NPY",
    ".npz": "NPZ",
    ".dcm": "DICOM",
}
DEPTHS: dict[str, tuple[Depth, ...]] = {
    "PNG": ("8", "16"),
    "TIFF": ("8", "16", "float"),
    "JPEG": ("8",),
    "WEBP": ("8",),
    "NPY": ("float",),
    "NPZ": ("float",),
    "DICOM": ("16",),
}
SHOWN = ("PNG", "JPEG", "WEBP", "DICOM")  # formats to look at, through a window of Hounsfield units


def choose_depth(path: Path, source: Depth, wanted: str = "auto") -> Depth:
    """The depth to write with: as asked, or the format's nearest to the source's that loses nothing if it can.

    Raises:
        ImageFileError: an unknown suffix, or a depth that the format does not have.
    """
    allowed = DEPTHS[_format(path)]
    if wanted == "auto":
        return source if source in allowed else allowed[-1]
    for depth in allowed:
        if depth == wanted:
            return depth
    raise ImageFileError(f"{path.name}: {_format(path)} holds {' or '.join(allowed)}, not {wanted}")


def require_writable(path: Path, *, is_image: bool, has_alpha: bool, is_ct: bool = False, channels: int = 1) -> None:
    """Finds out before any work whether this kind of picture can go into this kind of file.

    Raises:
        ImageFileError: it cannot.
    """
    kind = _format(path)
    if not is_image and kind not in ("NPY", "NPZ"):
        raise ImageFileError(f"{path.name}: this measurement is no picture; write it to a .npy or .npz file")
    if kind == "DICOM":
        require_pydicom()
        if not is_ct or channels != 1:
            raise ImageFileError(
                f"{path.name}: DICOM is written of grey CT, whose Hounsfield units are known; begin with a DICOM file "
                "or an .npz with hu, take a prior of CT (--prior ct), or write a .png"
            )
    if has_alpha and kind == "JPEG":
        raise ImageFileError(f"{path.name}: JPEG holds no transparency, which this picture has; write a .png")


def require_window(path: Path, window: tuple[float, float] | None, *, is_ct: bool) -> None:
    """Finds out before any work whether a window of Hounsfield units can be laid over what is written.

    Raises:
        ImageFileError: it cannot.
    """
    if window is None:
        return
    if _format(path) not in SHOWN:
        raise ImageFileError(
            f"{path.name}: --window is for formats to look at (.png, .jpg, .webp, .dcm), and {_format(path)} keeps "
            "all values"
        )
    if not is_ct:
        raise ImageFileError(
            f"{path.name}: --window is in Hounsfield units, and this picture has none; begin with a DICOM file or an "
            ".npz with hu, or take a prior of CT (--prior ct)"
        )


def write(
    path: Path,
    picture: Picture,
    depth: Depth,
    texts: dict[str, str] | None = None,
    window: tuple[float, float] | None = None,
) -> None:
    """Writes beside `path` and renames.

    Args:
        path: the suffix says the format.
        picture: integers are clipped to [0, 1]; floating-point files hold the values as they are.
        depth: as `choose_depth` says.
        texts: written as comments, where the format has them.
        window: Hounsfield units of black and white, for CT in formats to look at; None: of the picture's `ct`.

    Raises:
        ImageFileError: the system refuses, or the format cannot hold the picture.
    """
    require_writable(
        path,
        is_image=picture.is_image,
        has_alpha=picture.alpha is not None,
        is_ct=picture.ct is not None,
        channels=picture.pixels.shape[0] if picture.is_image else 0,
    )
    require_window(path, window, is_ct=picture.ct is not None)
    texts = {**picture.metadata.texts, **(texts or {})}
    with replacing(path) as partial:
        kind = _format(path)
        if kind == "NPY":
            np.save(partial, picture.pixels.detach().cpu().numpy())
        elif kind == "NPZ":
            write_npz(partial, picture, texts)
        elif kind == "DICOM":
            write_dicom(partial, picture, texts, window)
        elif kind == "TIFF":
            write_tiff(partial, picture, depth, texts)
        elif picture.ct is not None and picture.quantity == "picture":
            black, white = window or picture.ct.window
            shown = replace(picture, pixels=picture.ct.shown(picture.pixels, (black, white)))
            _write_pillow(partial, shown, kind, depth, {**texts, WINDOW_KEY: f"{black:g},{white:g}"})
        else:
            _write_pillow(partial, picture, kind, depth, texts)


def _write_pillow(path: Path, picture: Picture, kind: str, depth: Depth, texts: dict[str, str]) -> None:
    array, metadata = to_array(picture, depth), picture.metadata
    options: dict[str, Any] = {"icc_profile": metadata.icc, "exif": metadata.exif, "dpi": metadata.dpi}
    options = {key: value for key, value in options.items() if value is not None}
    if kind == "PNG":
        options["pnginfo"] = _png_texts(texts)
    elif kind == "JPEG":
        options |= {"quality": 95, "subsampling": 0, "comment": _one_comment(texts)}
    else:
        options |= {"lossless": True}
    if depth == "16":
        # Pillow has no 16-bit colour: it writes everything but the pixels, for a picture of one pixel.
        _write_png16(path, array, options)
    else:
        Image.fromarray(array).save(path, kind, **options)


def _write_png16(path: Path, array: np.ndarray, options: dict[str, Any]) -> None:
    Image.new("L" if array.ndim == 2 else "RGB", (1, 1)).save(path, "PNG", **options)
    shell = path.read_bytes()
    first, data = shell.index(b"IHDR") - 4, shell.index(b"IDAT") - 4
    between = shell[first + 25 : data]
    pixels = encode_png16(array)
    path.write_bytes(shell[:first] + pixels[:25] + between + pixels[25:])


def _png_texts(texts: dict[str, str]) -> PngInfo:
    info = PngInfo()
    for key, value in texts.items():
        info.add_text(key, value) if value.isascii() else info.add_itxt(key, value)
    return info


def _one_comment(texts: dict[str, str]) -> bytes:
    return "\n".join(f"{key}: {value}" for key, value in texts.items()).encode()[:65000]


def _format(path: Path) -> str:
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise ImageFileError(f"{path.name}: the suffix must be one of {', '.join(FORMATS)}") from None
