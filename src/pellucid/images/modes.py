"""Pillow's many modes as plain grey or colour arrays."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms

GREY = {"1": "L", "L": "L", "LA": "LA", "La": "LA"}


def plain_array(image: Image.Image) -> tuple[np.ndarray, bytes | None]:
    """(h, w) or (h, w, c) of uint8, uint16 or float32, alpha last, and the profile that the colours are in.

    Raises:
        ValueError: the values have no known white.
    """
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16), profile
    if image.mode == "F":
        return np.asarray(image), profile
    if image.mode == "I":
        return _integers(image), profile
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        return _to_rgb(image, profile)
    if image.mode in GREY and "transparency" not in image.info:
        return np.asarray(image.convert(GREY[image.mode])), profile
    return np.asarray(image.convert(_with_or_without_alpha(image))), profile


def _with_or_without_alpha(image: Image.Image) -> str:
    clear = image.has_transparency_data
    if image.mode in GREY:
        return "LA" if clear else "L"
    return "RGBA" if clear else "RGB"


def _integers(image: Image.Image) -> np.ndarray:
    """Mode I is 16 bits in most files that have it; anything beyond has no known white."""
    array = np.asarray(image)
    if array.min() < 0 or array.max() > 65535:
        raise ValueError(f"integer values from {array.min()} to {array.max()} have no known white; save as 16 bits")
    return array.astype(np.uint16)


def _to_rgb(image: Image.Image, profile: bytes | None) -> tuple[np.ndarray, bytes | None]:
    """To sRGB through the embedded profile where there is one that works; without, by Pillow's plain formula."""
    if profile and image.mode in ("CMYK", "LAB"):
        try:
            srgb: Any = ImageCms.createProfile("sRGB")
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
            return np.asarray(converted), ImageCms.ImageCmsProfile(srgb).tobytes()
        except ImageCms.PyCMSError:
            pass  # a damaged profile must not cost the picture
    return np.asarray(image.convert("RGB")), None
