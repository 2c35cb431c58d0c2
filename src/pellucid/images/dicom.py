"""DICOM slices read: Hounsfield units by slope and intercept, and where the slice lies. Errors are `ValueError`s."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pellucid.errors import ConfigError, PellucidError
from pellucid.images.ct import CT, Geometry
from pellucid.images.decoded import require_size
from pellucid.images.identity import identity_of
from pellucid.images.picture import Picture
from pellucid.images.uids import stand_in

DICOM = {".dcm", ".dicom", ".ima"}
DEFLATED = "1.2.840.10008.1.2.1.99"  # the whole file is inflated before its header can be read, to any size
COMPRESSED = "1.2.840.10008.1.2.4"  # the transfer syntaxes of JPEG and its kin
MAKER = "pellucid"  # what files written here name as their manufacturer
LARGEST = 1e20  # slope and intercept: far beyond any scanner's, and no product with 32 bits overflows
AIR, LOWEST = -1000, -1024  # HU: below what scanners measure lies what they fill the corners with


def is_dicom(path: Path) -> bool:
    """By suffix; a file without one, or one named by its identifier, by the mark behind its preamble."""
    if path.suffix and not path.suffix[1:].isdigit():
        return path.suffix.lower() in DICOM
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_dicom(path: Path, max_pixels: int, window: tuple[float, float], keep_identity: bool = False) -> Picture:
    """A CT slice, (1, h, w) in units of the window; nothing is clipped, and padding (below -1024 HU) becomes air.

    Args:
        path: one slice.
        max_pixels: larger ones are refused before they are unpacked.
        window: Hounsfield units of 0 and 1.
        keep_identity: also read whose it is.

    Raises:
        ValueError: no DICOM, several frames, no CT, a compression that cannot be decoded, damaged.
        ConfigError: pydicom is not installed.
    """
    if path.stat().st_size > 16 * max_pixels:
        raise ValueError(f"{path.stat().st_size:,} bytes are more than a slice of {max_pixels:,} pixels has")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's quote what they complain of, which may be a name
            head = _ct_head(path, max_pixels)
            hu = hounsfield(path).astype(np.float32)
            identity = identity_of(head) if keep_identity else None
            geometry = _geometry(head, *hu.shape[-2:])
    except (PellucidError, ValueError, OSError, MemoryError):
        raise
    except Exception as error:  # pydicom raises anything
        if type(error).__name__ == "InvalidDicomError":
            raise ValueError("it has no DICOM mark behind its preamble; is it a DICOM file?") from error
        raise ValueError(f"it is damaged ({type(error).__name__})") from error
    if str(head.get("Manufacturer", "")) != MAKER:  # there noise goes as low as it does
        hu[hu < LOWEST] = AIR
    ct = CT(window, geometry, identity)
    return Picture(ct.unit(torch.from_numpy(hu))[None], None, "float", ct=ct)


def _ct_head(path: Path, max_pixels: int) -> Any:
    """The attributes of a file that holds one slice in Hounsfield units. Raises `ValueError` for any other."""
    head = read_attributes(path, pixels=False)
    rows, columns, frames = (int(head.get(name) or 0) for name in ("Rows", "Columns", "NumberOfFrames"))
    if frames > 1:
        raise ValueError(f"it holds {frames} frames; one slice at a time is read, so save each as a file of its own")
    if not (rows and columns):
        raise ValueError("it holds no picture (no Rows and Columns)")
    require_size(columns, rows, max_pixels)
    modality, unit = str(head.get("Modality", "")), str(head.get("RescaleType", "") or "HU")
    if modality != "CT" or unit != "HU":
        what = f"its modality is {modality or 'not said'!s:.16}" if modality != "CT" else f"its values are {unit:.16}"
        raise ValueError(f"{what}, and only CT has Hounsfield units; export it as a 16-bit PNG to take it as a picture")
    if not str(head.get("PhotometricInterpretation", "")).startswith("MONOCHROME"):
        raise ValueError("it is no grey slice (MONOCHROME1 or MONOCHROME2); export it as a PNG to take it as a picture")
    if head.get("RescaleIntercept") is None or head.get("RescaleSlope") is None:
        raise ValueError("it has no RescaleSlope and RescaleIntercept, so its Hounsfield units are not known")
    return head


def hounsfield(path: Path) -> np.ndarray:
    """RescaleSlope v + RescaleIntercept, int16, (h, w) or (frames, h, w).

    MONOCHROME1 says how values are shown, not what they are (PS3.3 C.7.6.3.1.2), so CT is the same with and without.
    X-rays, whose values have no unit, are pictures of what is shown: there it is inverted first. Colour of 8 bits comes
    as it is stored, (h, w, 3) uint8.

    Raises:
        ValueError: the pixels, or the transfer syntax, are of a kind that is not read; slope or intercept is no number.
    """
    head = read_attributes(path, pixels=True)
    slope, intercept = float(head.get("RescaleSlope", 1)), float(head.get("RescaleIntercept", 0))
    if not (1 / LARGEST <= abs(slope) <= LARGEST and abs(intercept) <= LARGEST):
        raise ValueError(
            f"its RescaleSlope is {slope:g} and its RescaleIntercept {intercept:g}; finite numbers are needed, and a "
            "slope other than 0"
        )
    kind = str(head.get("PhotometricInterpretation", "MONOCHROME2"))
    try:
        stored = np.asarray(head.pixel_array)
    except Exception as error:
        syntax = head.file_meta.TransferSyntaxUID
        if syntax.startswith(COMPRESSED):
            raise ValueError(f"pydicom cannot decode its {syntax.name} here; pip install pylibjpeg[all]") from error
        raise
    if kind == "RGB" and stored.dtype == np.uint8 and stored.ndim == 3:
        return stored
    if not kind.startswith("MONOCHROME"):
        raise ValueError(f"{kind} pixels of {stored.dtype}; MONOCHROME1, MONOCHROME2 and RGB of 8 bits are read")
    values = stored.astype(np.float32)
    if kind == "MONOCHROME1" and head.get("Modality") != "CT":
        # Small values are bright: count from the other end of what the stored bits can say.
        bits = int(head.get("BitsStored", 16))
        values = (-1.0 if head.get("PixelRepresentation", 0) else 2.0**bits - 1) - values
    values = values * slope + intercept
    return values.round().clip(-(2**15), 2**15 - 1).astype(np.int16)


def read_attributes(path: Path, pixels: bool) -> Any:
    """The file as a pydicom dataset, with or without its pixel data.

    Raises:
        ValueError: it is deflated.
        ConfigError: pydicom is not installed.
    """
    require_pydicom()
    import pydicom

    meta = pydicom.filereader.read_file_meta_info(path)
    if str(meta.get("TransferSyntaxUID", "")).strip(" \0") == DEFLATED:
        raise ValueError("its transfer syntax is Deflated, which is not read; store it plainly: dcmconv +te IN OUT")
    return pydicom.dcmread(path, stop_before_pixels=not pixels)


def made_here(path: Path) -> bool:
    """Whether a file is a result that pellucid wrote as DICOM; what cannot be read is not.

    Raises:
        ConfigError: pydicom is not installed.
    """
    require_pydicom()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as above
            head = read_attributes(path, pixels=False)
            return str(head.get("Manufacturer", "")) == MAKER and "DERIVED" in (head.get("ImageType") or ())
    except Exception:  # pydicom raises anything
        return False


def require_pydicom() -> None:
    """Raises `ConfigError` where pydicom is not installed."""
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise ConfigError("DICOM files need the extra: pip install 'pellucid[train]'") from error


def _geometry(head: Any, rows: int, columns: int) -> Geometry:
    """What the file says of where the slice lies; an attribute that is missing or empty is None."""

    def numbers(name: str) -> Any:
        value = head.get(name)
        return None if value is None or value == "" or (isinstance(value, str) and not value) else value

    series, frame = (str(head.get(name) or "") or None for name in ("SeriesInstanceUID", "FrameOfReferenceUID"))
    thickness, instance = numbers("SliceThickness"), numbers("InstanceNumber")
    return Geometry(
        rows,
        columns,
        numbers("PixelSpacing"),
        numbers("ImagePositionPatient"),
        numbers("ImageOrientationPatient"),
        None if thickness is None else float(thickness),
        None if frame is None else stand_in("frame", frame),
        None if series is None else stand_in("series", series),
        None if instance is None else int(instance),
    )
