"""Pictures to train on, by number, wherever they come from."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import ConfigError
from pellucid.train.data.cache import Cache, parse_bytes
from pellucid.train.data.entry import Entry, reason
from pellucid.train.data.files import SUFFIXES
from pellucid.train.data.find import find
from pellucid.train.data.values import prepare, unit
from pellucid.train.data.volume import Slicing
from pellucid.train.data.window import require_window

__all__ = ["SUFFIXES", "Source", "open_source"]


class Source:
    """Pictures by number, decoded when they are first needed and kept as long as there is memory.

    What a number stands for does not depend on memory, workers or the order of calls.

    Args:
        entries: the pictures.
        channels: 3 or 1.
        window: values that stand for 0 and 1, of int16, uint16 and float; see `values.unit`.
        workers: threads that decode while the source is opened.
        memory: bytes of decoded pictures that are kept.
        min_side: pictures with a shorter side are left out.
        verify: decode every picture once now, so that damaged ones are left out; False reads sizes alone, and a
            picture that turns out to be damaged is replaced by the one after it.

    Attributes:
        names, shapes: of every picture: where it is from, and (height, width).
    """

    def __init__(
        self,
        entries: Iterable[Entry],
        *,
        channels: int = 3,
        window: tuple[float, float] | None = None,
        workers: int = 4,
        memory: int = 2 * 10**9,
        min_side: int = 64,
        verify: bool = True,
    ) -> None:
        self.channels, self.window = channels, window
        self.names: list[str] = []
        self.shapes: list[tuple[int, int]] = []
        self._entries: list[Entry] = []
        self._cache = Cache(memory)
        self._warned: set[int] = set()
        listed = list(entries)
        with ThreadPoolExecutor(max(1, workers)) as pool:
            for entry, outcome in zip(listed, pool.map(lambda e: self._look(e, verify), listed), strict=True):
                if isinstance(outcome, str):
                    report(entry.name, outcome)
                elif min(outcome[0]) >= min_side:
                    self._add(entry, *outcome)

    def _look(self, entry: Entry, verify: bool) -> tuple[tuple[int, int], np.ndarray | None] | str:
        """Its shape and, unless the shape is all that is asked for, its pixels; the reason if it is damaged."""
        try:
            if entry.size is not None and not verify:
                return entry.size(), None
            array = self._load(entry)
        except ConfigError:
            raise
        except Exception as error:  # decoders raise anything; a damaged file must not end the training
            return reason(error)
        return (array.shape[0], array.shape[1]), array

    def _add(self, entry: Entry, shape: tuple[int, int], array: np.ndarray | None) -> None:
        if array is not None:
            self._cache.put(len(self._entries), array)
        self._entries.append(entry)
        self.names.append(entry.name)
        self.shapes.append(shape)

    def _load(self, entry: Entry) -> np.ndarray:
        return prepare(entry.load(), self.channels, self.window, entry.name)

    def __len__(self) -> int:
        return len(self._entries)

    def raw(self, index: int) -> np.ndarray:
        """The picture as it is kept: (h, w) or (h, w, 3) of uint8, uint16, int16 or float32.

        Raises:
            ConfigError: this picture and the twenty after it can no longer be read.
        """
        for k in range(index, index + min(21, len(self))):
            at = k % len(self)
            array = self._cache.get(at)
            if array is not None:
                return array
            try:
                array = self._load(self._entries[at])
            except Exception as error:  # as above: the file was fine, or not looked at, when the source was opened
                if at not in self._warned:
                    self._warned.add(at)
                    report(self.names[at], f"{reason(error)}; the next picture is taken instead")
                continue
            self._cache.put(at, array)
            return array
        raise ConfigError(f"{self.names[index]} and the pictures after it can no longer be read; mend the data")

    def unit(self, values: np.ndarray) -> np.ndarray:
        """(..., channels) float32 in [0, 1] from any part of `raw` pictures, (h, w) or (h, w, 3)."""
        scaled = unit(values, self.window)
        if scaled.ndim == 3:
            return scaled
        return np.broadcast_to(scaled[..., None], (*scaled.shape, self.channels))

    def picture(self, index: int) -> Tensor:
        """The whole picture, (channels, h, w) float32 in [0, 1]."""
        return torch.from_numpy(np.array(self.unit(self.raw(index)).transpose(2, 0, 1), order="C"))


def open_source(
    path: Path | str,
    *,
    channels: int = 3,
    window: Sequence[float] | None = None,
    workers: int = 4,
    min_side: int = 64,
    memory: str | int = "2GB",
    planes: str = "axial",
    z_range: Sequence[int] | None = None,
    z_leave: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    verify: bool = True,
) -> Source:
    """Training pictures from a path. Damaged files are reported by a warning and left out.

    Args:
        path: a folder, searched recursively, links out of it left alone; a list (.txt: one path a line, relative to the
            list, # begins a comment line); a picture; an array, .npy or .npz, as (h, w), (n, h, w) or (n, h, w, 1 or 3)
            of uint8, uint16, int16 or float; a DICOM file. Folders and lists may mix all of them but lists.
        channels: 3 or 1. Grey becomes three equal channels, colour grey by BT.601.
        window: (low, high), values that become 0 and 1, of int16, uint16 and float; `CT_WINDOW` for Hounsfield units.
            Without it uint16 is divided by 65535 and floats are in [0, 1]. 8 bits are divided by 255 always.
        workers: threads that decode.
        min_side: pictures with a shorter side are left out.
        memory: bytes of decoded pictures that are kept ("2GB"); the others are decoded again whenever they are needed.
            An .npz may not unpack to more.
        planes: of volumes (n, h, w) and DICOM series: "axial", or "all" for coronal and sagittal slices too.
        z_range, z_leave: (first, last + 1) of the axial slices to use, and of those to leave out.
        spacing: millimetres along (z, y, x) of volumes whose files do not say it; 1, 1, 1 by default.
        verify: decode every picture once now; see `Source`.

    Raises:
        ConfigError: an option is wrong, the path holds nothing usable, or its values need a window.
    """
    if channels not in (1, 3):
        raise ConfigError(f"channels must be 1 or 3, not {channels!r}")
    limits = None if window is None else require_window(window)
    slicing = Slicing(planes, z_range, z_leave, spacing)
    most = parse_bytes(memory)
    found = find(Path(path), slicing, most)
    for name, why in found.refused:
        report(name, why)
    if not (found.entries or found.refused):
        raise ConfigError(f"{path} holds no pictures ({' '.join(sorted(SUFFIXES))}), arrays or DICOM files")
    source = Source(
        found.entries, channels=channels, window=limits, workers=workers, memory=most, min_side=min_side, verify=verify
    )
    if not len(source):
        raise ConfigError(f"{path} holds no picture with both sides of at least {min_side} pixels (min_side)")
    return source


def report(name: str, why: str) -> None:
    """Says that a file is left out."""
    warnings.warn(f"{name} left out: {why}", stacklevel=3)
