"""Codecs: between pictures in [0, 1] and the space that the diffusion lives in. Ranges change here and nowhere else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor

from pellucid.operators.base import Operator
from pellucid.typing import Shape

if TYPE_CHECKING:
    from pellucid.problem import Observation, Problem


class Codec(ABC):
    """Encodes pictures (b, c, h, w) in [0, 1] to the prior's space and back.

    Attributes:
        bounds: the interval that encoded pictures lie in, None where there is none.
        linear: whether decoding is affine, so that a linear operator stays linear on the prior's space.
    """

    bounds: tuple[float, float] | None = None
    linear: bool = True

    @abstractmethod
    def encode(self, image: Tensor) -> Tensor:
        """Picture in [0, 1] -> the prior's space."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """The prior's space -> picture in [0, 1] (not clipped)."""

    def picture(self, z: Tensor, image_shape: Shape) -> Tensor:
        """`decode(z)` as a picture of `image_shape`: what encoding added at its edges is cut off."""
        return self.decode(z)

    def smooth(self) -> Codec:
        """The same codec with a decoder that is differentiable as it is; itself where it is already."""
        return self

    @abstractmethod
    def shape(self, image_shape: Shape) -> Shape:
        """Shape of an encoded picture of shape `image_shape`."""

    @abstractmethod
    def observe(self, problem: Problem) -> Observation:
        """The problem as the solver sees it: an operator on the prior's space and the measurement in its units."""


class Decoded(Operator):
    """z -> scale A(decode(z)): a nonlinear operator, or any operator behind an autoencoder, on the prior's space."""

    def __init__(self, operator: Operator, codec: Codec, scale: float = 1.0) -> None:
        super().__init__(codec.shape(operator.image_shape), operator.measurement_shape, operator.batch)
        self.operator, self.codec, self.scale = operator, codec, scale

    def _forward(self, x: Tensor) -> Tensor:
        return self.scale * self.operator(self.codec.picture(x, self.operator.image_shape))

    def select(self, index: Tensor) -> Decoded:
        return Decoded(self.operator.select(index), self.codec, self.scale)
