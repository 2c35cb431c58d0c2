"""What belongs to a CT slice beside its pixels: what they stand for, where it lies, and, if asked for, whose it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import Tensor

from pellucid.images.hu import CT_WINDOW, require_window
from pellucid.images.uids import is_uid

LENGTHS = {"spacing": 2, "position": 3, "orientation": 6}
MILLIMETRES = 1e6  # beyond any table


@dataclass(frozen=True)
class Geometry:
    """Where a slice lies, in DICOM's terms (PS3.3 C.7.6.2); nothing here says whose it is.

    Args:
        rows, columns: of the picture that the other numbers are of.
        spacing: millimetres between rows and between columns (PixelSpacing).
        position: of the centre of the first pixel, x, y, z in millimetres (ImagePositionPatient).
        orientation: direction cosines along a row, then down a column (ImageOrientationPatient).
        thickness: of the slice, in millimetres.
        frame: stands for the frame of reference; the same for slices that share one.
        series: stands for the series that the slice is of.
        instance: the slice's number in its series.

    Raises:
        ValueError: a number is not finite, a list has a wrong length, an identifier is none.
    """

    rows: int
    columns: int
    spacing: tuple[float, ...] | None = None
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    thickness: float | None = None
    frame: str | None = None
    series: str | None = None
    instance: int | None = None

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
            _require_whole(name, getattr(self, name), 1)
        for name, length in LENGTHS.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _numbers(name, value, length))
        if self.thickness is not None:
            object.__setattr__(self, "thickness", _numbers("thickness", [self.thickness], 1)[0])
        if self.spacing is not None and min(self.spacing) <= 0:
            raise ValueError(f"its pixel spacing is {self.spacing}; millimetres above 0 are needed")
        for name in ("frame", "series"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and is_uid(value)):
                raise ValueError(f"its geometry has no such {name} identifier: {value!r:.80}")
        if self.instance is not None:
            _require_whole("instance", self.instance, -(2**31))

    @classmethod
    def of(cls, values: object) -> Geometry:
        """From what `as_dict` gave, read from a file. Raises `ValueError`."""
        known = cls.__dataclass_fields__
        if not isinstance(values, dict) or not set(values) <= set(known) or not {"rows", "columns"} <= set(values):
            raise ValueError(f"its geometry is no table of {', '.join(known)}")
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """What is known, for a JSON text."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def resampled(self, rows: int, columns: int) -> Geometry:
        """The same field of view in another number of pixels.

        The first pixel's centre moves by half the difference of the pixel sizes, along the row and down the column.
        """
        if (rows, columns) == (self.rows, self.columns) or self.spacing is None:
            return replace(self, rows=rows, columns=columns)
        spacing = (self.spacing[0] * self.rows / rows, self.spacing[1] * self.columns / columns)
        position = self.position
        if position is not None and self.orientation is not None:
            down, right = ((new - old) / 2 for new, old in zip(spacing, self.spacing, strict=True))
            along, across = self.orientation[:3], self.orientation[3:]
            position = tuple(p + right * a + down * c for p, a, c in zip(position, along, across, strict=True))
        return replace(self, rows=rows, columns=columns, spacing=spacing, position=position)


@dataclass(frozen=True)
class CT:
    """What the numbers of a CT picture stand for, and where it comes from.

    Args:
        window: Hounsfield units of 0 and of 1.
        geometry: of the slice, where the file says it.
        identity: DICOM attributes of patient and study by keyword; None unless it was asked for. Never shown.

    Raises:
        ConfigError: the window is none.
    """

    window: tuple[float, float] = CT_WINDOW
    geometry: Geometry | None = None
    identity: Mapping[str, str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", require_window(self.window))

    def hounsfield(self, unit: Tensor) -> Tensor:
        """low + (high - low) unit; nothing is clipped."""
        low, high = self.window
        return low + (high - low) * unit

    def unit(self, hu: Tensor) -> Tensor:
        """(hu - low) / (high - low); nothing is clipped."""
        low, high = self.window
        return (hu - low) / (high - low)

    def spread(self, unit: Tensor) -> Tensor:
        """(high - low) unit: a difference, or a standard deviation, in Hounsfield units."""
        return (self.window[1] - self.window[0]) * unit

    def shown(self, unit: Tensor, window: tuple[float, float]) -> Tensor:
        """The same pixels with black and white at the Hounsfield units of another window."""
        low, high = window
        return (self.hounsfield(unit) - low) / (high - low) if window != self.window else unit

    def resampled(self, rows: int, columns: int) -> CT:
        """Of the same slice in another number of pixels."""
        return self if self.geometry is None else replace(self, geometry=self.geometry.resampled(rows, columns))


def _require_whole(name: str, value: object, least: int) -> None:
    if not (isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**31):
        raise ValueError(f"its geometry has no such {name}: {value!r:.80}")


def _numbers(name: str, values: Any, length: int) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError, OverflowError):
        numbers = ()
    if len(numbers) != length or not all(math.isfinite(number) and abs(number) <= MILLIMETRES for number in numbers):
        raise ValueError(f"its geometry has no such {name}: {values!r:.80}; {length} finite numbers are needed")
    return numbers
