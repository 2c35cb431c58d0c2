"""The distance between a measurement and what a picture, or a latent, would have been measured as."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.account import only
from pellucid.codec.base import Codec
from pellucid.problem import Problem


@dataclass(frozen=True)
class Misfit(ABC):
    """x (b, ...) -> mean over the entries of r^2, (b,), with r = 2 (y - A(picture of x)): the range [-1, 1].

    Attributes:
        problem: y, A and the noise, in the units of pictures in [0, 1].
    """

    problem: Problem

    @abstractmethod
    def picture(self, x: Tensor) -> Tensor:
        """The picture in [0, 1] that x stands for."""

    @abstractmethod
    def select(self, index: Tensor) -> Misfit:
        """The misfit of images `index` of the batch."""

    def __call__(self, x: Tensor) -> Tensor:
        """Mean squared residual of every image, (b,)."""
        residual = 2 * (self.problem.y - self.problem.operator(self.picture(x)))
        return residual.square().flatten(1).mean(1)

    @property
    def noise(self) -> Tensor:
        """What the noise alone leaves of it, (b,) float64: 4 sigma_y^2."""
        return 4 * self.problem.variance.flatten(1).mean(1).double()


@dataclass(frozen=True)
class PixelMisfit(Misfit):
    """Of pictures v in [-1, 1]."""

    def picture(self, x: Tensor) -> Tensor:
        return (x + 1) / 2

    def select(self, index: Tensor) -> PixelMisfit:
        return PixelMisfit(self.problem.select(index))


@dataclass(frozen=True)
class LatentMisfit(Misfit):
    """Of latents z, through the decoder.

    Attributes:
        codec: decodes them.
    """

    codec: Codec

    def picture(self, x: Tensor) -> Tensor:
        return self.codec.picture(x, self.problem.operator.image_shape)

    def select(self, index: Tensor) -> LatentMisfit:
        return LatentMisfit(self.problem.select(index), self.codec)


def value_and_gradient(misfit: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """(f(x), grad f(x)) of every image, (b,) and (b, ...)."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        value = misfit(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient


class Active:
    """The images of a batch that are still being optimised: those that are done leave it and cost nothing more.

    Args:
        misfit: of the whole batch.
        x: the start of the whole batch.

    Attributes:
        x: where the remaining images are.
        index: which ones they are.
    """

    def __init__(self, misfit: Misfit, x: Tensor) -> None:
        self.misfit, self.x, self.result = misfit, x.detach(), x.detach().clone()
        self.index = torch.arange(len(x))

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Value and gradient at x, counted for the remaining images."""
        with only(self.index):
            return value_and_gradient(self.misfit, x)

    def evaluate_some(self, chosen: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Value and gradient at x for `chosen` (indices) of the remaining images."""
        with only(self.index[chosen.cpu()]):
            return value_and_gradient(self.misfit.select(chosen), x)

    def leave(self, done: Tensor) -> Tensor:
        """Lets the images that are done (bool) go with the x that they have; indices of those that stay."""
        stay = (~done).nonzero().flatten()
        if len(stay) < len(done):
            self.result[self.index[done.cpu()].to(self.result.device)] = self.x[done]
            self.x, self.index = self.x[stay], self.index[stay.cpu()]
            if len(stay):
                self.misfit = self.misfit.select(stay)
        return stay

    def finish(self) -> Tensor:
        """The result, with what the images that are still under way have reached."""
        self.result[self.index.to(self.result.device)] = self.x
        return self.result
