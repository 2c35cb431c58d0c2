"""What is kept of a file's metadata, and what is not."""

from __future__ import annotations

from typing import Any

from PIL import Image

from pellucid.images.picture import Metadata

# Tags of the first EXIF directory that describe the scene and its author. The others describe the file (strips,
# compression, orientation) and would be wrong in another file.
DESCRIPTIVE = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
# Width, height and the interoperability pointer of the original file.
FILE_TAGS = (0xA002, 0xA003, 0xA005)


def metadata_of(image: Image.Image) -> Metadata:
    """The profile, descriptive EXIF, resolution and comments of an opened file."""
    return Metadata(_icc(image), _exif(image), _dpi(image.info.get("dpi")), _texts(image))


def _icc(image: Image.Image) -> bytes | None:
    profile = image.info.get("icc_profile")
    return bytes(profile) if profile else None


def _exif(image: Image.Image) -> bytes | None:
    source, kept = image.getexif(), Image.Exif()
    for tag in DESCRIPTIVE:
        if tag in source:
            kept[tag] = source[tag]
    for ifd in (EXIF_IFD, GPS_IFD):
        if tags := {tag: value for tag, value in source.get_ifd(ifd).items() if tag not in FILE_TAGS}:
            kept[ifd] = tags
    return kept.tobytes() if len(kept) else None


def _dpi(value: Any) -> tuple[float, float] | None:
    try:
        x, y = (float(v) for v in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if x > 0 and y > 0 else None


def _texts(image: Image.Image) -> dict[str, str]:
    if image.format != "PNG":
        return {}
    return {key: str(value) for key, value in getattr(image, "text", {}).items() if not key.startswith("XML:")}
