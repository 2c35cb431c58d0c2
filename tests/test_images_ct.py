"""CT on disk: Hounsfield units and geometry through DICOM and npz, nobody's name, and files that are refused."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pellucid.errors import ConfigError, ImageFileError
from pellucid.images import Picture, choose_depth, read, write
from pellucid.images.ct import CT, Geometry
from pellucid.images.hu import CT_WINDOW, DISPLAY, display_window
from pellucid.images.uids import is_uid, new_uid, stand_in
from tests.ct_files import SECRETS, body, leaks, write_slice
from tests.golden.data import SHARED

pydicom = pytest.importorskip("pydicom")
EVALUATION = SHARED / "ct" / "eval_other_patients.npz"


def hu_of(picture: Picture) -> np.ndarray:
    assert picture.ct is not None
    return picture.ct.hounsfield(picture.pixels.double())[0].numpy()


def test_hounsfield_units_and_geometry_of_a_slice(tmp_path: Path) -> None:
    picture = read(write_slice(tmp_path / "a.dcm", body()))
    assert picture.pixels.shape == (1, 32, 48) and picture.ct is not None and picture.ct.window == CT_WINDOW
    assert np.abs(hu_of(picture) - body()).max() < 1e-3
    assert float(picture.pixels[0, 0, 0]) == pytest.approx((body()[0, 0] + 1000) / 2000, abs=1e-6)
    geometry = picture.ct.geometry
    assert geometry is not None and geometry.spacing == (0.75, 0.5) and geometry.position == (-100.0, -80.5, 37.25)
    assert geometry.orientation == (1, 0, 0, 0, 0.8, -0.6) and geometry.thickness == 2.5 and geometry.instance == 12
    assert not leaks(repr(picture).encode())


def test_slope_and_padding(tmp_path: Path) -> None:
    stored = np.array([[0, 1, 1000, 2000]], np.uint16)
    fields = {"RescaleSlope": 2, "RescaleIntercept": -3000, "PixelData": stored.tobytes()}
    picture = read(write_slice(tmp_path / "a.dcm", np.zeros((1, 4), np.int16), **fields))
    assert hu_of(picture)[0].tolist() == pytest.approx([-1000, -1000, -1000, 1000])


def test_how_a_slice_is_shown_does_not_change_its_hounsfield_units(tmp_path: Path) -> None:
    inverted = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11}
    picture = read(write_slice(tmp_path / "a.dcm", body(), **inverted))
    assert np.abs(hu_of(picture) - body()).max() < 1e-3


@pytest.mark.parametrize("name", ["x.dcm", "x.npz"])
def test_written_and_read_again(tmp_path: Path, name: str) -> None:
    picture = read(write_slice(tmp_path / "a.dcm", body()))
    picture = picture.with_pixels(picture.pixels + torch.linspace(-0.05, 0.05, 48))
    write(tmp_path / name, picture, choose_depth(tmp_path / name, picture.depth), {"Description": "Made in a test"})
    again = read(tmp_path / name)
    # 16-bit files round to whole units; noise below -1024 HU is not taken for padding in a file of our own.
    assert np.abs(hu_of(again) - hu_of(picture)).max() <= (0.5 + 1e-3 if name == "x.dcm" else 1e-3)
    assert hu_of(picture).min() < -1060 and not leaks((tmp_path / name).read_bytes())
    assert again.ct is not None and picture.ct is not None
    kept, found = picture.ct.geometry, again.ct.geometry
    assert kept is not None and found is not None and found.frame is not None and found.series is not None
    assert replace(found, frame=None, series=None) == replace(kept, frame=None, series=None)


@pytest.mark.skipif(not EVALUATION.exists(), reason="no CT of patients here")
def test_patients_through_both_formats(tmp_path: Path) -> None:
    with np.load(EVALUATION) as file:
        slices = {key: file[key] for key in file.files}
    for name, hu in slices.items():
        np.savez(tmp_path / f"{name}.npz", hu=hu)
        picture = read(tmp_path / f"{name}.npz")
        write(tmp_path / f"{name}.dcm", picture, "16")
        assert np.array_equal(np.rint(hu_of(picture)), hu)
        assert np.array_equal(pydicom.dcmread(tmp_path / f"{name}.dcm").pixel_array, hu)


def test_a_derived_file_says_what_it_is(tmp_path: Path) -> None:
    picture = read(write_slice(tmp_path / "a.dcm", body()))
    write(tmp_path / "x.dcm", picture, "16", {"Description": "Made in a test", "pellucid:notice": "careful"})
    source, made = pydicom.dcmread(tmp_path / "a.dcm"), pydicom.dcmread(tmp_path / "x.dcm")
    assert list(made.ImageType) == ["DERIVED", "SECONDARY"] and made.PatientIdentityRemoved == "YES"
    assert made.DerivationDescription == "Made in a test; not for diagnosis" and made.ImageComments == "careful"
    for name in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", "InstanceNumber"):
        assert made[name].value == source[name].value
    for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert is_uid(made[name].value) and made[name].value != source[name].value
    for name in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "AccessionNumber"):
        assert name in made and not made[name].value
    assert not [element for element in made if element.tag.is_private]
    assert (made.RescaleSlope, made.RescaleIntercept, made.RescaleType) == (1, 0, "HU")
    assert (made.WindowCenter, made.WindowWidth, made.VOILUTFunction) == (0, 2000, "LINEAR_EXACT")
    assert np.array_equal(made.pixel_array, body())


def test_identity_only_when_asked_for(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "a.dcm", body(), PatientName="Müller^Jürgen", PatientAge="056Y")
    picture = read(path, keep_identity=True)
    assert not leaks(repr(picture).encode())
    write(tmp_path / "x.dcm", picture.with_pixels(picture.pixels), "16")
    made = pydicom.dcmread(tmp_path / "x.dcm")
    assert str(made.PatientName) == "Müller^Jürgen" and made.PatientAge == "056Y"
    for name in ("PatientID", "PatientBirthDate", "StudyInstanceUID", "StudyDate", "StudyDescription"):
        assert made[name].value == SECRETS[name]
    assert made.FrameOfReferenceUID == SECRETS["FrameOfReferenceUID"] and "PatientIdentityRemoved" not in made
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == SECRETS["SOPInstanceUID"]
    assert made.SOPInstanceUID != SECRETS["SOPInstanceUID"]
    assert made.SeriesInstanceUID != SECRETS["SeriesInstanceUID"]
    for name in ("InstitutionName", "OperatorsName", "ImageComments", "PatientAddress", "OtherPatientIDs"):
        assert name not in made
    assert not [element for element in made if element.tag.is_private]
    for name in ("x.npz", "x.png", "x.tif"):  # these have no place for it, and none is made
        write(tmp_path / name, picture, choose_depth(tmp_path / name, "float"))
        assert not leaks((tmp_path / name).read_bytes())


def test_geometry_follows_the_number_of_pixels() -> None:
    geometry = Geometry(64, 32, (1.0, 2.0), (10.0, 20.0, 30.0), (1, 0, 0, 0, 1, 0), 5.0)
    coarse = geometry.resampled(16, 8)
    # The corner of the first pixel stays where it is: its centre lies half a pixel inside.
    assert coarse.spacing == (4.0, 8.0) and coarse.position == pytest.approx((10 + 3, 20 + 1.5, 30))
    fine = coarse.resampled(64, 32)
    assert fine.spacing == geometry.spacing and fine.position == pytest.approx(geometry.position)
    assert Geometry.of(json.loads(json.dumps(fine.as_dict()))) == fine


def test_identifiers() -> None:
    assert is_uid(new_uid()) and new_uid() != new_uid() and not is_uid("1.02.3") and not is_uid("1." * 40 + "1")
    first, second = stand_in("series", "1.2.3"), stand_in("series", "1.2.4")
    assert first == stand_in("series", "1.2.3") and len({first, second, stand_in("frame", "1.2.3")}) == 3
    assert is_uid(first) and stand_in("series", None) != stand_in("series", None)


@pytest.mark.parametrize(("name", "depth", "white"), [("x.png", "8", 255), ("x.png", "16", 65535)])
def test_a_window_in_a_png(tmp_path: Path, name: str, depth: Any, white: int) -> None:
    hu = torch.tensor([[-2000.0, -150.0, -125.0, 0.0, 50.0, 100.0, 225.0, 1500.0]])
    ct = CT()
    picture = Picture(ct.unit(hu)[None], ct=ct)
    write(tmp_path / name, picture, depth, window=display_window("soft-tissue"))
    from PIL import Image

    with Image.open(tmp_path / name) as image:
        levels = np.asarray(image).astype(int)[0]
    assert levels.tolist() == np.rint(((hu[0].double() + 125) / 350).clip(0, 1).numpy() * white).astype(int).tolist()
    again = read(tmp_path / name)  # the file says its window: what it shows comes back as it was
    assert again.ct is not None and again.ct.window == CT_WINDOW
    assert np.abs(hu_of(again)[0] - hu[0].clamp(-125, 225).numpy()).max() <= 350 / white
    write(tmp_path / "full.png", picture, depth)
    assert np.abs(hu_of(read(tmp_path / "full.png"))[0] - hu[0].clamp(-1000, 1000).numpy()).max() <= 1000 / white + 1e-3


def test_display_windows() -> None:
    assert display_window("lung") == (-1350, 150) and display_window("40,80") == display_window("Brain") == (0, 80)
    assert set(DISPLAY) == {"lung", "soft-tissue", "bone", "brain", "abdomen"}
    for text in ("liver", "40", "40,0", "40,-1", "nan,80", "1,2,3"):
        with pytest.raises(ConfigError, match="centre,width"):
            display_window(text)


def test_measurements_and_pictures_in_npz(tmp_path: Path) -> None:
    picture = read(write_slice(tmp_path / "a.dcm", body()))
    write(tmp_path / "y.npz", picture.measured(torch.rand(1, 5, 70)), "float")
    again = read(tmp_path / "y.npz")
    assert again.quantity == "measurement" and not again.is_image and again.image_shape == (1, 32, 48)
    assert again.ct is not None and picture.ct is not None and again.ct.geometry == picture.ct.geometry
    with pytest.raises(ImageFileError, match=r"\.npz"):
        write(tmp_path / "y.png", again, "16")
    colour = Picture(torch.rand(3, 4, 5))
    write(tmp_path / "image.npz", colour, "float")
    assert torch.equal(read(tmp_path / "image.npz").pixels, colour.pixels) and read(tmp_path / "image.npz").ct is None
    with np.load(tmp_path / "y.npz") as file:
        assert str(file["unit"]) == "[0, 1]" and file["window"].tolist() == [-1000, 1000]


def objects(path: Path) -> None:
    np.savez(path, hu=np.array([{"a": 1}], dtype=object), allow_pickle=True)


def lying(path: Path) -> None:
    """A header that promises more than there is."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hu.npy", head.getvalue() + bytes(100))


def zipped(*members: tuple[str, bytes], mode: int = zipfile.ZIP_STORED) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with warnings.catch_warnings(), zipfile.ZipFile(path, "w", mode) as archive:
            warnings.simplefilter("ignore")  # of names that are there twice
            for name, data in members:
                archive.writestr(name, data)

    return make


def stored(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def flipped(path: Path) -> None:
    """A value that is not what the checksum says."""
    hu = np.zeros((60, 60))
    hu[-1, -1] = 7
    np.savez(path, hu=hu)
    path.write_bytes(path.read_bytes().replace(np.float64(7).tobytes(), np.float64(8).tobytes(), 1))


Y = stored(np.zeros((2, 2)))
LONG = b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + b" " * 50_000
NESTED = b"\x93NUMPY\x01\x00" + (9000).to_bytes(2, "little") + b"-" * 9000


def geometry(**values: Any) -> Callable[[Path], None]:
    return lambda path: np.savez(path, hu=np.zeros((2, 2)), geometry=np.array(json.dumps(values)))


ARRAYS: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("no archive"), "no .npz file"),
    "objects": (objects, "objects"),
    "no key": (lambda path: np.savez(path, scan=np.zeros((2, 2))), r"numpy\.savez\(FILE, hu=slice\)"),
    "two keys": (lambda path: np.savez(path, hu=np.zeros((2, 2)), y=np.zeros((2, 2))), "hu and y"),
    "volume": (lambda path: np.savez(path, hu=np.zeros((5, 2, 2))), r"hu=volume\[k\]"),
    "lying": (lying, "more than"),
    "empty": (lambda path: np.savez(path, hu=np.zeros((0, 2))), "empty"),
    "integers": (lambda path: np.savez(path, image=np.zeros((2, 2), np.uint8)), "floats"),
    "unit": (lambda path: np.savez(path, image=np.zeros((2, 2)), unit=np.array("HU")), "unit is 'HU'"),
    "nan": (lambda path: np.savez(path, hu=np.full((2, 2), np.nan)), "NaN"),
    "window": (lambda path: np.savez(path, y=np.zeros((2, 2)), window=np.array([1.0, -1.0])), "window is"),
    "shape": (lambda path: np.savez(path, y=np.zeros((2, 2)), image_shape=np.array([1, 10**6, 10**6])), "image_shape"),
    "two names": (zipped(("y.npy", Y), ("y", stored(np.zeros((200, 200))))), "'y' is twice in it, or has no .npy"),
    "no ending": (zipped(("y", Y)), "'y' is twice in it, or has no .npy"),
    "twice": (zipped(("y.npy", Y), ("y.npy", stored(np.zeros((200, 200))))), r"'y\.npy' is twice in it"),
    "long header": (zipped(("y.npy", LONG)), r"y\.npy has a header of 2,147,483,648 bytes; at most 10,000"),
    "nested header": (zipped(("y.npy", NESTED)), "damaged header"),
    "open header": (zipped(("y.npy", b"\x93NUMPY\x01\x00\x02\x00({")), "damaged header"),
    "no array": (zipped(("y.npy", b"plain text")), r"its y\.npy is no array"),
    "promises": (zipped(("y.npy", stored(np.zeros((30, 30)))[:1000])), "promises more than the 1,000 bytes"),
    "compression": (zipped(("y.npy", Y), mode=zipfile.ZIP_LZMA), "compressed in a way"),
    "checksum": (flipped, "CRC"),
    "beyond float32": (lambda path: np.savez(path, hu=np.full((2, 2), 1e300)), "NaN or infinite"),
    "endless shape": (
        lambda path: np.savez(path, y=np.zeros((2, 2)), image_shape=np.array([np.inf, 1, 1])),
        r"image_shape \[inf, 1\.0, 1\.0\] is no shape",
    ),
    "thickness": (geometry(rows=2, columns=2, thickness=10**400), "no such thickness"),
    "geometry": (geometry(rows=2, columns=2, position=[0, 0, 1e400]), "no such position"),
    "spacing": (geometry(rows=2, columns=2, spacing=[0, 1]), "above 0"),
    "other size": (geometry(rows=3, columns=2), "3 x 2 pixels"),
    "unknown": (geometry(rows=2, columns=2, PatientName="x"), "no table"),
    "deep": (lambda path: np.savez(path, hu=np.zeros((2, 2)), geometry=np.array("[" * 90_000)), "geometry"),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_refused_arrays(tmp_path: Path, kind: str) -> None:
    make, words = ARRAYS[kind]
    make(tmp_path / "bad.npz")
    with pytest.raises((ImageFileError, ConfigError), match=words) as told:
        read(tmp_path / "bad.npz")
    assert "bad.npz" in str(told.value)


def test_integers_below_zero_in_npy_are_not_taken_for_a_picture(tmp_path: Path) -> None:
    np.save(tmp_path / "hu.npy", body())
    with pytest.raises(ImageFileError, match=r"hu\.npy.*hu=array"):
        read(tmp_path / "hu.npy")


NUMPY: dict[str, tuple[Callable[[Path], object], str]] = {
    "archive": (lambda path: path.write_bytes(b"PK\3\4" + bytes(40)), r"zip archive, so name it \.npz"),
    "text": (lambda path: path.write_text("no array at all"), "no array in numpy's format"),
    "long header": (lambda path: path.write_bytes(LONG), "header of 2,147,483,648 bytes"),
    "cut": (lambda path: path.write_bytes(stored(np.zeros((30, 30)))[:1000]), "promises more than the 1,000 bytes"),
    "objects": (lambda path: np.save(path, np.array([{}], dtype=object), allow_pickle=True), "Python objects"),
    "text array": (lambda path: np.save(path, np.array(["a"])), "real numbers are needed"),
    "beyond float32": (lambda path: np.save(path, np.full((2, 2), 1e300)), "NaN or infinite"),
}


@pytest.mark.parametrize("kind", NUMPY)
def test_refused_npy(tmp_path: Path, kind: str) -> None:
    make, words = NUMPY[kind]
    make(tmp_path / "bad.npy")
    with pytest.raises(ImageFileError, match=words) as told:
        read(tmp_path / "bad.npy")
    assert "bad.npy" in str(told.value)


def test_a_large_npy_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 20, 20), np.float32))
    assert read(tmp_path / "x.npy", max_pixels=400).pixels.shape == (1, 20, 20)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(ImageFileError, match="more than the 399 values"):
        read(tmp_path / "x.npy", max_pixels=399)


def compressed(path: Path) -> None:
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless

    write_slice(path, body(), syntax=JPEG2000Lossless, PixelData=encapsulate([b"\xff\x4f\xff\x51" * 8]))


def deflated(path: Path) -> None:
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    write_slice(path, body(), syntax=DeflatedExplicitVRLittleEndian)


SLICES: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("no DICOM at all" * 20), "no DICOM mark"),
    "frames": (lambda path: write_slice(path, np.stack([body()] * 3)), "3 frames; one slice at a time"),
    "compressed": (compressed, "JPEG 2000.*pylibjpeg"),
    "deflated": (deflated, "dcmconv"),
    "not CT": (lambda path: write_slice(path, body(), Modality="MR"), "modality is MR.*16-bit PNG"),
    "other values": (lambda path: write_slice(path, body(), RescaleType="Z_EFF"), "values are Z_EFF"),
    "no slope": (lambda path: write_slice(path, body(), RescaleIntercept=None), "RescaleSlope and RescaleIntercept"),
    "slope of no number": (lambda path: write_slice(path, body(), RescaleSlope="nan"), "RescaleSlope is nan"),
    "slope of 0": (lambda path: write_slice(path, body(), RescaleSlope="0"), "RescaleSlope is 0"),
    "endless slope": (lambda path: write_slice(path, body(), RescaleSlope="1e300"), r"RescaleSlope is 1e\+300"),
    "endless intercept": (lambda path: write_slice(path, body(), RescaleIntercept="1e999"), "RescaleIntercept inf"),
    "no rows": (lambda path: write_slice(path, body(), Rows=None), "no Rows"),
    "colour": (lambda path: write_slice(path, body(), PhotometricInterpretation="RGB"), "no grey slice"),
    "huge": (lambda path: write_slice(path, body(), Rows=65535, Columns=65535), "pixels are more"),
    "cut": (lambda path: write_slice(path, body(), PixelData=b"\0" * 100), "cannot read"),
    "spacing": (lambda path: write_slice(path, body(), PixelSpacing=[0, 1]), "above 0"),
}


@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")  # of writing what is to be refused
@pytest.mark.parametrize("kind", SLICES)
def test_refused_slices(tmp_path: Path, kind: str) -> None:
    make, words = SLICES[kind]
    make(tmp_path / "bad.dcm")
    with pytest.raises(ImageFileError, match=words) as told:
        read(tmp_path / "bad.dcm")
    assert "bad.dcm" in str(told.value) and not leaks(str(told.value).encode())


def test_an_identity_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    write_slice(tmp_path / "bad.dcm", body(), StudyInstanceUID="")
    with pytest.raises(ImageFileError, match=r"bad\.dcm.*no StudyInstanceUID"):
        read(tmp_path / "bad.dcm", keep_identity=True)
    assert read(tmp_path / "bad.dcm").ct is not None


def test_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = read(write_slice(tmp_path / "a.dcm", body()))

    def fails(dataset: Any, path: Path) -> None:
        path.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pellucid.images.derived._save", fails)
    with pytest.raises(ImageFileError, match="No space left"):
        write(tmp_path / "x.dcm", picture, "16")
    assert [path.name for path in tmp_path.iterdir()] == ["a.dcm"]


def test_without_pydicom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_slice(tmp_path / "a.dcm", body())
    picture = read(path)
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    for attempt in (lambda: read(path), lambda: write(tmp_path / "x.dcm", picture, "16")):
        with pytest.raises(ConfigError, match=r"pip install 'pellucid\[train\]'"):
            attempt()
