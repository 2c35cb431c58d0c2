"""A volume as pictures: which slices, in which planes, at which pixel size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from pellucid.errors import ConfigError
from pellucid.train.data.entry import Entry

AXES = ("axial", "coronal", "sagittal")


@dataclass(frozen=True)
class Slicing:
    """How stacks are cut.

    Args:
        planes: "axial": the slices as they are; "all": coronal and sagittal ones too, in square pixels of the axial
            side.
        z_range: (first, last + 1) of the axial slices that are used, before any other cut.
        z_leave: (first, last + 1) of axial slices that are not used; what lies on either side is a volume of its own.
        spacing: millimetres between samples along (z, y, x) where the file does not say; None: 1, 1, 1.

    Raises:
        ConfigError: an unknown plane, an empty range, a spacing that is not positive.
    """

    planes: str = "axial"
    z_range: Sequence[int] | None = None
    z_leave: Sequence[int] | None = None
    spacing: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.planes not in ("axial", "all"):
            raise ConfigError(f"planes must be 'axial' or 'all', not {self.planes!r}")
        for name, limits in (("z_range", self.z_range), ("z_leave", self.z_leave)):
            if limits is not None and not (len(limits) == 2 and 0 <= limits[0] < limits[1]):
                raise ConfigError(f"{name} must be (first, last + 1) with 0 <= first < last + 1, not {limits!r}")
        if self.spacing is not None and not (len(self.spacing) == 3 and all(0 < step < 1e3 for step in self.spacing)):
            raise ConfigError(f"spacing must be three positive millimetres along (z, y, x), not {self.spacing!r}")

    def kept(self, count: int) -> list[range]:
        """The axial slices out of `count` that are used, as runs of neighbours."""
        first, last = self.z_range or (0, count)
        first, last = min(first, count), min(last, count)
        if self.z_leave is None:
            return [range(first, last)]
        a, b = self.z_leave
        return [run for run in (range(first, min(a, last)), range(max(b, first), last)) if run]


def split_z(count: int, held_out: float = 0.2, gap: int = 8) -> tuple[tuple[int, int], tuple[int, int]]:
    """The ranges of `count` slices to train on and to hold out: the last share, with `gap` slices in neither.

    Neighbouring slices are nearly the same picture; without a gap the held-out ones would have been seen.

    Raises:
        ConfigError: no slice is left for one of the two.
    """
    first = count - round(count * held_out)
    if not (0 < held_out < 1 and gap >= 0 and first - gap > 0 and first < count):
        raise ConfigError(f"{count} slices cannot be split with {held_out:g} of them held out and a gap of {gap}")
    return (0, first - gap), (first, count)


def cut(name: str, volume: np.ndarray, slicing: Slicing, spacing: Sequence[float] | None) -> Iterator[Entry]:
    """The pictures of a volume (z, y, x), or of a stack of colour pictures (n, y, x, 3), which has axial ones only.

    Args:
        name: of the file.
        volume: also a memory map: nothing is read here.
        slicing: what to take.
        spacing: of this file, where it says so; it goes before `slicing.spacing`.
    """
    steps = spacing or slicing.spacing or (1.0, 1.0, 1.0)
    for kept in slicing.kept(len(volume)):
        for axis in range(3 if slicing.planes == "all" and volume.ndim == 3 else 1):
            for index in kept if axis == 0 else range(volume.shape[axis]):
                yield Entry(f"{name} ({AXES[axis]} {index})", partial(plane, volume, kept, axis, index, steps))


def plane(volume: np.ndarray, kept: range, axis: int, index: int, spacing: Sequence[float]) -> np.ndarray:
    """One slice across `axis` at `index`, resized to square pixels of the finer axial spacing.

    Coronal and sagittal slices have the axial range `kept` alone, so what is held out stays out of all planes. Where
    pixels become fewer, they are averages (bicubic filter scaled to the reduction), so that nothing aliases.
    """
    block = volume[kept.start : kept.stop]
    picture = np.ascontiguousarray(volume[index] if axis == 0 else np.take(block, index, axis))
    rows, columns = (s for k, s in enumerate(spacing) if k != axis)
    pixel = min(spacing[1:])
    size = (max(1, round(picture.shape[0] * rows / pixel)), max(1, round(picture.shape[1] * columns / pixel)))
    return picture if size == picture.shape[:2] else resize(picture, size)


def resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bicubic, antialiased, (h, w) or (h, w, c) to `size`, in the same dtype: rounded and clipped for integers."""
    if picture.ndim == 3:
        return np.stack([resize(picture[..., c], size) for c in range(picture.shape[2])], -1)
    height, width = size
    scaled = np.asarray(Image.fromarray(picture.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC))
    if picture.dtype.kind == "f":
        return scaled.astype(picture.dtype)
    limits = np.iinfo(picture.dtype)
    return scaled.round().clip(limits.min, limits.max).astype(picture.dtype)
