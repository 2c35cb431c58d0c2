"""Randomness as a function of (seed, step, purpose), one seed an image.

No stream is consumed: a draw depends on its key alone. So image i gets the same noise alone and in a batch, a resumed
or tiled reconstruction the same as an uninterrupted one, and a method that skips a draw disturbs no other.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from operator import index

import torch
from torch import Tensor

from pellucid.errors import ProblemError

Index = int | Tensor
"""Which step of its grid, from 0: one for all images, or one an image, (b,) int64, where they are apart."""


def agreed(index: Tensor) -> Index:
    """An index per image as the one number that it is, where it is one."""
    first = int(index[0])
    return first if bool((index == first).all()) else index


class Noise(ABC):
    """Where a reconstruction gets its Gaussian noise from."""

    @abstractmethod
    def normal(self, like: Tensor, step: Index, purpose: str) -> Tensor:
        """Standard normal noise of the shape, dtype and device of `like` (b, ...), for a step and one purpose.

        Every image's draw is that of its own step, where images are at different ones.
        """

    @abstractmethod
    def select(self, index: Tensor) -> Noise:
        """The noise of images `index` of the batch."""


class SeededNoise(Noise):
    """One seed an image; 0 is a seed like any other.

    Args:
        seeds: one int an image.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = list(seeds)

    @classmethod
    def of(cls, seeds: int | Iterable[int], batch: int) -> SeededNoise:
        """An int s stands for s, s + 1, ..., one an image.

        Raises:
            ProblemError: the number of seeds is not the number of images.
        """
        listed = list(seeds) if isinstance(seeds, Iterable) else [index(seeds) + i for i in range(batch)]
        if len(listed) != batch:
            raise ProblemError(f"{batch} images need {batch} seeds, not {len(listed)}")
        return cls(listed)

    def normal(self, like: Tensor, step: Index, purpose: str) -> Tensor:
        """Drawn on the CPU, so that every device gets the same numbers."""
        draws = torch.empty(like.shape, dtype=like.dtype)
        for seed, own, draw in zip(self.seeds, _each(step, len(like)), draws, strict=True):
            draw.normal_(generator=torch.Generator().manual_seed(_key(seed, own, purpose)))
        return draws.to(like.device)

    def select(self, index: Tensor) -> SeededNoise:
        return SeededNoise([self.seeds[i] for i in index.tolist()])


class RecordedNoise(Noise):
    """Plays back given draws: for transcriptions, published traces, and debugging.

    Args:
        draws: (step, purpose) -> the draw (b, ...); a missing key is an error, so that nothing is random by accident.
    """

    def __init__(self, draws: Mapping[tuple[int, str], Tensor]) -> None:
        self.draws = dict(draws)

    def normal(self, like: Tensor, step: Index, purpose: str) -> Tensor:
        if isinstance(step, int):
            return self.draws[step, purpose].to(like).reshape(like.shape)
        draws = [self.draws[own, purpose][i] for i, own in enumerate(step.tolist())]
        return torch.stack(draws).to(like).reshape(like.shape)

    def select(self, index: Tensor) -> RecordedNoise:
        return RecordedNoise({key: draw[index] for key, draw in self.draws.items()})


def _each(step: Index, batch: int) -> list[int]:
    return [step] * batch if isinstance(step, int) else step.tolist()


def _key(seed: int, step: int, purpose: str) -> int:
    digest = hashlib.blake2b(f"{seed}/{step}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
