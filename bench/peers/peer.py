"""What a sampler of another library has to say of itself to take part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from bench.peers.network import Network
from pellucid.problem import Problem

Sampler = Callable[[Network, Problem, int], Tensor]


class Inexpressible(Exception):
    """The library has no words for the task."""


@dataclass(frozen=True)
class Peer:
    """A sampler of another library.

    Args:
        library, version: where it is from.
        name: what it is called there.
        ours: our method that it runs beside: of the same paper, or the nearest.
        sample: (network, problem of one picture, network calls) -> picture (1, c, h, w) in the units of [0, 1]. The
            library's own randomness has been seeded. Raises `Inexpressible`.
        defaults: values of the settings that were left as the library has them, for the table.
        nfe: network calls at the library's defaults.
        same: whether `ours` is of the same paper.
        mixes: whether the pictures of a batch change each other's results there, so that only one may be given.
    """

    library: str
    version: str
    name: str
    ours: str
    sample: Sampler
    defaults: str
    nfe: int
    same: bool = True
    mixes: bool = False
