"""DICOM's unique identifiers: new ones, and ones that stand for others without telling them."""

from __future__ import annotations

import hashlib
import re
import secrets
from uuid import UUID, uuid4

# Of this process alone, and never written: who has a file cannot find out by trying which identifier was replaced.
_SALT = secrets.token_bytes(32)
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")


def is_uid(text: str) -> bool:
    """Whether a text is an identifier as DICOM PS3.5 section 9.1 has them: at most 64 digits and points."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def new_uid() -> str:
    """An identifier that nothing else has (PS3.5 annex B.2: 2.25 and a random UUID)."""
    return f"2.25.{uuid4().int}"


def stand_in(purpose: str, uid: str | None) -> str:
    """The same identifier for the same `uid` and purpose within a run, another one in every run; new for None.

    Identifiers are made of dates, times and serial numbers of scanners, so they are not copied into what goes out;
    slices of one series have to stay together all the same.
    """
    if uid is None:
        return new_uid()
    digest = hashlib.blake2b(f"{purpose}/{uid}".encode(), key=_SALT, digest_size=16).digest()
    return f"2.25.{UUID(bytes=digest, version=4).int}"
