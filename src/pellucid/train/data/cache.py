"""Decoded pictures, as many as fit: those that were used last."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict

import numpy as np

from pellucid.errors import ConfigError

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_bytes(memory: str | int) -> int:
    """A number of bytes from "2GB", "512 MiB" or 1000000.

    Raises:
        ConfigError: it is none, or negative.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(memory))
    if match is None or match[2].upper() not in UNITS:
        raise ConfigError(f"memory must be a number of bytes such as '2GB' or '512MiB', not {memory!r}")
    return int(float(match[1]) * UNITS[match[2].upper()])


class Cache:
    """Arrays by number, `limit` bytes of them at most; safe for threads."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, index: int) -> np.ndarray | None:
        """The array, if it is still here; it then is the last that was used."""
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
            return self._kept.get(index)

    def put(self, index: int, array: np.ndarray) -> None:
        """Keeps the array, and drops those that were not used for longest where there is no room."""
        with self._lock:
            if index in self._kept or array.nbytes > self.limit:
                return
            self._kept[index] = array
            self.used += array.nbytes
            while self.used > self.limit:
                self.used -= self._kept.popitem(last=False)[1].nbytes
