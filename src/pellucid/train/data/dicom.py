"""DICOM files as pictures: Hounsfield units where they are CT, sorted along the body, frame by frame."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.errors import ConfigError
from pellucid.images.dicom import hounsfield, is_dicom, read_attributes
from pellucid.images.read import MAX_PIXELS
from pellucid.train.data.entry import Entry, Found, Refused, reason
from pellucid.train.data.volume import Slicing, cut

__all__ = ["hounsfield", "is_dicom", "series"]


def series(paths: Sequence[Path], slicing: Slicing) -> Found:
    """The pictures of DICOM files, series by series, each sorted by position, else by instance number.

    Raises:
        ConfigError: pydicom is not installed.
    """
    found, groups = Found(), defaultdict(list)
    for path in paths:
        try:
            head = read_attributes(path, pixels=False)
            rows, columns = int(head.Rows), int(head.Columns)
            frames = int(head.get("NumberOfFrames") or 1)
            if not 0 < rows * columns * frames <= MAX_PIXELS:
                raise Refused(f"{frames} frames of {columns} x {rows} pixels; at most {MAX_PIXELS:,} are read")
            if frames > 1:
                found.entries += cut(str(path), hounsfield(path), slicing, _spacing([head]))
            else:
                groups[str(head.get("SeriesInstanceUID", "")), rows, columns].append((path, head))
        except ConfigError:
            raise
        except Exception as error:  # pydicom raises anything; a damaged file must not end the training
            found.refused.append((str(path), reason(error)))
    for members in groups.values():
        _add(found, _sorted(members), slicing)
    return found


def _add(found: Found, members: list[tuple[Path, Any]], slicing: Slicing) -> None:
    """The pictures of one series, in order."""
    if slicing.planes == "axial":
        for run in slicing.kept(len(members)):
            found.entries += [Entry(str(members[k][0]), partial(hounsfield, members[k][0])) for k in run]
        return
    slices, heads = [], []
    for path, head in members:
        try:
            slices.append(hounsfield(path))
            heads.append(head)
        except Exception as error:  # as above
            found.refused.append((str(path), reason(error)))
    if slices:
        found.entries += cut(str(members[0][0].parent), np.stack(slices), slicing, _spacing(heads))


def _position(head: Any) -> float | None:
    """Millimetres along the normal of the slice; None where the file does not say."""
    place, turn = head.get("ImagePositionPatient"), head.get("ImageOrientationPatient")
    if not place:
        return None
    normal = np.cross([float(v) for v in turn[:3]], [float(v) for v in turn[3:]]) if turn else np.array([0.0, 0.0, 1.0])
    return float(normal @ np.array([float(v) for v in place]))


def _sorted(members: list[tuple[Path, Any]]) -> list[tuple[Path, Any]]:
    places = [_position(head) for _, head in members]
    if any(place is None for place in places):
        places = [float(head.get("InstanceNumber") or 0) for _, head in members]
    order = sorted(range(len(members)), key=lambda k: (places[k], str(members[k][0])))
    return [members[k] for k in order]


def _spacing(heads: list[Any]) -> tuple[float, float, float] | None:
    """Millimetres along (z, y, x), between slices from their positions; None where the files do not say."""
    pixel = heads[0].get("PixelSpacing")
    if not pixel:
        return None
    places = [place for place in map(_position, heads) if place is not None]
    steps = np.abs(np.diff(places))
    declared = heads[0].get("SpacingBetweenSlices") or heads[0].get("SliceThickness")
    between = float(np.median(steps)) if len(steps) and np.median(steps) > 0 else float(declared or pixel[0])
    return between, float(pixel[0]), float(pixel[1])
