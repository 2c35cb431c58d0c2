"""CT slices as scanners write them, made here by pydicom: with a patient, a study, and private attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

# Whatever of these is found in an output without --keep-identity has leaked.
SECRETS = {
    "PatientName": "Mustermann^Erika",
    "PatientID": "PID-4711",
    "PatientBirthDate": "19640812",
    "OtherPatientIDs": "OTHER-99",
    "PatientAddress": "Heidestrasse 17",
    "InstitutionName": "St. Elsewhere",
    "InstitutionAddress": "Elsewhere 1",
    "ReferringPhysicianName": "House^Gregory",
    "PerformingPhysicianName": "Wilson^James",
    "OperatorsName": "Chase^Robert",
    "AccessionNumber": "ACC-0815",
    "StudyID": "STUDY-7",
    "StudyDate": "20210304",
    "StudyTime": "121314",
    "SeriesDate": "20210305",
    "AcquisitionDate": "20210306",
    "ContentDate": "20210307",
    "StudyDescription": "Thorax of E. M.",
    "SeriesDescription": "Series of E. M.",
    "ImageComments": "Erika again",
    "StationName": "CT-ROOM-5",
    "DeviceSerialNumber": "SN-31415",
    "ProtocolName": "Protocol Erika",
    "StudyInstanceUID": "1.2.840.113619.2.55.20210304.1",
    "SeriesInstanceUID": "1.2.840.113619.2.55.20210304.2",
    "FrameOfReferenceUID": "1.2.840.113619.2.55.20210304.3",
    "SOPInstanceUID": "1.2.840.113619.2.55.20210304.4",
}
NAMES = ("Mustermann", "Erika", "House", "Wilson", "Elsewhere")
PRIVATE = "private note on Erika"


def write_slice(path: Path, hu: np.ndarray, **fields: Any) -> Path:
    """A slice of signed Hounsfield units, stored as unsigned values from -1024, with everything in `SECRETS`."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    meta: Any = FileMetaDataset()
    meta.TransferSyntaxUID = fields.pop("syntax", ExplicitVRLittleEndian)
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = fields.get("SOPInstanceUID", SECRETS["SOPInstanceUID"])
    file: Any = FileDataset(
        str(path), {}, file_meta=meta, preamble=bytes(128), is_implicit_VR=False, is_little_endian=True
    )
    file.SpecificCharacterSet, file.SOPClassUID, file.Modality = "ISO_IR 192", CTImageStorage, "CT"
    for name, value in SECRETS.items():
        setattr(file, name, value)
    block = file.private_block(0x0019, "MAKER", create=True)
    block.add_new(0x10, "LO", PRIVATE)
    file.Rows, file.Columns = hu.shape[-2:]
    if hu.ndim == 3:
        file.NumberOfFrames = len(hu)
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
    file.PixelSpacing, file.SliceThickness, file.InstanceNumber = [0.75, 0.5], 2.5, 12
    file.ImagePositionPatient, file.ImageOrientationPatient = [-100.0, -80.5, 37.25], [1, 0, 0, 0, 0.8, -0.6]
    file.RescaleSlope, file.RescaleIntercept = 1, -1024
    file.PixelData = (hu.astype(int) + 1024).astype("<u2").tobytes()
    for name, value in fields.items():
        if value is None:
            delattr(file, name)
        else:
            setattr(file, name, value)
    if meta.TransferSyntaxUID.is_compressed:
        file["PixelData"].is_undefined_length = True
    file.save_as(path)
    return path


def body(height: int = 32, width: int = 48) -> np.ndarray:
    """Air, an ellipse of tissue, lungs and a bright bone: whole Hounsfield units inside the window."""
    y, x = np.mgrid[:height, :width]
    r = np.hypot((y - height / 2) / (0.45 * height), (x - width / 2) / (0.45 * width))
    hu = np.where(r < 1, 40, -1000)
    hu = np.where((r < 0.6) & (abs(x - width / 2) > width / 10), -820, hu)
    hu = np.where(np.hypot(y - 0.75 * height, x - width / 2) < 3, 700, hu)
    return (hu + (3 * y + 5 * x) % 17).clip(-1000, 1000).astype(np.int16)


def leaks(data: bytes) -> list[str]:
    """Which secrets are in the bytes of a file, or of anything else."""
    texts = [*SECRETS.values(), *NAMES, PRIVATE]
    return sorted({text for text in texts if text.encode() in data or text.encode("utf-16-le") in data})
