"""Measurements that are the same for every method: masks, kernels and noise are functions of a seed and a name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pellucid.bench.plan import Noise, Task
from pellucid.noise import SeededNoise
from pellucid.operators import JPEG, Operator, Spec, parse
from pellucid.operators.ranges import drawn
from pellucid.typing import Shape, expand


def number(*parts: object) -> int:
    """A seed from a text: 31 bits, the same on every machine."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") >> 1


def frozen(spec: Spec, seed: int, name: str) -> Spec:
    """The operator for one picture: what is drawn at random and has no seed in the text gets the picture's own."""
    parts = tuple(frozen(part, seed, name) for part in spec.parts)
    given = dict(spec.parameters)
    drawn = any(p.name == "seed" for p in spec.entry.parameters) and (spec.name != "mask" or "random" in given)
    if not drawn or "seed" in given:
        return replace(spec, parts=parts)
    given["seed"] = number("operator", seed, name)
    ordered = tuple((p.name, given[p.name]) for p in spec.entry.parameters if p.name in given)
    return Spec(spec.name, ordered, parts)


@dataclass(frozen=True)
class Level:
    """A task at one of its noise levels.

    Attributes:
        task: the task.
        noise: the level.
        seed: of the measurements.
    """

    task: Task
    noise: Noise
    seed: int = 0

    def operators(self, name: str) -> tuple[str, str]:
        """The texts of the operator that measures the picture `name`, and of the one that methods are told."""
        true = self._operator(self.task.operator, name)
        return true, true if self.task.mismatch is None else self._operator(self.task.mismatch, name)

    def _operator(self, text: str, name: str) -> str:
        one = drawn(text, np.random.default_rng(number("range", self.seed, name)))
        return str(frozen(parse(one), self.seed, name))

    def std(self, name: str) -> float:
        """The true noise level of the picture `name`."""
        if self.noise.low == self.noise.high:
            return self.noise.low
        return self.noise.low + (self.noise.high - self.noise.low) * number("std", self.seed, name) / 2**31

    def told(self, name: str) -> float:
        """The noise level that methods are told."""
        return self.std(name) if self.task.noise_told is None else float(self.task.noise_told)

    def measure(self, x: Tensor, operator: Operator, names: Sequence[str]) -> Tensor:
        """y = JPEG(A(x) + n) of pictures (b, c, h, w) by their names; without the compression not clipped."""
        noise = SeededNoise([number("noise", self.seed, name) for name in names])
        clean = operator(x)
        std = torch.tensor([self.std(name) for name in names], dtype=torch.float64)
        y = clean + expand(std, clean) * noise.normal(clean, 0, "measurement")
        if self.task.jpeg is not None:
            y = self.compression(operator.measurement_shape)(y.clamp(0, 1))
        return y

    def compression(self, shape: Shape) -> JPEG:
        """The compression of measurements of that shape. Raises `ShapeError` where they are no pictures."""
        return JPEG(shape, self.task.jpeg or 100)
