"""Random degradations for supervised training: an operator's text in which a..b stands for a number drawn per crop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import ConfigError
from pellucid.operators.base import Operator
from pellucid.operators.ranges import drawn, has_range, require_ranges
from pellucid.operators.shown import network_input, picture_input
from pellucid.operators.text import parse
from pellucid.typing import Shape


class Degradation:
    """A family of operators and noise levels.

    Args:
        text: "gaussian-blur:std=0.3..3": a range between whole numbers draws whole numbers, ends included.
        noise: range of the noise's standard deviation, in [0, 1] units.

    Raises:
        OperatorError: the text is no operator.
        ConfigError: a range whose end lies below its start.
    """

    def __init__(self, text: str, noise: tuple[float, float] = (0.0, 0.0)) -> None:
        self.text, self.noise = text, noise
        require_ranges(text)
        if noise[0] < 0 or noise[1] < noise[0]:
            raise ConfigError(f"noise must be a range of levels that are not negative, not {list(noise)}")
        parse(self.drawn(np.random.default_rng(0)))

    @property
    def random(self) -> bool:
        """Whether every crop has an operator of its own."""
        return has_range(self.text)

    def drawn(self, rng: np.random.Generator) -> str:
        """The text of one operator of the family."""
        return drawn(self.text, rng)

    def operator(self, image_shape: Shape, rng: np.random.Generator) -> Operator:
        """One operator of the family."""
        return parse(self.drawn(rng)).build(image_shape)

    def measure(self, x: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """(y, input of a network) for pictures x (b, c, h, w) in [0, 1]; see `network_input`."""
        pairs = [(y, network_input(y, operator)) for y, operator in self.measurements(x, rng)]
        return torch.cat([y for y, _ in pairs]), torch.cat([v for _, v in pairs])

    def enlarged(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """The input of a network that keeps the size; see `picture_input`."""
        return torch.cat([picture_input(y, operator) for y, operator in self.measurements(x, rng)])

    def measurements(self, x: Tensor, rng: np.random.Generator) -> Iterator[tuple[Tensor, Operator]]:
        """Measurements of the pictures and what made them: one after the other, or together if that is one operator."""
        for part in x.split(1) if self.random else (x,):
            operator = self.operator(tuple(x.shape[1:]), rng)
            y = operator(part)
            level = torch.from_numpy(rng.uniform(*self.noise, len(part))).float()
            noise = torch.from_numpy(rng.standard_normal(tuple(y.shape), dtype=np.float32))
            yield y + level.reshape(-1, *[1] * (y.ndim - 1)) * noise, operator


class Families:
    """Several families of degradations; every picture gets one of them, with equal odds.

    Args:
        texts: one a family, see `Degradation`.
        noise: range of the noise's standard deviation, in [0, 1] units.

    Raises:
        OperatorError, ConfigError: as `Degradation`; or there is no family.
    """

    def __init__(self, texts: Sequence[str], noise: tuple[float, float] = (0.0, 0.0)) -> None:
        if not texts:
            raise ConfigError("name at least one family of operators, as in operators = ['gaussian-blur:std=0.3..3']")
        self.families = [Degradation(text, noise) for text in texts]

    def measure(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """What a network is shown of pictures x (b, c, h, w) in [0, 1]: of their size, in [0, 1] units."""
        shown = []
        for part in x.split(1):
            family = self.families[int(rng.integers(len(self.families)))]
            shown.append(family.enlarged(part, rng))
        return torch.cat(shown)
