"""CT slices as a plan takes them, a file each: of other patients than the prior's, and phantoms that it never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ConfigError
from pellucid.images.atomic import replacing
from pellucid.images.hu import to_unit
from pellucid.train.data.phantoms import phantom_picture

PATIENTS, PHANTOMS = "other-patients", "phantoms"
DRAW = 2**31 + 1  # of phantoms: the cards' own are of 2**31, and training draws from its run's seed


def study(source: Path, out: Path, count: int, size: int = 256) -> None:
    """Writes `out`/other-patients/*.npz and `out`/phantoms/*.npz: pictures (size, size) in [0, 1].

    0 and 1 are the ends of the shipped priors' window, -1000 and 1000 HU; what lies beyond is clipped, as `pellucid
    degrade` does.

    Args:
        source: an .npz of slices in Hounsfield units, (h, w) each, by name.
        out: a folder.
        count: phantoms.
        size: their side in pixels; the slices keep theirs.

    Raises:
        ConfigError: the source is missing, or is no such file.
    """
    for name, slice_hu in slices(source).items():
        save(to_unit(slice_hu.astype(np.float32)).clip(0, 1), out / PATIENTS / f"{name}.npz")
    for number in range(count):
        picture = phantom_picture(size, np.random.default_rng([DRAW, number])).clip(0, 1)
        save(picture, out / PHANTOMS / f"phantom_{number:02d}.npz")


def slices(source: Path) -> dict[str, NDArray[np.int16]]:
    """The slices of an .npz file, by name. Raises `ConfigError`."""
    try:
        with np.load(source, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read slices from {source}: {error}") from error
    if wrong := [name for name, array in found.items() if array.ndim != 2]:
        raise ConfigError(f"{source} holds {wrong[0]} of shape {found[wrong[0]].shape}; a slice is (h, w)")
    return found


def save(picture: NDArray[np.float32], path: Path) -> None:
    """Writes beside, then renames: the key is `image`, see `pellucid.images.arrays`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, image=np.asarray(picture, dtype=np.float32))
