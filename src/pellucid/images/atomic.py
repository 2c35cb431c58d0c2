"""Files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from pellucid.errors import ImageFileError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; renamed to `path` when the block ends well, removed when it does not.

    The name keeps the suffix, by which libraries choose the format.

    Raises:
        ImageFileError: the system refuses to write there.
    """
    partial = path.with_name(f".{path.stem}.{uuid4().hex[:8]}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise ImageFileError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # it may never have come into being
            partial.unlink()


def require_folder(folder: Path) -> None:
    """Finds out, before minutes of work, whether files can be written into `folder`.

    Raises:
        ImageFileError: they cannot.
    """
    if not folder.exists():
        raise ImageFileError(f"the folder {folder} does not exist; make it first")
    if not folder.is_dir():
        raise ImageFileError(f"{folder} is not a folder")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ImageFileError(f"cannot write into the folder {folder}: {error.strerror or error}") from error
