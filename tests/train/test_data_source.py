"""Sources: every kind of file, damaged ones, values, slices; the same pictures whatever the memory and the workers."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.errors import ConfigError
from pellucid.train.data import CT_WINDOW, from_unit, open_source, split_z, to_unit
from pellucid.train.data.window import from_attenuation, to_attenuation


def colours(seed: int, height: int = 70, width: int = 90) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    for k in range(4):
        Image.fromarray(colours(k)).save(data / ("deep" if k % 2 else "") / f"{k}.png")
    return data


def test_a_folder_is_searched_and_its_pixels_are_divided_by_255(folder: Path) -> None:
    source = open_source(folder)
    assert [Path(name).name for name in source.names] == ["0.png", "2.png", "1.png", "3.png"]
    assert source.shapes == [(70, 90)] * 4
    assert torch.equal(source.picture(2), torch.from_numpy(colours(1)).permute(2, 0, 1) / 255)


def test_colour_becomes_grey_by_bt601_and_grey_three_equal_channels(folder: Path) -> None:
    exact = torch.from_numpy(colours(0) @ np.array([0.299, 0.587, 0.114])) / 255
    assert (open_source(folder, channels=1).picture(0)[0] - exact).abs().max() <= 1 / 255
    Image.fromarray(colours(0)[..., 0]).save(folder / "0.png")
    picture = open_source(folder).picture(0)
    assert picture.shape == (3, 70, 90) and torch.equal(picture[0], picture[2])
    assert torch.equal(picture[1] * 255, torch.from_numpy(colours(0)[..., 0]).float())


def test_damaged_files_are_named_and_left_out(folder: Path) -> None:
    whole = (folder / "0.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("no picture")
    (folder / "bad.npz").write_bytes(b"PK\x03\x04 no archive")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        source = open_source(folder)
    assert len(source) == 4
    texts = sorted(str(warning.message) for warning in told)
    assert [Path(text.split(" left out: ")[0]).name for text in texts] == ["bad.npz", "cut.png", "text.jpg"]
    assert "truncated" in texts[1] and "cannot identify" in texts[2]


def test_pickles_are_never_opened(folder: Path) -> None:
    np.savez(folder / "objects.npz", a=np.array([{"a": 1}], dtype=object))
    with pytest.warns(UserWarning, match=r"objects\.npz left out: .*allow_pickle"):
        assert len(open_source(folder)) == 4


def test_an_archive_that_unpacks_to_more_than_the_memory_is_refused_unopened(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", np.zeros((50, 200, 200), np.uint8))
    assert (tmp_path / "bomb.npz").stat().st_size < 10_000
    with pytest.warns(UserWarning, match="unpacks to 0.0 GB"), pytest.raises(ConfigError, match="holds no picture"):
        open_source(tmp_path / "bomb.npz", memory="1MB")


def test_links_out_of_a_folder_are_refused_but_a_list_may_name_them(folder: Path, tmp_path: Path) -> None:
    Image.fromarray(colours(9)).save(tmp_path / "outside.png")
    os.symlink(tmp_path / "outside.png", folder / "link.png")
    with pytest.warns(UserWarning, match=r"link\.png left out: a link out of its folder"):
        assert len(open_source(folder)) == 4
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("# a comment\n\n../outside.png\n../data/0.png\nnot-there.png\n")
    with pytest.warns(UserWarning, match=r"not-there\.png left out: no such file"):
        source = open_source(lists / "train.txt")
    assert [Path(name).name for name in source.names] == ["outside.png", "0.png"]
    assert torch.equal(source.picture(0) * 255, torch.from_numpy(colours(9)).permute(2, 0, 1).float())


@pytest.mark.parametrize(
    ("array", "options", "expected"),
    [
        (np.full((2, 64, 66), 51, np.uint8), {}, 0.2),
        (np.full((2, 64, 66, 3), 51, np.uint8), {"window": (0, 1)}, 0.2),  # 8 bits need no window
        (np.full((64, 66), 13107, np.uint16), {}, 0.2),
        (np.full((2, 64, 66), -600, np.int16), {"window": CT_WINDOW}, 0.2),
        (np.full((2, 64, 66), -600.2), {"window": CT_WINDOW}, 0.2),
        (np.full((2, 64, 66, 1), 0.2, np.float32), {}, 0.2),
        (np.full((2, 64, 66), 3.0), {"window": [2, 7]}, 0.2),
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_arrays_of_every_kind(
    tmp_path: Path, array: np.ndarray, options: dict[str, Any], expected: float, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    np.save(path, array) if suffix == "npy" else np.savez_compressed(path, array)
    source = open_source(path, channels=1, **options)
    assert len(source) == (1 if array.ndim == 2 else 2)
    picture = source.picture(0)
    assert picture.shape == (1, 64, 66) and picture.dtype == torch.float32
    torch.testing.assert_close(picture, torch.full_like(picture, expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("array", [np.zeros((2, 64, 64), np.int16), np.full((2, 64, 64), 7.0)])
def test_values_without_a_known_white_ask_for_a_window(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ConfigError, match=r"window = \(-1000"):
        open_source(tmp_path / "a.npy")


def test_nan_and_strange_arrays_are_left_out(tmp_path: Path) -> None:
    good = np.zeros((2, 64, 64), np.float32)
    good[1, 3, 3] = np.nan
    np.savez(tmp_path / "a.npz", good)
    np.save(tmp_path / "b.npy", np.zeros((64, 64), np.complex64))
    np.save(tmp_path / "c.npy", np.zeros((2, 2, 2, 64, 64), np.uint8))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert len(open_source(tmp_path)) == 1
    text = "\n".join(sorted(str(warning.message) for warning in told))
    assert "(axial 1) left out: it holds NaN" in text and "complex64" in text and "(2, 2, 2, 64, 64)" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": (3, 3)}, "low < high"),
        ({"window": (0, float("nan"))}, "low < high"),
        ({"channels": 2}, "channels must be 1 or 3"),
        ({"planes": "coronal"}, "'axial' or 'all'"),
        ({"z_range": (5, 5)}, "z_range must be"),
        ({"z_leave": (-1, 5)}, "z_leave must be"),
        ({"spacing": (1, 0, 1)}, "positive millimetres"),
        ({"memory": "much"}, "number of bytes"),
        ({"min_side": 91}, "holds no picture with both sides of at least 91"),
    ],
)
def test_wrong_options_are_refused(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_source(folder, **options)
    with pytest.raises(ConfigError, match="do not exist"):
        open_source(folder / "nowhere")


@pytest.mark.parametrize("options", [{"memory": 40_000}, {"memory": 0, "workers": 1}, {"verify": False}])
def test_memory_and_workers_change_nothing(folder: Path, options: dict[str, Any]) -> None:
    kept, other = open_source(folder), open_source(folder, **options)
    assert other.names == kept.names and other.shapes == kept.shapes
    for _ in range(2):
        for k in (3, 0, 2, 1):
            assert torch.equal(other.picture(k), kept.picture(k))
    assert other._cache.used <= other._cache.limit and (other._cache.limit >= 2**20) == (len(other._cache._kept) == 4)


def test_a_picture_that_vanishes_is_replaced_by_the_next_and_told_once(folder: Path) -> None:
    source = open_source(folder, memory=0)
    (folder / "2.png").unlink()
    with pytest.warns(UserWarning, match=r"2\.png left out: .*the next picture is taken"):
        assert torch.equal(source.picture(1), source.picture(2))
    assert torch.equal(source.picture(1), source.picture(2))  # a second warning would be an error


def test_the_window_and_back() -> None:
    hu = np.linspace(-1000, 1000, 41)
    unit = to_unit(hu)
    assert unit[0] == 0 and unit[20] == 0.5 and unit[-1] == 1
    np.testing.assert_allclose(from_unit(unit), hu, atol=1e-9)
    assert np.array_equal(to_unit(np.array([-3024.0, 2500.0])), [0, 1])
    tensor = torch.tensor([-160.0, 40.0, 240.0])
    assert torch.equal(to_unit(tensor, (-160, 240)), torch.tensor([0, 0.5, 1]))
    np.testing.assert_allclose(to_attenuation(np.array([-1000.0, 0.0, 1000.0])), [0, 0.0193, 0.0386], atol=1e-12)
    np.testing.assert_allclose(from_attenuation(to_attenuation(hu)), hu, atol=1e-9)


def ramp(depth: int = 40) -> np.ndarray:
    """A volume whose values tell where a voxel is: 100 z + y."""
    z, y, _ = np.meshgrid(np.arange(depth), np.arange(64), np.arange(80), indexing="ij")
    return (100 * z + y).astype(np.int16)


def test_three_planes_with_square_pixels_of_the_axial_side(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", ramp())
    source = open_source(tmp_path / "v.npz", channels=1, window=(0, 4000), planes="all", spacing=(3, 1.5, 1.5))
    assert len(source) == 40 + 64 + 80
    assert source.shapes[:40] == [(64, 80)] * 40
    assert source.shapes[40:104] == [(80, 80)] * 64  # 40 slices 3 mm apart are 80 pixels of 1.5 mm
    assert source.shapes[104:] == [(80, 64)] * 80
    coronal = from_unit(source.picture(40 + 5)[0], (0, 4000))
    expected = 100 * ((torch.arange(80) + 0.5) / 2 - 0.5) + 5
    torch.testing.assert_close(coronal[8:-8, 7], expected[8:-8], rtol=0, atol=1.5)


def test_held_out_slices_are_in_no_plane_of_the_training_set(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", ramp(100))
    train, held_out = split_z(100, held_out=0.2, gap=6)
    assert train == (0, 74) and held_out == (80, 100)
    path, options = tmp_path / "v.npz", {"channels": 1, "window": (0, 10000), "planes": "all", "min_side": 10}
    seen = [open_source(path, z_range=limits, **options) for limits in (train, held_out)]  # type: ignore[arg-type]
    slices = [{int(value) // 100 for k in range(len(s)) for value in np.unique(s.raw(k))} for s in seen]
    assert slices == [set(range(74)), set(range(80, 100))]
    rest = open_source(path, z_leave=(30, 50), **options)  # type: ignore[arg-type]
    assert {int(v) // 100 for k in range(len(rest)) for v in np.unique(rest.raw(k))} == {*range(30), *range(50, 100)}
    assert len(rest) == 80 + 2 * (64 + 80)  # two volumes: nothing is interpolated over the gap
    with pytest.raises(ConfigError, match="cannot be split"):
        split_z(10, held_out=0.5, gap=5)
