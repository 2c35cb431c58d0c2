"""CT through the command line: DICOM and npz in, PNG, npz and DICOM out, in Hounsfield units, without a name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pellucid.zoo
from pellucid.cli.degrading import Degradation
from pellucid.cli.saving import without_folders
from pellucid.cli.settings import poisson_gain
from pellucid.errors import ConfigError, ProblemError
from pellucid.images import read
from pellucid.prior.diffusion import DiffusionPrior
from tests.cli.conftest import Command, Ran, shrink
from tests.ct_files import PRIVATE, SECRETS, body, leaks, write_slice
from tests.golden.data import SHARED

pydicom = pytest.importorskip("pydicom")
EVALUATION = SHARED / "ct" / "eval_other_patients.npz"
SHIPPED = Path(__file__).parents[2] / "zoo" / "ct" / "card.json"
LOW = ("-A", "bicubic:factor=2")
FAST = ("-m", "ddrm", "--nfe", "3")
SINOGRAM = ("-A", "tomography:angles=12", "--noise", "0.01")


@pytest.fixture
def prior(pellucid_: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a prior of CT; what it loads as is the closed form of the other tests."""
    folder = tmp_path / "priors" / "toy-ct"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps({"kind": "prior", "window": [-1000, 1000]}))
    others = pellucid.zoo.load

    def load(name: Any, *rest: Any, **options: Any) -> DiffusionPrior:
        if "toy-ct" in str(name):
            return DiffusionPrior(shrink, predicts="denoiser", channels=1)
        found: DiffusionPrior = others(name, *rest, **options)
        return found

    monkeypatch.setattr(pellucid.zoo, "load", load)
    return folder


@pytest.fixture
def slice_(tmp_path: Path) -> Path:
    return write_slice(tmp_path / "slice.dcm", body())


def hu(path: Path) -> np.ndarray:
    """What a DICOM or npz file says in Hounsfield units, without pellucid's reader."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            assert str(file["unit"]) == "HU" and file["hu"].dtype == np.float32
            return np.asarray(file["hu"], np.float64)
    data = pydicom.dcmread(path)
    return np.asarray(data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept), np.float64)


def ok(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    report: dict[str, Any] = json.loads(ran.out)
    return report


def test_a_slice_comes_through_unchanged(pellucid_: Command, slice_: Path, tmp_path: Path) -> None:
    for name in ("x.dcm", "x.npz"):
        report = ok(pellucid_("degrade", slice_, "-o", tmp_path / name, "--json"))
        assert np.abs(hu(tmp_path / name) - body()).max() < 1e-3
        assert report["unit"] == "HU" and report["outside_window"] == 0 and "black_hu" not in report


def test_beyond_the_window_is_clipped_and_counted(pellucid_: Command, tmp_path: Path) -> None:
    values = body()
    values[:4, :12] = 2500
    write_slice(tmp_path / "metal.dcm", values)
    report = ok(pellucid_("degrade", tmp_path / "metal.dcm", "-o", tmp_path / "x.dcm", "--json"))
    assert report["outside_window"] == pytest.approx(4 * 12 / values.size)
    assert np.array_equal(hu(tmp_path / "x.dcm"), values.clip(-1000, 1000))


def test_low_resolution_and_back(pellucid_: Command, prior: Path, slice_: Path, tmp_path: Path) -> None:
    low = tmp_path / "low.dcm"
    ok(pellucid_("degrade", slice_, "-o", low, *LOW, "--json"))
    coarse = pydicom.dcmread(low)
    assert coarse.pixel_array.shape == (16, 24) and list(coarse.PixelSpacing) == [1.5, 1.0]
    # Half of what the pixels grew: 0.25 mm along the row (x), 0.375 mm down the column (y 0.8, z -0.6).
    assert [float(v) for v in coarse.ImagePositionPatient] == pytest.approx([-99.75, -80.2, 37.025])
    options = (*LOW, "--prior", prior, "--compare", slice_, *FAST, "--json")
    report = ok(pellucid_("restore", low, "-o", tmp_path / "x.dcm", *options))
    assert report["unit"] == "HU" and report["settings"]["image_shape"] == [1, 32, 48]
    made, source = pydicom.dcmread(tmp_path / "x.dcm"), pydicom.dcmread(slice_)
    for name in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"):
        assert list(made[name].value) == pytest.approx(list(source[name].value))
    assert "toy-ct" in made.DerivationDescription and "bicubic:factor=2" in made.DerivationDescription
    assert "ddrm" in made.DerivationDescription and "not for diagnosis" in made.DerivationDescription
    assert str(tmp_path) not in made.DerivationDescription
    error = ((hu(tmp_path / "x.dcm").clip(-1000, 1000) - body()) / 2000) ** 2
    assert report["psnr"]["result"] == pytest.approx(-10 * np.log10(error.mean()), abs=0.1)
    assert report["psnr"]["result"] > 20


def test_a_sinogram_and_back(pellucid_: Command, prior: Path, tmp_path: Path) -> None:
    source = write_slice(tmp_path / "slice.dcm", body(32, 32))
    report = ok(pellucid_("degrade", source, *SINOGRAM, "--json"))
    y = tmp_path / "slice-degraded.npz"
    assert report["output"] == str(y) and report["unit"] == "[0, 1]" and report["black_hu"] == -1000
    with np.load(y, allow_pickle=False) as file:
        assert file["y"].shape[:2] == (1, 12) and file["image_shape"].tolist() == [1, 32, 32]
    # Neither --shape nor the slice is needed again; the geometry comes along.
    options = ("--prior", prior, "-m", "diffpir", "--nfe", "10", "--json")
    report = ok(pellucid_("restore", y, "-o", tmp_path / "x.dcm", *SINOGRAM, *options, "--compare", source))
    assert report["unit"] == "HU" and "black_hu" not in report and report["psnr"]["result"] > 10
    made, original = pydicom.dcmread(tmp_path / "x.dcm"), pydicom.dcmread(source)
    assert list(made.ImagePositionPatient) == list(original.ImagePositionPatient)
    assert list(made.PixelSpacing) == list(original.PixelSpacing) and made.InstanceNumber == 12
    assert ok(pellucid_("restore", y, *SINOGRAM, *options))["output"].endswith("slice-degraded-restored.npz")
    assert hu(tmp_path / "slice-degraded-restored.npz").shape == (32, 32)
    refused = pellucid_("degrade", source, *SINOGRAM, "-o", tmp_path / "y.png")
    assert refused.code == 10 and "y.png" in refused.err and ".npz" in refused.err


def test_no_name_in_any_output(pellucid_: Command, prior: Path, slice_: Path, tmp_path: Path) -> None:
    assert set(leaks(slice_.read_bytes())) >= {*SECRETS.values(), PRIVATE}  # so the search finds what is there
    (out := tmp_path / "out").mkdir()
    said = ""
    for suffix in (".dcm", ".npz", ".npy", ".png", ".jpg", ".tif", ".webp"):
        ran = pellucid_("degrade", slice_, "-o", out / f"y{suffix}", *LOW, "--noise", "0.01")
        assert ran.code == 0, ran.err
        options = ("--prior", prior, *LOW, *FAST, "--samples", "2")
        back = pellucid_("restore", slice_, "-o", out / f"x{suffix}", *options)
        assert back.code == 0, back.err
        said += ran.out + ran.err + back.out + back.err
    assert pellucid_("degrade", slice_, *SINOGRAM, "-o", out / "s.npz").code == 0
    files = sorted(out.iterdir())
    assert len(files) == 7 * (1 + 4) + 1
    assert {path.name: leaks(path.read_bytes()) for path in files} == {path.name: [] for path in files}
    assert not leaks(said.encode())


def test_identity_is_kept_where_that_was_asked_for(
    pellucid_: Command, prior: Path, slice_: Path, tmp_path: Path
) -> None:
    options = ("--prior", prior, *LOW, *FAST, "--keep-identity")
    ran = pellucid_("restore", slice_, "-o", tmp_path / "x.dcm", *options)
    assert ran.code == 0 and not leaks((ran.out + ran.err).encode())
    made = pydicom.dcmread(tmp_path / "x.dcm")
    for name in ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber"):
        assert str(made[name].value) == SECRETS[name]
    assert "InstitutionName" not in made and made.SeriesInstanceUID != SECRETS["SeriesInstanceUID"]
    np.savez(tmp_path / "a.npz", hu=body())
    for source, target in ((slice_, "x.png"), (slice_, "x.npz"), (tmp_path / "a.npz", "y.dcm")):
        for command in ("restore", "degrade"):
            arguments = ("--prior", prior) if command == "restore" else ()
            ran = pellucid_(command, source, "-o", tmp_path / target, *LOW, *arguments, "--keep-identity")
            assert ran.code == 7 and "DICOM" in ran.err and not (tmp_path / target).exists()


def test_a_series_stays_together(pellucid_: Command, prior: Path, tmp_path: Path) -> None:
    (series := tmp_path / "series").mkdir(), (out := tmp_path / "out").mkdir()
    for k, name in enumerate(("a.dcm", "b", "1.2.840.7")):
        fields = {"ImagePositionPatient": [0, 0, 5 * k], "InstanceNumber": k, "SOPInstanceUID": f"1.2.3.{k}"}
        write_slice(series / name, body(), **fields)
    write_slice(series / "DICOMDIR", body())
    ran = pellucid_("restore", series, "-o", out, "--prior", prior, *LOW, *FAST)
    assert ran.code == 0, ran.err
    found = [pydicom.dcmread(out / name) for name in ("a.dcm", "b.dcm", "1.2.840.7.dcm")]
    assert len(list(out.iterdir())) == 3 and [int(file.InstanceNumber) for file in found] == [0, 1, 2]
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert len({file[name].value for file in found}) == 1
    assert len({file.SOPInstanceUID for file in found}) == 3


def test_a_window_to_look_through(pellucid_: Command, slice_: Path, tmp_path: Path) -> None:
    for name, window, low, high in (("lung.png", "lung", -1350, 150), ("own.png", "40,400", -160, 240)):
        arguments = ("-o", tmp_path / name, "--window", window, "--depth", "8", "--json")
        report = ok(pellucid_("degrade", slice_, *arguments))
        with Image.open(tmp_path / name) as image:
            levels = np.asarray(image).astype(int)
        wanted = np.rint(((body().astype(float) - low) / (high - low)).clip(0, 1) * 255)
        assert np.abs(levels - wanted).max() <= 1 and (levels == wanted).mean() > 0.99
        assert (report["unit"], report["black_hu"], report["white_hu"]) == ("[0, 1]", low, high)
        outside = (body() < low) | (body() > high)
        assert report["clipped"] == pytest.approx(outside.mean(), abs=1e-6)
    ok(pellucid_("degrade", slice_, "-o", tmp_path / "x.dcm", "--window", "bone", "--json"))
    made = pydicom.dcmread(tmp_path / "x.dcm")
    assert (made.WindowCenter, made.WindowWidth) == (400, 1800) and np.array_equal(hu(tmp_path / "x.dcm"), body())


def test_restored_through_a_window(pellucid_: Command, prior: Path, slice_: Path, tmp_path: Path) -> None:
    options = ("--prior", prior, "--noise", "0.02", *FAST, "--json")
    ok(pellucid_("restore", slice_, "-o", tmp_path / "x.npz", *options))
    report = ok(pellucid_("restore", slice_, "-o", tmp_path / "x.png", *options, "--window", "lung", "--depth", "8"))
    assert report["black_hu"] == -1350
    with Image.open(tmp_path / "x.png") as image:
        assert np.array_equal(np.asarray(image), np.rint(((hu(tmp_path / "x.npz") + 1350) / 1500).clip(0, 1) * 255))


def test_samples_and_their_spread_in_hounsfield_units(
    pellucid_: Command, prior: Path, slice_: Path, tmp_path: Path
) -> None:
    options = ("--prior", prior, *LOW, *FAST, "--samples", "3", "--json")
    for suffix in (".npz", ".dcm"):
        report = ok(pellucid_("restore", slice_, "-o", tmp_path / f"x{suffix}", *options))
        samples = np.stack([hu(Path(path)) for path in report["samples"]])
        tolerance = 1e-2 if suffix == ".npz" else 1.01
        assert np.abs(samples.mean(0) - hu(tmp_path / f"x{suffix}")).max() < tolerance
        if suffix == ".npz":
            with np.load(report["std"]) as file:
                spread = file["std_hu"][0]
        else:
            spread = hu(Path(report["std"]))
        assert np.abs(spread - samples.std(0, ddof=1)).max() < tolerance and spread.max() > 20
    assert "Standard deviation" in pydicom.dcmread(tmp_path / "x.std.dcm").DerivationDescription
    # They lie in one place and have one number: in one series, viewers would stack them as one slice.
    made = [pydicom.dcmread(path) for path in (report["output"], *report["samples"], report["std"])]
    assert len({file.SeriesInstanceUID for file in made}) == 5 and len({file.StudyInstanceUID for file in made}) == 1
    assert [file.SeriesDescription for file in made] == [
        f"pellucid {part}, not for diagnosis"
        for part in ("mean", "sample 0", "sample 1", "sample 2", "standard deviation")
    ]


def test_a_scan_is_not_overwritten(pellucid_: Command, prior: Path, slice_: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", hu=body())
    (tmp_path / "text.dcm").write_text("no DICOM at all")
    scan = slice_.read_bytes()
    (tmp_path / "x.sample-01.dcm").write_bytes(scan)
    several = ("x.dcm", "x.sample-01.dcm", ("--samples", "2"))
    for target, told, options in (("slice.dcm", "slice.dcm", ()), ("text.dcm", "text.dcm", ()), several):
        for command in ("restore",) if options else ("restore", "degrade"):
            arguments = ("--prior", prior, *FAST, *options) if command == "restore" else ()
            ran = pellucid_(command, tmp_path / "a.npz", "-o", tmp_path / target, "--noise", "0.01", *arguments)
            assert ran.code == 10 and f"{told} exists, and pellucid did not make it" in ran.err, ran.err
    assert slice_.read_bytes() == scan == (tmp_path / "x.sample-01.dcm").read_bytes()
    assert (tmp_path / "text.dcm").read_text() == "no DICOM at all" and not (tmp_path / "x.dcm").exists()
    for noise in ("0", "0.1"):  # its own results are replaced, as in other formats
        ok(pellucid_("degrade", tmp_path / "a.npz", "-o", tmp_path / "y.dcm", "--noise", noise, "--json"))
    assert np.abs(hu(tmp_path / "y.dcm") - body()).mean() > 100


def test_a_grey_picture_with_a_prior_of_ct(pellucid_: Command, prior: Path, tmp_path: Path) -> None:
    grey = np.rint((body() + 1000.0) / 2000 * 255).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    options = ("--noise", "0.02", "--prior", prior, *FAST)
    report = ok(pellucid_("restore", tmp_path / "grey.png", "-o", tmp_path / "x.png", *options, "--json"))
    assert (report["unit"], report["black_hu"], report["white_hu"]) == ("[0, 1]", -1000, 1000)
    said = pellucid_("restore", tmp_path / "grey.png", "-o", tmp_path / "x.dcm", *options).out
    assert "Hounsfield units" in said and "0 is -1000 HU" in said
    made = pydicom.dcmread(tmp_path / "x.dcm")
    assert "PixelSpacing" not in made and "ImagePositionPatient" not in made and made.StudyInstanceUID
    assert read(tmp_path / "x.dcm").pixels.shape == (1, 32, 48)
    refused = pellucid_("restore", tmp_path / "grey.png", "-o", tmp_path / "y.dcm", "--noise", "0.02")
    assert refused.code == 10 and "y.dcm" in refused.err and "--prior ct" in refused.err
    assert ok(pellucid_("degrade", tmp_path / "grey.png", "-o", tmp_path / "g.png", "--json"))["unit"] == "[0, 1]"


def test_a_prior_of_photographs_is_said_to_be_one(pellucid_: Command, slice_: Path, tmp_path: Path) -> None:
    ran = pellucid_("restore", slice_, "-o", tmp_path / "x.png", "--noise", "0.02", *FAST)
    assert ran.code == 0 and "--prior ct" in ran.err and "black is -1000 HU" in ran.out


def test_folders_are_not_told() -> None:
    text = 'compose:[mask:file="/home/a, b/c.png"],[gaussian-blur:std=1],[mask:file=/home/x/y.png]'
    assert without_folders(text) == 'compose:[mask:file="c.png"],[gaussian-blur:std=1],[mask:file=y.png]'


# Exit code, what is said, source, target, options.
REFUSED: dict[str, tuple[int, str, str, str, tuple[str, ...]]] = {
    "window of nothing": (7, "--window is one of lung, ", "slice.dcm", "x.png", ("--window", "liver")),
    "window of values": (10, "x.npz: --window is for formats to look at", "slice.dcm", "x.npz", ("--window", "lung")),
    "window of floats": (10, "x.tif: --window is for formats to look at", "slice.dcm", "x.tif", ("--window", "lung")),
    "window of a photograph": (
        10,
        "x.png: --window is in Hounsfield units, and this picture has none",
        "photo.png",
        "x.png",
        ("--window", "lung"),
    ),
    "DICOM of a photograph": (10, "x.dcm: DICOM is written of grey CT", "photo.png", "x.dcm", ()),
    "depth": (10, "x.dcm: DICOM holds 16, not 8", "slice.dcm", "x.dcm", ("--depth", "8")),
    "photons and gain": (
        7,
        "--gain is 1 / --photons: give one of them",
        "slice.dcm",
        "x.npz",
        ("--photons", "1000", "--gain", "0.1"),
    ),
    "no photons": (6, "--photons must be a number from 1e-6", "slice.dcm", "x.npz", ("--photons", "0")),
    "negative gain": (6, "--gain must be 0 or from 1e-15 to 1e6", "slice.dcm", "x.npz", ("--gain=-1",)),
    "endless gain": (6, "--gain must be 0 or from 1e-15 to 1e6", "slice.dcm", "x.npz", ("--gain", "inf")),
}


@pytest.mark.parametrize("command", ["restore", "degrade"])
@pytest.mark.parametrize("kind", REFUSED)
def test_refused(pellucid_: Command, slice_: Path, photo: Path, tmp_path: Path, kind: str, command: str) -> None:
    code, words, source, target, options = REFUSED[kind]
    before = sorted(tmp_path.rglob("*"))
    ran = pellucid_(command, tmp_path / source, "-o", tmp_path / target, "--noise", "0.1", *options)
    assert ran.code == code and ran.err.count("\n") == 1 and "Traceback" not in ran.err, ran.err
    assert words in ran.err
    assert sorted(tmp_path.rglob("*")) == before


def test_another_window_than_the_priors_is_refused(pellucid_: Command, prior: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "y.npz", y=np.zeros((1, 16, 16), np.float32), window=np.array([-500.0, 500.0]))
    ran = pellucid_("restore", tmp_path / "y.npz", "-o", tmp_path / "x.npz", *LOW, "--prior", prior)
    assert ran.code == 6 and "-500 and 500 HU" in ran.err and "-1000 and 1000" in ran.err


def test_sinograms_that_lack_something(pellucid_: Command, prior: Path, slice_: Path, tmp_path: Path) -> None:
    ran = pellucid_("restore", slice_, "-o", tmp_path / "x.dcm", *SINOGRAM, "--prior", prior)
    assert ran.code == 6 and "pellucid degrade SLICE -A 'tomography:angles=12'" in ran.err
    source = write_slice(tmp_path / "square.dcm", body(32, 32))
    ok(pellucid_("degrade", source, *SINOGRAM, "-o", tmp_path / "whole.npz", "--json"))
    with np.load(tmp_path / "whole.npz") as file:
        np.savez(tmp_path / "y.npz", y=file["y"])
    ran = pellucid_("restore", tmp_path / "y.npz", "-o", tmp_path / "x.dcm", *SINOGRAM, "--prior", prior)
    assert ran.code == 3 and "--shape 1x256x256" in ran.err
    options = ("--prior", prior, "--shape", "1x32x32", "--nfe", "2")
    ran = pellucid_("restore", tmp_path / "y.npz", "-o", tmp_path / "x.dcm", *SINOGRAM, *options)
    assert ran.code == 0 and hu(tmp_path / "x.dcm").shape == (32, 32), ran.err


@pytest.mark.parametrize("photons", [20.0, 500.0])
def test_poisson_noise_has_its_mean_and_variance(photons: float) -> None:
    gain, level = 1 / photons, 0.4
    work = Degradation("identity", 0.02, 3, gain=gain)
    y = work.measure(torch.full((1, 300, 300), level)).double()
    n, wanted = y.numel(), gain * level + 0.02**2
    assert abs(float(y.mean()) - level) < 4 * (wanted / n) ** 0.5
    assert float(y.var()) == pytest.approx(wanted, rel=0.03)
    counts = Degradation("identity", 0.0, 3, gain=gain).measure(torch.full((1, 9, 9), level)) * photons
    assert torch.allclose(counts, counts.round(), atol=1e-4)


def test_poisson_noise_repeats_by_seed_and_spares_what_is_negative() -> None:
    x = torch.rand(1, 24, 24)
    one, two = (Degradation("identity", 0.0, 7, gain=0.01).measure(x) for _ in range(2))
    other = Degradation("identity", 0.0, 8, gain=0.01).measure(x)
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert torch.equal(Degradation("identity", 0.0, 7).measure(x), x)
    assert float(Degradation("identity", 0.0, 7, gain=0.01).measure(x - 2).sub(x - 2).abs().max()) < 1e-6


def test_photons_are_one_over_the_gain(pellucid_: Command, prior: Path, slice_: Path, tmp_path: Path) -> None:
    reports = [
        ok(pellucid_("degrade", slice_, "-o", tmp_path / f"{k}.npz", *option, "--json"))
        for k, option in enumerate((("--photons", "400"), ("--gain", "0.0025"), ()))
    ]
    assert [report["settings"]["gain"] for report in reports] == [0.0025, 0.0025, 0]
    first, second, clean = (hu(tmp_path / f"{k}.npz") for k in range(3))
    assert np.array_equal(first, second) and np.abs(first - clean).mean() > 20
    options = ("--prior", prior, "--photons", "400", "-m", "dps", "--nfe", "20", "--compare", slice_, "--json")
    report = ok(pellucid_("restore", tmp_path / "0.npz", "-o", tmp_path / "x.npz", *options))
    assert report["settings"]["gain"] == 0.0025 and report["settings"]["noise"] == 0
    with pytest.raises(ConfigError, match="--photons"):
        poisson_gain(0.1, 10)
    with pytest.raises(ProblemError):
        poisson_gain(float("nan"), None)


def test_what_is_restored_with_photons_is_not_what_is_restored_without(
    pellucid_: Command, prior: Path, slice_: Path, tmp_path: Path
) -> None:
    results = []
    for k, option in enumerate((("--photons", "400"), ("--noise", "0.001"))):
        ok(pellucid_("restore", slice_, "-o", tmp_path / f"{k}.npz", "--prior", prior, *option, *FAST, "--json"))
        results.append(hu(tmp_path / f"{k}.npz"))
    assert np.abs(results[0] - results[1]).mean() > 1
    none = pellucid_("restore", slice_, "-o", tmp_path / "x.npz", "--prior", prior, "--photons", "400", "--dry-run")
    assert none.code == 0, none.err  # noise alone is a problem to solve


@pytest.mark.skipif(not (EVALUATION.exists() and SHIPPED.exists()), reason="no CT of patients, or no prior of CT, here")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["lungmask_0", "head_j2kr", "pancreas"])
def test_patients_by_the_shipped_prior(pellucid_: Command, tmp_path: Path, name: str) -> None:
    with np.load(EVALUATION) as file:
        np.savez(tmp_path / "slice.npz", hu=file[name][64:192, 64:192])
    noisy = ("--noise", "0.1")
    ok(pellucid_("degrade", tmp_path / "slice.npz", "-o", tmp_path / "y.npz", *noisy, "--json"))
    options = (*noisy, "--prior", "ct", "--compare", tmp_path / "slice.npz", "--json")
    report = ok(pellucid_("restore", tmp_path / "y.npz", "-o", tmp_path / "x.dcm", *options))
    assert report["psnr"]["result"] > report["psnr"]["measurement"] + 5
    assert report["settings"]["method"] == "ddrm" and report["unit"] == "HU"
