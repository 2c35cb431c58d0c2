"""DICOM files as pictures: Hounsfield units where they are CT, sorted along the body, frame by frame."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.errors import ConfigError
from pellucid.images.read import MAX_PIXELS
from pellucid.train.data.entry import Entry, Found, Refused, reason
from pellucid.train.data.volume import Slicing, cut

DICOM = {".dcm", ".dicom", ".ima"}
DEFLATED = "1.2.840.10008.1.2.1.99"  # the whole file is inflated before its header can be read, to any size
COMPRESSED = "1.2.840.10008.1.2.4"  # the transfer syntaxes of JPEG and its kin


def is_dicom(path: Path) -> bool:
    """By suffix; a file without one by the mark behind its preamble."""
    if path.suffix:
        return path.suffix.lower() in DICOM
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def series(paths: Sequence[Path], slicing: Slicing) -> Found:
    """The pictures of DICOM files, series by series, each sorted by position, else by instance number.

    Raises:
        ConfigError: pydicom is not installed.
    """
    found, groups = Found(), defaultdict(list)
    for path in paths:
        try:
            head = _read(path, pixels=False)
            rows, columns = int(head.Rows), int(head.Columns)
            frames = int(head.get("NumberOfFrames") or 1)
            if not 0 < rows * columns * frames <= MAX_PIXELS:
                raise Refused(f"{frames} frames of {columns} x {rows} pixels; at most {MAX_PIXELS:,} are read")
            if frames > 1:
                found.entries += cut(str(path), hounsfield(path), slicing, _spacing([head]))
            else:
                groups[str(head.get("SeriesInstanceUID", "")), rows, columns].append((path, head))
        except ConfigError:
            raise
        except Exception as error:  # pydicom raises anything; a damaged file must not end the training
            found.refused.append((str(path), reason(error)))
    for members in groups.values():
        _add(found, _sorted(members), slicing)
    return found


def _add(found: Found, members: list[tuple[Path, Any]], slicing: Slicing) -> None:
    """The pictures of one series, in order."""
    if slicing.planes == "axial":
        for run in slicing.kept(len(members)):
            found.entries += [Entry(str(members[k][0]), partial(hounsfield, members[k][0])) for k in run]
        return
    slices, heads = [], []
    for path, head in members:
        try:
            slices.append(hounsfield(path))
            heads.append(head)
        except Exception as error:  # as above
            found.refused.append((str(path), reason(error)))
    if slices:
        found.entries += cut(str(members[0][0].parent), np.stack(slices), slicing, _spacing(heads))


def hounsfield(path: Path) -> np.ndarray:
    """RescaleSlope v + RescaleIntercept, int16, (h, w) or (frames, h, w); MONOCHROME1 is inverted first.

    Colour of 8 bits comes as it is stored, (h, w, 3) uint8.

    Raises:
        Refused: the pixels, or the transfer syntax, are of a kind that is not read.
    """
    head = _read(path, pixels=True)
    kind = str(head.get("PhotometricInterpretation", "MONOCHROME2"))
    try:
        stored = np.asarray(head.pixel_array)
    except Exception as error:
        syntax = head.file_meta.TransferSyntaxUID
        if syntax.startswith(COMPRESSED):
            raise Refused(f"pydicom cannot decode its {syntax.name} here; pip install pylibjpeg[all]") from error
        raise
    if kind == "RGB" and stored.dtype == np.uint8 and stored.ndim == 3:
        return stored
    if not kind.startswith("MONOCHROME"):
        raise Refused(f"{kind} pixels of {stored.dtype}; MONOCHROME1, MONOCHROME2 and RGB of 8 bits are read")
    values = stored.astype(np.float32)
    if kind == "MONOCHROME1":  # small values are bright: count from the other end of what the stored bits can say
        bits = int(head.get("BitsStored", 16))
        values = (-1.0 if head.get("PixelRepresentation", 0) else 2.0**bits - 1) - values
    values = values * float(head.get("RescaleSlope", 1)) + float(head.get("RescaleIntercept", 0))
    return values.round().clip(-(2**15), 2**15 - 1).astype(np.int16)


def _read(path: Path, pixels: bool) -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise ConfigError("DICOM files need the extra: pip install 'pellucid[train]'") from error
    meta = pydicom.filereader.read_file_meta_info(path)
    if str(meta.get("TransferSyntaxUID", "")).strip(" \0") == DEFLATED:
        raise Refused("its transfer syntax is Deflated, which is not read; store it plainly: dcmconv +te IN OUT")
    return pydicom.dcmread(path, stop_before_pixels=not pixels)


def _position(head: Any) -> float | None:
    """Millimetres along the normal of the slice; None where the file does not say."""
    place, turn = head.get("ImagePositionPatient"), head.get("ImageOrientationPatient")
    if not place:
        return None
    normal = np.cross([float(v) for v in turn[:3]], [float(v) for v in turn[3:]]) if turn else np.array([0.0, 0.0, 1.0])
    return float(normal @ np.array([float(v) for v in place]))


def _sorted(members: list[tuple[Path, Any]]) -> list[tuple[Path, Any]]:
    places = [_position(head) for _, head in members]
    if any(place is None for place in places):
        places = [float(head.get("InstanceNumber") or 0) for _, head in members]
    order = sorted(range(len(members)), key=lambda k: (places[k], str(members[k][0])))
    return [members[k] for k in order]


def _spacing(heads: list[Any]) -> tuple[float, float, float] | None:
    """Millimetres along (z, y, x), between slices from their positions; None where the files do not say."""
    pixel = heads[0].get("PixelSpacing")
    if not pixel:
        return None
    places = [place for place in map(_position, heads) if place is not None]
    steps = np.abs(np.diff(places))
    declared = heads[0].get("SpacingBetweenSlices") or heads[0].get("SliceThickness")
    between = float(np.median(steps)) if len(steps) and np.median(steps) > 0 else float(declared or pixel[0])
    return between, float(pixel[0]), float(pixel[1])
