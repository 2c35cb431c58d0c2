"""DICOM files, written here by pydicom: units, order, planes, and what cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pellucid.train.data import CT_WINDOW, open_source

pydicom = pytest.importorskip("pydicom")


def write(path: Path, stored: np.ndarray, position: float | None = None, **fields: Any) -> Path:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = fields.pop("syntax", ExplicitVRLittleEndian)
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    file.SeriesInstanceUID = "1.2.3"
    file.Rows, file.Columns = stored.shape[-2:]
    if stored.ndim == 3:
        file.NumberOfFrames = len(stored)
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 12, 11
    file.PixelRepresentation = int(stored.dtype.kind == "i")
    file.PixelSpacing = [1.5, 1.5]
    file.RescaleSlope, file.RescaleIntercept = 1, -1024
    if position is not None:
        file.ImagePositionPatient, file.ImageOrientationPatient = [0, 0, position], [1, 0, 0, 0, 1, 0]
    file.PixelData = stored.tobytes()
    for name, value in fields.items():
        setattr(file, name, value)
    if meta.TransferSyntaxUID.is_compressed:
        file["PixelData"].is_undefined_length = True
    file.save_as(path, enforce_file_format=True) if hasattr(pydicom, "examples") else file.save_as(path, False)
    return path


def flat(value: int) -> np.ndarray:
    return np.full((64, 72), value, np.uint16)


def test_stored_values_become_hounsfield_units(tmp_path: Path) -> None:
    stored = np.arange(64 * 72, dtype=np.uint16).reshape(64, 72) % 4096
    path = write(tmp_path / "a.dcm", stored, RescaleSlope=2, RescaleIntercept=-1000)
    source = open_source(path, channels=1, window=CT_WINDOW)
    assert source.raw(0).dtype == np.int16
    assert np.array_equal(source.raw(0), 2 * stored.astype(int) - 1000)


def test_a_series_is_sorted_by_position_then_by_number(tmp_path: Path) -> None:
    for name, position in (("a", 30.0), ("b", -5.0), ("c", 12.5)):
        write(tmp_path / f"{name}.dcm", flat(1024 + int(position)), position)
    source = open_source(tmp_path, window=CT_WINDOW)
    assert [int(source.raw(k)[0, 0]) for k in range(3)] == [-5, 12, 30]
    assert [int(v) for v in open_source(tmp_path, window=CT_WINDOW, z_range=(1, 3)).raw(0)[0, :2]] == [12, 12]
    other = tmp_path / "other"
    other.mkdir()
    for name, number in (("a", 7), ("b", 2)):
        write(other / name, flat(1000 + number), InstanceNumber=number)  # without a suffix: known by its mark
    source = open_source(other, window=CT_WINDOW)
    assert [int(source.raw(k)[0, 0]) for k in range(2)] == [-22, -17]


def test_planes_of_a_series_take_its_spacing(tmp_path: Path) -> None:
    for k in range(30):
        write(tmp_path / f"{k}.dcm", flat(1024 + k), 3.0 * k)
    source = open_source(tmp_path, channels=1, window=CT_WINDOW, planes="all", min_side=32)
    assert source.shapes[0] == (64, 72) and source.shapes[30] == (60, 72) and source.shapes[-1] == (60, 64)


def test_frames_and_the_inverted_kind(tmp_path: Path) -> None:
    frames = np.stack([flat(k) for k in (0, 1000, 4095)])
    write(tmp_path / "a.dcm", frames, PhotometricInterpretation="MONOCHROME1")
    source = open_source(tmp_path / "a.dcm", window=(-1024, 3071))
    assert [float(source.picture(k).mean()) for k in range(3)] == pytest.approx([1, 3095 / 4095, 0])


def test_what_cannot_be_decoded_is_named_with_the_remedy(tmp_path: Path) -> None:
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless

    write(tmp_path / "good.dcm", flat(1024), 0.0)
    write(
        tmp_path / "jpeg.dcm",
        flat(1024),
        1.0,
        syntax=JPEG2000Lossless,
        PixelData=encapsulate([b"\xff\x4f\xff\x51" * 8]),
    )
    (tmp_path / "text.dcm").write_text("no DICOM")
    with pytest.warns(UserWarning) as told:
        source = open_source(tmp_path, window=CT_WINDOW)
    assert len(source) == 1
    texts = sorted(str(warning.message) for warning in told if "left out" in str(warning.message))
    assert len(texts) == 2 and "jpeg.dcm" in texts[0] and "text.dcm" in texts[1]
    assert "JPEG 2000" in texts[0] and "pylibjpeg" in texts[0]


def test_a_deflated_file_is_refused_before_it_is_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    write(tmp_path / "good.dcm", flat(1024), 0.0)
    write(tmp_path / "bomb.dcm", flat(0), 1.0, syntax=DeflatedExplicitVRLittleEndian)

    def inflated(*_: Any, **__: Any) -> bytes:
        pytest.fail("it was inflated")

    monkeypatch.setattr(pydicom.filereader.zlib, "decompress", inflated)
    with pytest.warns(UserWarning, match=r"bomb\.dcm.*Deflated.*dcmconv") as told:
        source = open_source(tmp_path, window=CT_WINDOW)
    assert len(source) == 1 and len(told) == 1
