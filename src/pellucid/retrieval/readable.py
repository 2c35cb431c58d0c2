"""The nearest pictures that can be read."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pellucid.errors import ImageFileError
from pellucid.retrieval.index import Index
from pellucid.retrieval.neighbour import Neighbour

DEEPEST = 1000  # rows that are tried for want of better ones, where more are not asked for


@dataclass(frozen=True)
class Readable:
    """What was found and read.

    Attributes:
        neighbours: nearest first.
        pictures: theirs, (3, h, w) each.
        skipped: (name, why) of nearer ones that could not be read.
    """

    neighbours: tuple[Neighbour, ...]
    pictures: tuple[Tensor, ...]
    skipped: tuple[tuple[str, str], ...] = ()


def nearest_readable(index: Index, x: Tensor, k: int = 20) -> Readable:
    """As `Index.search_pictures`, but a neighbour that is gone, changed or damaged gives its place to the next nearest.

    Args:
        index: where they are looked for.
        x: (n, 1 or 3, h, w) in [0, 1].
        k: how many; fewer where fewer of the nearest max(k, 1000) can be read.

    Raises:
        ImageFileError: there are neighbours, and none of them can be read.
        ShapeError: these are no pictures.
    """
    vector, rows = index.embed(x), len(index)
    read: dict[str, tuple[Neighbour, Tensor]] = {}
    skipped: dict[str, tuple[str, str]] = {}
    asked = k
    while True:
        found = index.search(vector, asked)
        for one in found:
            if len(read) < k and one.id not in read and one.id not in skipped:
                try:
                    read[one.id] = (one, one.picture())
                except ImageFileError as error:
                    skipped[one.id] = (one.name, str(error))
        if len(read) >= k or asked >= min(rows, max(k, DEEPEST)):
            break
        asked = min(2 * asked, rows, max(k, DEEPEST))
    if skipped and not read:
        name, why = next(iter(skipped.values()))
        raise ImageFileError(
            f"none of the {len(skipped)} nearest pictures of {index.uri} can be read, the first {name}: {why}; "
            f"if they moved, add them again; else pellucid index prune {index.uri}"
        )
    ordered = sorted(read.values(), key=lambda pair: pair[0].distance)
    return Readable(tuple(n for n, _ in ordered), tuple(p for _, p in ordered), tuple(skipped.values()))
