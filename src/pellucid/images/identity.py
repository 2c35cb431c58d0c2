"""Whose a CT slice is: read where that was asked for, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from pellucid.images.uids import is_uid

# The attributes of patient and study that --keep-identity copies. What is not here is not copied, whatever there is:
# private tags, institutions, physicians other than the referring one, comments, other identifiers.
PATIENT = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
)
STUDY = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
    "StudyDescription",
)
UIDS = ("StudyInstanceUID", "FrameOfReferenceUID", "SOPClassUID", "SOPInstanceUID")
NEEDED = "StudyInstanceUID"


def identity_of(head: Any) -> Mapping[str, str]:
    """The attributes of `PATIENT` and `STUDY`, and the identifiers, that a pydicom dataset has.

    Raises:
        ValueError: an identifier is none, or another attribute cannot be written again.
    """
    values = {name: _text(head.get(name)) for name in (*PATIENT, *STUDY, *UIDS)}
    found = {name: value for name, value in values.items() if value}
    for name in UIDS:
        if name in found and not is_uid(found[name]):
            raise ValueError(f"its {name} is no DICOM identifier, so --keep-identity cannot copy it")
    if NEEDED not in found:
        raise ValueError(f"it has no {NEEDED}, which --keep-identity copies")
    _require_writable(found)
    return found


def put(dataset: Any, identity: Mapping[str, str]) -> None:
    """Copies patient, study and the reference to the source into a pydicom dataset."""
    for name in (*PATIENT, *STUDY, "StudyInstanceUID", "FrameOfReferenceUID"):
        if name in identity:
            setattr(dataset, name, identity[name])
    if "SOPClassUID" in identity and "SOPInstanceUID" in identity:
        from pydicom.dataset import Dataset

        source = Dataset()
        source.ReferencedSOPClassUID = identity["SOPClassUID"]
        source.ReferencedSOPInstanceUID = identity["SOPInstanceUID"]
        dataset.SourceImageSequence = [source]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return "\\".join(map(str, value)) if isinstance(value, list | tuple) or hasattr(value, "append") else str(value)


def _require_writable(found: Mapping[str, str]) -> None:
    """Found out now, not after minutes of reconstruction."""
    from pydicom.dataset import Dataset
    from pydicom.filebase import DicomFileLike
    from pydicom.filewriter import write_dataset

    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    try:
        put(dataset, found)
        buffer: Any = DicomFileLike(BytesIO())
        buffer.is_little_endian, buffer.is_implicit_VR = True, False
        write_dataset(buffer, dataset)
    except Exception as error:  # pydicom raises anything, and its texts quote the values
        raise ValueError(
            "its patient or study attributes break DICOM's rules, so --keep-identity cannot copy them"
        ) from error
