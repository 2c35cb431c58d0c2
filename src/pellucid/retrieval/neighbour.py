"""A picture of the collection that has been found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from pellucid.errors import ImageFileError
from pellucid.retrieval.decode import content, decode, sha256

COLUMNS = ("sha256", "name", "path", "picture_sha256", "licence", "source", "height", "width", "thumbnail")


@dataclass(frozen=True)
class Neighbour:
    """A row that has been found.

    Attributes:
        name: what the collection calls it.
        distance: from the query: 1 - cosine, in [0, 2]; of the pixel embedder the mean squared error.
        licence, source: "" where the collection does not know.
        sha256: of the file that was added, which is also its `id`.
        height, width: of that file's picture, in pixels; what is stored may be smaller.
        format: of what is stored.
    """

    name: str
    distance: float
    licence: str
    source: str
    sha256: str
    height: int
    width: int
    thumbnail: bytes = field(repr=False)
    path: str | None = None
    stored: bytes | None = field(default=None, repr=False)
    stored_sha256: str | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """The key of the row: `sha256`."""
        return self.sha256

    def picture(self) -> Tensor:
        """(3, h, w) in [0, 1], decoded as the files of strangers are.

        Raises:
            ImageFileError: its file is gone or has changed, what is stored is damaged, or the search left it behind.
        """
        if self.stored is not None:
            data, wanted = self.stored, self.stored_sha256
        elif self.path is not None:
            data, wanted = content(Path(self.path)), self.sha256
        else:
            raise ImageFileError(f"{self.name}: its content was not asked for (search with pictures=True)")
        if sha256(data) != wanted:
            what = (
                f"{self.path} has changed since it was added" if self.path else f"{self.name} is damaged in the table"
            )
            raise ImageFileError(f"{what}: its sha256 is not {str(wanted)[:12]}...")
        return decode(data, self.name).pixels
