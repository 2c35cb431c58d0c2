"""What a task tells the trainer: a model, its objectives, and batches as a pure function of (step, slot)."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.train.config import RunConfig

if TYPE_CHECKING:
    from pellucid.train.data import Crops

Batch = dict[str, Tensor]

# Purposes of the random numbers of one (seed, step, slot).
CROP_SIDE, LEVELS, NOISE, DEGRADATION = 1, 2, 3, 4


class Task(ABC):
    """One kind of training.

    A slot numbers the micro-batches of one step over all processes: with n processes and `accumulate` k, slots
    0 .. n k - 1 make one step, whichever process computes which.

    Attributes:
        kind: the word of the card.
        training: the word after `pellucid train`.
        model: what is trained for, averaged and shipped.
        objectives: name -> module whose forward takes a batch and returns the loss; each is stepped by an optimiser of
            its own, in this order. The first one's parameters are the model's.
    """

    kind: str
    training: str
    model: nn.Module
    objectives: dict[str, nn.Module]

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.crops = open_crops(config)
        self._held_out: Tensor | None = None

    def side(self, step: int) -> int:
        """Side of the crops of a step, the same in every slot."""
        config = self.config
        odds = np.array(config.crop_odds) / sum(config.crop_odds)
        return int(np.random.default_rng([config.seed, step, CROP_SIDE]).choice(config.crops, p=odds))

    def pictures(self, step: int, slot: int) -> Tensor:
        """The crops of one micro-batch, (b, c, side, side) in [0, 1]."""
        size = self.side(step)
        count = max(1, self.config.pixels // size**2)
        return self.crops.batch(count, size, seed=self.config.seed, step=step, rank=slot)

    def generator(self, step: int, slot: int, purpose: int) -> torch.Generator:
        """Randomness of (seed, step, slot, purpose)."""
        state = np.random.SeedSequence([self.config.seed, step, slot, purpose]).generate_state(1)
        return torch.Generator().manual_seed(int(state[0]))

    def held_out(self) -> Tensor | None:
        """The fixed validation crops, read once; None without held-out pictures."""
        if self._held_out is None:
            self._held_out = validation_pictures(self.config, size=max(128, min(self.config.crops)))
        return self._held_out

    @abstractmethod
    def batch(self, step: int, slot: int) -> Batch:
        """What the objectives take: a function of (seed, step, slot) alone."""

    @abstractmethod
    def card(self, model: nn.Module) -> dict[str, Any]:
        """What a card must say so that the shipped network can be built again and used."""

    @abstractmethod
    def signature(self) -> dict[str, Any]:
        """What a checkpoint must agree with: the network's arguments."""

    def parameters(self, name: str) -> list[nn.Parameter]:
        """What the optimiser of one objective moves."""
        module = self.model if name == next(iter(self.objectives)) else self.objectives[name]
        return [p for p in module.parameters() if p.requires_grad]

    def begin(self, source: str) -> None:
        """Copies the weights of a shipped or imported network into the model, which begins from them."""
        from pellucid.train.init import initialise

        initialise(self.model, source)

    def maintain(self, step: int, averages: Mapping[str, Tensor]) -> None:
        """Called before a step; may replace the model's parameters, and then their `averages` too, by name."""

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Figures of the (averaged) model on the fixed validation set; none without one."""
        return {}

    def calibration(self, model: nn.Module) -> dict[str, Any]:
        """What is fitted to the trained (and rounded) model on held-out pictures, for the card; nothing by default."""
        return {}

    def sample(self, model: nn.Module) -> Tensor | None:
        """Pictures (n, c, h, w) in [0, 1] that show what the model does."""
        return None

    def copy_model(self) -> nn.Module:
        """A second model, for the averaged weights."""
        return copy.deepcopy(self.model)


def open_crops(config: RunConfig) -> Crops:
    """The training crops that a configuration asks for. Raises `ConfigError` where its data cannot be used."""
    from pellucid.train.data import Crops, open_source

    source = open_source(config.data, channels=config.channels, workers=max(1, config.workers), **config.source)
    return Crops(source, **config.crop)


def validation_pictures(config: RunConfig, count: int = 16, size: int = 128) -> Tensor | None:
    """A fixed set of crops of the held-out pictures, (n, c, size, size) in [0, 1]; None without such pictures."""
    if config.validation is None:
        return None
    from pellucid.train.data import Crops, open_source

    source = open_source(config.validation, channels=config.channels, **{**config.source, **config.validation_source})
    return Crops(source).batch(count, size, seed=2**31, step=0, rank=0)


def draw_noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """N(0, I) of the shape of `like`."""
    return torch.randn(like.shape, generator=generator)
