"""Pictures on disk: every depth and mode read, written and read again; damaged files refused in one line."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms, PngImagePlugin

from pellucid.errors import ImageFileError
from pellucid.images import Metadata, Picture, choose_depth, read, write
from pellucid.images.png import SIGNATURE, chunk, read_png16

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
WORDS = RNG.integers(0, 65536, (13, 17, 3), dtype=np.uint16)


def smooth_words(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (30000 + 20000 * np.sin(x / 9 + y / 13) + RNG.integers(0, 300, (height, width))).astype(np.uint16)


def pixels(array: np.ndarray) -> torch.Tensor:
    planes = array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
    white = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
    return torch.from_numpy(planes.astype(np.float32)) / float(white)


@pytest.mark.parametrize(
    ("name", "colour", "depth", "alpha"),
    [
        (name, colour, depth, alpha)
        for name in ("x.png", "x.tif")
        for colour in (1, 3)
        for depth in ("8", "16", "float")
        for alpha in (False, True)
        if (name, depth) != ("x.png", "float")
    ],
)
def test_written_and_read_again(tmp_path: Path, name: str, colour: int, depth: str, alpha: bool) -> None:
    levels = {"8": 255, "16": 65535, "float": 2**24}[depth]
    values = torch.from_numpy(RNG.integers(0, levels + 1, (colour + alpha, 13, 17))).float() / levels
    picture = Picture(values[:colour], values[colour:] if alpha else None)
    write(tmp_path / name, picture, depth)  # type: ignore[arg-type]
    again = read(tmp_path / name)
    assert again.depth == depth
    torch.testing.assert_close(again.pixels, picture.pixels, rtol=0, atol=1e-7)
    if alpha:
        torch.testing.assert_close(again.alpha, picture.alpha, rtol=0, atol=1e-7)
    else:
        assert again.alpha is None


def test_float_tiff_is_not_clipped(tmp_path: Path) -> None:
    values = torch.linspace(-0.5, 2.0, 60).reshape(1, 6, 10)
    write(tmp_path / "y.tif", Picture(values), "float")
    assert torch.equal(read(tmp_path / "y.tif").pixels, values)


def test_16_bit_png_through_every_filter(tmp_path: Path) -> None:
    grey = smooth_words(300, 41)  # more rows than a band; zlib's heuristics use several filters
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(read_png16(tmp_path / "grey.png")[..., 0], grey)


def test_all_five_filters_by_hand() -> None:
    from pellucid.images.png import unfilter

    plain = RNG.integers(0, 256, (12, 7 * 6), dtype=np.uint8)
    filters = RNG.integers(0, 5, 12).astype(np.uint8)
    assert np.array_equal(unfilter(_filtered(plain, filters, 6), filters, 6), plain)


def _filtered(plain: np.ndarray, filters: np.ndarray, pixel: int) -> np.ndarray:
    """The specification's table, byte by byte."""
    padded = np.zeros((plain.shape[0] + 1, plain.shape[1] + pixel), int)
    padded[1:, pixel:] = plain
    out = np.zeros_like(plain)
    for row in range(plain.shape[0]):
        for column in range(plain.shape[1]):
            a, b, c = (int(padded[row + i, column + j]) for i, j in ((1, 0), (0, pixel), (0, 0)))
            p = a + b - c
            nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            out[row, column] = (int(plain[row, column]) - (0, a, b, (a + b) // 2, nearest)[filters[row]]) % 256
    return out


def test_pillow_reads_our_16_bit_colour(tmp_path: Path) -> None:
    write(tmp_path / "x.png", Picture(pixels(WORDS)), "16", {"note": "grüße", "plain": "text"})
    with Image.open(tmp_path / "x.png") as image:
        image.load()
        assert image.size == (17, 13) and image.text == {"note": "grüße", "plain": "text"}
        assert np.abs(np.asarray(image).astype(int) - (WORDS >> 8).astype(int)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_orientation_is_applied_and_gone(tmp_path: Path, orientation: int, suffix: str) -> None:
    from PIL import ImageOps

    path, exif = tmp_path / f"x{suffix}", Image.Exif()
    exif[0x0112], exif[0x013B] = orientation, "Somebody"
    Image.fromarray(BYTES).save(path, exif=exif)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    picture = read(path)
    torch.testing.assert_close(picture.pixels, pixels(upright))
    write(tmp_path / "out.png", picture, "8")
    with Image.open(tmp_path / "out.png") as image:
        assert image.getexif().get(0x0112, 1) == 1 and image.getexif()[0x013B] == "Somebody"


@pytest.mark.parametrize("array", [WORDS, WORDS[..., 0]], ids=["colour", "grey"])
def test_16_bit_tiff_with_orientation(tmp_path: Path, array: np.ndarray) -> None:
    tifffile.imwrite(
        tmp_path / "x.tif",
        array,
        extratags=[(274, "H", 1, 6, True)],
        photometric="rgb" if array.ndim == 3 else "minisblack",
    )
    torch.testing.assert_close(read(tmp_path / "x.tif").pixels, pixels(np.rot90(array, -1).copy()))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F"])
def test_every_mode(tmp_path: Path, mode: str) -> None:
    image = (
        Image.fromarray(BYTES[..., 0]).convert(mode) if mode in ("I;16", "F") else Image.fromarray(BYTES).convert(mode)
    )
    path = tmp_path / ("x.png" if mode in ("P", "LA", "PA", "I;16") else "x.jpg" if mode == "YCbCr" else "x.tif")
    if mode == "PA":
        image = Image.fromarray(BYTES).convert("P")
        image.info["transparency"] = 0
        image.save(path, transparency=0)
    else:
        image.save(path)
    picture = read(path)
    assert picture.pixels.shape == (1 if mode in ("1", "L", "LA", "I;16", "F") else 3, 13, 17)
    assert (picture.alpha is not None) == (mode in ("LA", "PA", "RGBA"))


def test_metadata_survives(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "Somebody")
    Image.fromarray(BYTES).save(tmp_path / "x.png", icc_profile=profile, dpi=(300, 300), pnginfo=texts)
    for depth, name in (("8", "y.png"), ("16", "z.png"), ("8", "y.tif"), ("8", "y.jpg"), ("8", "y.webp")):
        write(tmp_path / name, read(tmp_path / "x.png"), depth, {"pellucid": "made"})  # type: ignore[arg-type]
        metadata = read(tmp_path / name).metadata
        assert metadata.icc == profile
        if not name.endswith("webp"):
            assert metadata.dpi == pytest.approx((300, 300), abs=0.1)
        if name.endswith("png"):
            assert metadata.texts == {"Author": "Somebody", "pellucid": "made"}


def test_cmyk_leaves_its_profile_behind(tmp_path: Path) -> None:
    Image.fromarray(BYTES).convert("CMYK").save(tmp_path / "x.tif")
    assert read(tmp_path / "x.tif").metadata.icc is None


def test_alpha_follows_the_size() -> None:
    picture = Picture(torch.rand(1, 8, 8), torch.ones(1, 8, 8), metadata=Metadata(icc=b"grey"))
    larger = picture.with_pixels(torch.rand(3, 16, 16))
    assert larger.alpha is not None and larger.alpha.shape == (1, 16, 16) and bool((larger.alpha == 1).all())
    assert larger.metadata.icc is None
    assert picture.at_most(4).pixels.shape == (1, 4, 4) and picture.at_most(9) is picture


def test_measurements_of_any_shape(tmp_path: Path) -> None:
    values = torch.randn(3, 50)
    with pytest.raises(ImageFileError, match=r"write it to a \.npy"):
        write(tmp_path / "y.png", Picture(values), "8")
    write(tmp_path / "y.npy", Picture(values), "float")
    assert torch.equal(read(tmp_path / "y.npy").pixels, values) and not read(tmp_path / "y.npy").is_image


def damaged(kind: str, folder: Path) -> Path:
    path = folder / "x.png"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("no picture " * 100)
    elif kind.startswith("truncated"):
        source = BYTES.repeat(20, 0) if kind.endswith("8") else WORDS.repeat(20, 0)
        whole = folder / f"whole.{'jpg' if kind.endswith('8') else 'png'}"
        write(whole, Picture(pixels(source)), kind.removeprefix("truncated-"))  # type: ignore[arg-type]
        path = whole.with_stem("cut")
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    elif kind == "gigapixel":
        header = struct.pack(">IIBBBBB", 40000, 30000, 8, 2, 0, 0, 0)
        content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
        path.write_bytes(SIGNATURE + content)
    elif kind == "nan":
        path = folder / "x.tif"
        tifffile.imwrite(path, np.array([[np.nan, 1.0]], np.float32))
    elif kind == "pickle":
        path = folder / "x.npy"
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "does not exist"),
        ("empty", "0 bytes"),
        ("folder", "is not a file"),
        ("text", "is not a picture"),
        ("truncated-8", "truncated"),
        ("truncated-16", "truncated|cannot read"),
        ("gigapixel", "pixels"),
        ("nan", "NaN"),
        ("pickle", "cannot read"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, kind: str, words: str) -> None:
    with pytest.raises(ImageFileError, match=words) as caught:
        read(damaged(kind, tmp_path))
    assert "\n" not in str(caught.value)


def test_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Image.Image, fp: Path, *rest: object, **options: object) -> None:
        Path(fp).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    (tmp_path / "x.png").write_bytes(b"old")
    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(ImageFileError, match="No space left"):
        write(tmp_path / "x.png", Picture(pixels(BYTES)), "8")
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"] and (tmp_path / "x.png").read_bytes() == b"old"


def test_depths() -> None:
    assert choose_depth(Path("x.png"), "float") == "16" and choose_depth(Path("x.png"), "8") == "8"
    assert choose_depth(Path("x.tif"), "float") == "float" and choose_depth(Path("x.jpg"), "16") == "8"
    with pytest.raises(ImageFileError, match="8 or 16"):
        choose_depth(Path("x.png"), "8", "float")
    with pytest.raises(ImageFileError, match="suffix"):
        choose_depth(Path("x.xyz"), "8")
