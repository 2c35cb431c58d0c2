"""CT results as DICOM: marked as made by software, with the source's geometry, and nobody's unless that was asked for.

Every attribute is set here by name; nothing is copied from a source but the geometry (`pellucid.images.ct`) and, where
it was asked for, the identity (`pellucid.images.identity`). Reference: DICOM PS3.3, A.8.1 (Secondary Capture),
C.7.6.1 (ImageType), C.7.6.2 (Image Plane), C.11.1 (Modality LUT).
"""

from __future__ import annotations

import re
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.images.ct import CT, Geometry
from pellucid.images.dicom import MAKER
from pellucid.images.identity import put
from pellucid.images.picture import Picture
from pellucid.images.uids import new_uid, stand_in

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # no reader takes it for what a scanner made
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
SPREAD = "standard deviation"
EMPTY = (  # attributes that every file must have, with or without a value
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
    "SeriesNumber",
    "InstanceNumber",
    "PatientOrientation",
)


def write_dicom(path: Path, picture: Picture, texts: dict[str, str], window: tuple[float, float] | None) -> None:
    """Writes a CT picture (1, h, w): int16 Hounsfield units with slope 1, or those of a standard deviation.

    Args:
        path: to write to.
        picture: with its `ct`; what lies beyond 16 bits is clipped.
        texts: "Description" becomes the derivation's, "pellucid:notice" the comment; "pellucid:what" says which series
            it is of: a mean, each of several samples and the standard deviation have one each.
        window: (low, high) in HU that viewers open it with; None: of the picture's `ct`.
    """
    ct = picture.ct
    assert ct is not None
    dataset = _dataset(path)
    spread = picture.quantity == "spread"
    part = _part(texts, spread)
    hu = (ct.spread if spread else ct.hounsfield)(picture.pixels[0].detach().cpu().double()).numpy()
    _put_pixels(dataset, np.rint(hu).clip(-(2**15), 2**15 - 1).astype("<i2"))
    low, high = (0.0, max(float(hu.max()), 1.0)) if spread else window or ct.window
    dataset.VOILUTFunction = "LINEAR_EXACT"
    dataset.WindowCenter, dataset.WindowWidth = _decimal((low + high) / 2), _decimal(high - low)
    for name in EMPTY:
        setattr(dataset, name, "")
    series = None if ct.geometry is None else ct.geometry.series
    dataset.StudyInstanceUID = stand_in("derived study", series)
    dataset.SeriesInstanceUID = stand_in(f"derived series {part}", series)
    if ct.geometry is not None:
        _put_geometry(dataset, ct.geometry)
    _put_description(dataset, texts, part)
    _put_identity(dataset, ct)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's quote what they complain of
        _save(dataset, path)


def _dataset(path: Path) -> Any:
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta: Any = FileMetaDataset()
    meta.TransferSyntaxUID = EXPLICIT_LITTLE
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SECONDARY_CAPTURE, new_uid()
    dataset = FileDataset(
        str(path), {}, file_meta=meta, preamble=bytes(128), is_implicit_VR=False, is_little_endian=True
    )
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = SECONDARY_CAPTURE, meta.MediaStorageSOPInstanceUID
    dataset.ImageType, dataset.ConversionType, dataset.Modality = ["DERIVED", "SECONDARY"], "WSD", "CT"
    dataset.Manufacturer, dataset.ManufacturerModelName = MAKER, MAKER
    dataset.SoftwareVersions = version("pellucid")
    return dataset


def _put_pixels(dataset: Any, stored: np.ndarray) -> None:
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "HU"
    dataset.PixelData = stored.tobytes()


def _put_geometry(dataset: Any, geometry: Geometry) -> None:
    lists = {
        "PixelSpacing": geometry.spacing,
        "ImagePositionPatient": geometry.position,
        "ImageOrientationPatient": geometry.orientation,
    }
    for name, values in lists.items():
        if values is not None:
            setattr(dataset, name, [_decimal(value) for value in values])
    if geometry.thickness is not None:
        dataset.SliceThickness = _decimal(geometry.thickness)
    if geometry.frame is not None:
        dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = geometry.frame, ""
    if geometry.instance is not None:
        dataset.InstanceNumber = geometry.instance


def _part(texts: dict[str, str], spread: bool) -> str:
    """Which of the results of one slice it is, "" for the only one.

    Viewers stack what has one series, by position and number, which all results of a slice share. How many samples
    there were does not count: the slices of a volume stay together where the time ran out for some.
    """
    if spread:
        return SPREAD
    found = re.match(r"mean|sample \d{1,9}", texts.get("pellucid:what", ""))
    return found[0] if found else ""


def _put_description(dataset: Any, texts: dict[str, str], part: str) -> None:
    made = f"{texts.get('Description', 'Made by pellucid')}; not for diagnosis"
    made = f"Standard deviation, no anatomy. {made}" if part == SPREAD else made
    dataset.DerivationDescription = made if len(made) <= 1024 else f"{made[:990]}...; not for diagnosis"
    dataset.SeriesDescription = f"pellucid {part}".strip() + ", not for diagnosis"
    if notice := texts.get("pellucid:notice"):
        dataset.ImageComments = notice


def _put_identity(dataset: Any, ct: CT) -> None:
    if ct.identity is not None:
        put(dataset, ct.identity)
        return
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "pellucid: geometry copied, nothing else"


def _decimal(value: float) -> str:
    """At most 16 characters, as DICOM's decimal strings have them."""
    for digits in range(16, 4, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            break
    return text


def _save(dataset: Any, path: Path) -> None:
    import pydicom

    if int(pydicom.__version__.split(".")[0]) >= 3:
        dataset.save_as(path, enforce_file_format=True)
    else:
        dataset.save_as(path, write_like_original=False)
