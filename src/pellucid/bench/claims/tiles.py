"""Collections and test pictures of ADIR's runs: squares cut out of photographs and CT slices, a file each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pellucid.bench.claims.slices import slices
from pellucid.errors import ConfigError
from pellucid.images.atomic import replacing
from pellucid.images.hu import to_unit
from pellucid.train.data.find import find
from pellucid.train.data.volume import Slicing

MOST = 2 * 10**9  # bytes that an .npz may unpack to


def study(source: Path, out: Path, size: int, every: int = 1) -> int:
    """Cuts every picture of a folder or list, or every slice of an .npz in Hounsfield units, into squares.

    The squares lie side by side around the middle; names end in row and column, so that the same call writes the same
    files. What is there already is left.

    Args:
        source: see above; of an .npz, volumes (n, h, w) are taken slice by slice.
        out: a folder.
        size: side of a square in pixels.
        every: take every so manyth picture only.

    Returns:
        How many squares there are.

    Raises:
        ConfigError: the source is missing or holds nothing of that size.
    """
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for name, load in list(_pictures(source).items())[::every]:
        picture = load()
        height, width = picture.shape[:2]
        rows, columns = height // size, width // size
        top, left = (height - rows * size) // 2, (width - columns * size) // 2
        for row in range(rows):
            for column in range(columns):
                path = out / f"{name}-{row}-{column}.png"
                count += 1
                if not path.is_file():
                    y, x = top + row * size, left + column * size
                    with replacing(path) as partial:
                        Image.fromarray(picture[y : y + size, x : x + size]).save(partial)
    if not count:
        raise ConfigError(f"{source} holds no picture of {size} x {size} pixels or more")
    return count


def _pictures(source: Path) -> dict:  # type: ignore[type-arg]
    """Names, and functions that decode to (h, w) or (h, w, 3) of uint8."""
    if source.suffix.lower() == ".npz":
        return {name: (lambda a=array: _bytes(to_unit(a.astype(np.float32)))) for name, array in _planes(source)}
    found = find(source, Slicing(), MOST).entries
    return {Path(entry.name).stem: (lambda e=entry: e.load()) for entry in found}


def _planes(source: Path) -> list[tuple[str, np.ndarray]]:
    """The slices of an .npz by name; a volume's by their number."""
    try:
        return list(slices(source).items())
    except ConfigError:
        with np.load(source, allow_pickle=False) as file:
            volumes = {name: file[name] for name in file.files if file[name].ndim == 3}
    return [(f"{name}-{i:03d}", plane) for name, volume in volumes.items() for i, plane in enumerate(volume)]


def _bytes(unit: np.ndarray) -> np.ndarray:
    return (255 * unit.clip(0, 1)).round().astype(np.uint8)
