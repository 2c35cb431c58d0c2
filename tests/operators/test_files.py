"""Masks and kernels from files: read as they are, refused if they are not what they should be."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.errors import OperatorError, ShapeError
from pellucid.operators import CircularBlur, KernelBlur, Mask
from pellucid.operators.files import read_grey, read_kernel


def test_a_mask_is_white_where_it_was_measured(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6), dtype=np.uint8)
    pixels[1:3, 2:] = 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    mask = Mask.from_file((3, 4, 6), tmp_path / "mask.png")
    assert torch.equal(mask(torch.ones(1, 3, 4, 6))[0, 2], torch.from_numpy(pixels / 255).float())
    with pytest.raises(ShapeError, match="4 x 6 pixels and the picture 4 x 7"):
        Mask.from_file((3, 4, 7), tmp_path / "mask.png")


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "P", "I;16"])
def test_pictures_of_any_mode_are_grey_levels(mode: str, tmp_path: Path) -> None:
    pixels = np.array([[0, 255], [255, 0]], dtype=np.uint8)
    image = Image.fromarray(pixels.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(pixels).convert(mode)
    image.save(tmp_path / "picture.png")
    assert read_grey(tmp_path / "picture.png").tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("name", ["kernel.npy", "kernel.png"])
def test_a_kernel_is_normalised(name: str, tmp_path: Path) -> None:
    pixels = np.array([[0, 100, 0], [50, 200, 50]], dtype=np.uint8)
    np.save(tmp_path / name, pixels) if name.endswith("npy") else Image.fromarray(pixels).save(tmp_path / name)
    expected = torch.from_numpy(pixels / 400)
    for blur in (KernelBlur, CircularBlur):
        kernel = blur.from_file((3, 8, 8), tmp_path / name).get_buffer("kernel")
        torch.testing.assert_close(kernel[0, 0], expected)


class Payload:
    """Would leave a file behind, were it unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, ("unpickled", "w")


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("objects.npy", np.array([Payload()], dtype=object), allow_pickle=True)
    Path("pickle.npy").write_bytes(pickle.dumps(Payload()))
    for name in ("objects.npy", "pickle.npy"):
        with pytest.raises(OperatorError, match=r"not a \.npy array"):
            read_kernel(name)
    assert not Path("unpickled").exists()


def test_files_that_are_no_kernel_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "line.npy", np.ones(5))
    np.save(tmp_path / "complex.npy", np.ones((3, 3), dtype=complex))
    np.save(tmp_path / "nan.npy", np.full((3, 3), np.nan))
    np.save(tmp_path / "zero.npy", np.zeros((3, 3)))
    np.save(tmp_path / "large.npy", np.ones((1, 2000)))
    good = (tmp_path / "line.npy").read_bytes()
    (tmp_path / "short.npy").write_bytes(good[:-8])
    (tmp_path / "broken.npy").write_bytes(good.replace(b"(5,), }", b"(5, ("))
    with (tmp_path / "liar.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)})
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "folder.npy").mkdir()
    for name in (p.name for p in tmp_path.iterdir()):
        with pytest.raises(OperatorError):
            KernelBlur.from_file((1, 8, 8), tmp_path / name)
    for path in ("missing.npy", "missing.png", "nul\0.png"):
        with pytest.raises(OperatorError, match="there is no file"):
            read_kernel(path)


def test_a_picture_is_measured_before_it_is_read(tmp_path: Path) -> None:
    Image.new("1", (12_000, 9_000)).save(tmp_path / "huge.png")
    with pytest.raises(OperatorError, match="12000 x 9000 pixels, more than"):
        read_grey(tmp_path / "huge.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "huge.png").read_bytes()[:60])
    with pytest.raises(OperatorError):
        read_grey(tmp_path / "cut.png", 2**30)
