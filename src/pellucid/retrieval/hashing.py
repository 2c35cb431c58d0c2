"""Hashes of files."""

from __future__ import annotations

import hashlib
from pathlib import Path


def digest(path: Path) -> str:
    """SHA-256 of a file's content, as hexadecimal digits. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hexadecimal(key: object) -> bytes | None:
    """The 32 bytes of a SHA-256 written as 64 small hexadecimal digits; None where it is none."""
    if not isinstance(key, str) or len(key) != 64 or not set(key) <= set("0123456789abcdef"):
        return None
    return bytes.fromhex(key)
