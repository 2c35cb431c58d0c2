"""Pictures and measurements in .npz files, each under a key that says its unit. Complaints are `ValueError`s.

    hu       a picture in Hounsfield units, (h, w)
    image    a picture in [0, 1], (h, w) or (c, h, w)
    y        a measurement in the units of pictures in [0, 1], any shape: a sinogram is (c, angles, detectors)

One of them, and where they are known: `window`, the Hounsfield units of 0 and 1; `unit`, "HU" or "[0, 1]";
`image_shape`, of the picture that y was measured of; `geometry`, a JSON text; `about`, a JSON text that is not read.
A standard deviation is written under `std_hu` or `std`, and is not read.
"""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from pellucid.images.ct import CT, Geometry
from pellucid.images.picture import Picture
from pellucid.typing import Shape

CONTENT = ("hu", "image", "y")
HU, UNIT = "HU", "[0, 1]"
LONGEST = 100_000  # characters of a text, and numbers beside the content
LONGEST_HEAD = 10_000  # bytes; as numpy has it, which reads up to 4 GB before it looks
UNREADABLE = 0x61  # flags of a member that is encrypted or a patch


def read_npz(path: Path, max_pixels: int, window: tuple[float, float]) -> Picture:
    """The picture or measurement of an .npz file; nothing is clipped.

    Args:
        path: of the file.
        max_pixels: how many values it may have; it is looked up before anything is unpacked.
        window: Hounsfield units of 0 and 1, for `hu`.

    Raises:
        ValueError, zipfile.BadZipFile: no such file, none or several of the keys, a type, shape or unit that is wrong.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _require_plain(archive.namelist())
            heads = {name.removesuffix(".npy"): _head(archive, name) for name in archive.namelist()[:100]}
    except zipfile.BadZipFile as error:
        raise ValueError(f"it is no .npz file (a zip archive of arrays), or a damaged one: {error}") from error
    key = _key(heads)
    _check(key, *heads[key], max_pixels)
    with np.load(path, allow_pickle=False) as file:
        array, unit = file[key], _text(file, heads, "unit")
        if unit is not None and unit != (HU if key == "hu" else UNIT):
            raise ValueError(f"its unit is {unit!r:.40}, but {key} is in {HU if key == 'hu' else UNIT}")
        measured_in = _numbers(file, heads, "window", 2)
        image_shape = _numbers(file, heads, "image_shape", 3)
        geometry = _text(file, heads, "geometry")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and `read` refuses that
        pixels = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    pixels = pixels[None] if pixels.ndim == 2 and key != "y" else pixels
    ct = None
    if key == "hu" or measured_in is not None:
        low, high = window if key == "hu" or measured_in is None else measured_in
        if not low < high:
            raise ValueError(f"its window is {low:g} to {high:g}; Hounsfield units of 0 and of 1 are needed, low first")
        ct = CT((float(low), float(high)), _geometry(geometry, key, pixels))
    if key == "hu" and ct is not None:
        pixels = ct.unit(pixels)
    shape = None if image_shape is None else _shape(image_shape, max_pixels)
    return Picture(pixels, None, "float", ct=ct, quantity="measurement" if key == "y" else "picture", image_shape=shape)


def write_npz(path: Path, picture: Picture, texts: dict[str, str]) -> None:
    """float32, not clipped, under the key that says the unit, with window, geometry and texts beside it."""
    ct, pixels = picture.ct, picture.pixels.detach().cpu().float()
    content: dict[str, Any] = {}
    if picture.quantity == "measurement":
        content["y"] = pixels.numpy()
    elif picture.quantity == "spread":
        content["std" if ct is None else "std_hu"] = (pixels if ct is None else ct.spread(pixels)).numpy()
    elif ct is None:
        content["image"] = pixels.numpy()
    else:
        hu = ct.hounsfield(pixels).numpy()
        content["hu"] = hu[0] if len(hu) == 1 else hu
    content["unit"] = np.array(HU if {"hu", "std_hu"} & set(content) else UNIT)
    if ct is not None:
        content["window"] = np.array(ct.window)
        if ct.geometry is not None:
            content["geometry"] = np.array(json.dumps(ct.geometry.as_dict()))
    if picture.image_shape is not None:
        content["image_shape"] = np.array(picture.image_shape)
    np.savez(path, **content, about=np.array(json.dumps(texts)))


def read_head(file: IO[bytes], size: int, what: str) -> tuple[Shape, np.dtype[Any]]:
    """Shape and type of an array in numpy's format, without its values.

    Args:
        file: at the array's first byte.
        size: bytes that the array has in all.
        what: names it in errors.

    Raises:
        ValueError: not in numpy's format, damaged, a long header, Python objects, fewer values than it promises.
    """
    start = file.read(8)
    if start[:6] != b"\x93NUMPY":
        hint = "; it is a zip archive, so name it .npz" if start[:4] == b"PK\3\4" else ""
        raise ValueError(f"{what} is no array in numpy's format (.npy){hint}")
    first = start[6:7] == b"\1"
    told = file.read(2 if first else 4)
    length = int.from_bytes(told, "little")
    if length > LONGEST_HEAD:
        raise ValueError(f"{what} has a header of {length:,} bytes; at most {LONGEST_HEAD:,} are read")
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = read(BytesIO(told + file.read(length)))
    except Exception as error:  # numpy lets through whatever Python's parser raises
        raise ValueError(f"{what} has a damaged header ({type(error).__name__})") from error
    if dtype.hasobject:
        raise ValueError(f"{what} holds Python objects, which are not read")
    if prod(shape) * dtype.itemsize > size:
        raise ValueError(f"{what}, of shape {shape}, promises more than the {size:,} bytes that it has")
    return shape, dtype


def _require_plain(names: list[str]) -> None:
    """Raises `ValueError` where numpy could read another member than the one that is checked."""
    seen: set[str] = set()
    for name in names:
        if not name.endswith(".npy") or name in seen:
            raise ValueError(f"its {name!r:.40} is twice in it, or has no .npy at its end; numpy.savez writes neither")
        seen.add(name)


def _head(archive: zipfile.ZipFile, name: str) -> tuple[Shape, np.dtype[Any]]:
    """Shape and type of a member, without its values."""
    info = archive.getinfo(name)
    if info.flag_bits & UNREADABLE or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"its {name} is encrypted or compressed in a way that numpy does not write")
    with archive.open(info) as member:
        return read_head(member, info.file_size, f"its {name}")


def _key(heads: dict[str, Any]) -> str:
    found = [key for key in CONTENT if key in heads]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"it holds {' and '.join(found)}; one of them says what is meant")
    held = ", ".join(sorted(heads)[:8]) or "nothing"
    raise ValueError(
        f"it holds {held:.200}, but none of hu, image and y; name the array by its unit: numpy.savez(FILE, hu=slice) "
        "for Hounsfield units, image= for a picture in [0, 1], y= for a measurement such as a sinogram"
    )


def _check(key: str, shape: Shape, dtype: np.dtype[Any], max_pixels: int) -> None:
    if key == "hu" and len(shape) == 3 and shape[0] != 1:
        raise ValueError(f"its hu is a volume of shape {shape}; one slice at a time: numpy.savez(FILE, hu=volume[k])")
    wanted = {"hu": "(h, w)", "image": "(h, w) or (c, h, w)"}
    if key in wanted and len(shape) not in (2, 3):
        raise ValueError(f"its {key} has the shape {shape}; {wanted[key]} is needed")
    if dtype.kind not in ("fiu" if key == "hu" else "f"):
        raise ValueError(
            f"its {key} holds values of type {dtype}; {'real numbers' if key == 'hu' else 'floats'} are needed"
        )
    if not 0 < prod(shape) <= max_pixels:
        raise ValueError(
            f"its {key} of shape {shape} is empty, or has more than the {max_pixels:,} values that are read"
        )


def _text(file: Any, heads: dict[str, tuple[Shape, np.dtype[Any]]], key: str) -> str | None:
    if key not in heads:
        return None
    shape, dtype = heads[key]
    if shape != () or dtype.kind != "U" or dtype.itemsize > 4 * LONGEST:
        raise ValueError(f"its {key} is no text")
    return str(file[key])


def _numbers(file: Any, heads: dict[str, tuple[Shape, np.dtype[Any]]], key: str, length: int) -> list[float] | None:
    if key not in heads:
        return None
    shape, dtype = heads[key]
    if shape != (length,) or dtype.kind not in "fiu":
        raise ValueError(f"its {key} is not {length} numbers")
    return [float(value) for value in file[key]]


def _shape(values: list[float], max_pixels: int) -> Shape:
    # The bounds first: there is no whole number to infinity.
    if not all(1 <= value <= max_pixels and value == int(value) for value in values) or prod(values) > max_pixels:
        raise ValueError(f"its image_shape {values} is no shape (c, h, w) of at most {max_pixels:,} values")
    return tuple(int(value) for value in values)


def _geometry(text: str | None, key: str, pixels: torch.Tensor) -> Geometry | None:
    if text is None:
        return None
    try:
        geometry = Geometry.of(json.loads(text))
    except RecursionError as error:
        raise ValueError("its geometry is no table") from error
    if key == "hu" and (geometry.rows, geometry.columns) != tuple(pixels.shape[-2:]):
        raise ValueError(
            f"its geometry is of {geometry.rows} x {geometry.columns} pixels, not {tuple(pixels.shape[-2:])}"
        )
    return geometry
