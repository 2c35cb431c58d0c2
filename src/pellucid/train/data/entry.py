"""One picture of a source, not decoded yet, and what is said about a file that gives none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


class Refused(Exception):
    """A file is left out; the text is the reason, without the file's name."""


@dataclass(frozen=True)
class Entry:
    """A picture to be decoded, as often as need be.

    Args:
        name: for reports: the file, with the slice's number where it holds several.
        load: decodes: (h, w) or (h, w, 3) of uint8, uint16, int16 or float32; raises for a damaged file.
        size: (height, width) without decoding, where that is cheap.
    """

    name: str
    load: Callable[[], np.ndarray]
    size: Callable[[], tuple[int, int]] | None = None


@dataclass
class Found:
    """What a path holds: pictures, and (file, reason) of whatever was left out."""

    entries: list[Entry] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def reason(error: BaseException) -> str:
    """An exception as one line."""
    return " ".join(str(error).split()) or type(error).__name__
