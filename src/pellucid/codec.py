"""Codecs: between pictures in [0, 1] and the space that the diffusion lives in. Ranges change here and nowhere else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pellucid.operators.base import LinearOperator, Operator
from pellucid.typing import Shape

if TYPE_CHECKING:
    from pellucid.problem import Observation, Problem


class Codec(ABC):
    """Encodes pictures (b, c, h, w) in [0, 1] to the prior's space and back.

    Attributes:
        bounds: the interval that encoded pictures lie in, None where there is none.
    """

    bounds: tuple[float, float] | None = None

    @abstractmethod
    def encode(self, image: Tensor) -> Tensor:
        """Picture in [0, 1] -> the prior's space."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """The prior's space -> picture in [0, 1] (not clipped)."""

    @abstractmethod
    def shape(self, image_shape: Shape) -> Shape:
        """Shape of an encoded picture of shape `image_shape`."""

    @abstractmethod
    def observe(self, problem: Problem) -> Observation:
        """The problem as the solver sees it: an operator on the prior's space and the measurement in its units."""


class AffineCodec(Codec):
    """z = scale * image + shift; by default [0, 1] -> [-1, 1], as pixel-space networks want it.

    For a linear A the measurement of z is y_z = scale y + A(shift), so that y_z = A z + scale n: holes become mid-grey
    and A itself stays the operator. For a nonlinear A it is scale y, and the operator is z -> scale A(decode(z)).

    Args:
        scale, shift: of the map.
        bounded: whether pictures are known to lie in [0, 1]; an exact Gaussian prior knows no such bound.
    """

    def __init__(self, scale: float = 2.0, shift: float = -1.0, *, bounded: bool = True) -> None:
        self.scale, self.shift = scale, shift
        self.bounds = (shift, scale + shift) if bounded else None

    def encode(self, image: Tensor) -> Tensor:
        return self.scale * image + self.shift

    def decode(self, z: Tensor) -> Tensor:
        return (z - self.shift) / self.scale

    def shape(self, image_shape: Shape) -> Shape:
        return image_shape

    def observe(self, problem: Problem) -> Observation:
        from pellucid.problem import Observation

        operator: Operator = problem.operator
        y, black = self.scale * problem.y, None
        if isinstance(operator, LinearOperator):
            constant = torch.full((len(y), *operator.image_shape), self.shift, dtype=y.dtype, device=y.device)
            black = operator(constant)
            y = y + black
        else:
            operator = Decoded(operator, self, self.scale)
        gain = torch.as_tensor(problem.gain, dtype=torch.float64).expand(len(y))
        return Observation(
            y,
            operator,
            self.scale * problem.std,
            self.scale**2 * problem.variance,
            self.scale * gain if gain.any() else None,
            black,
        )


class Decoded(Operator):
    """z -> scale A(decode(z)): a nonlinear operator, or any operator behind an autoencoder, on the prior's space."""

    def __init__(self, operator: Operator, codec: Codec, scale: float = 1.0) -> None:
        super().__init__(codec.shape(operator.image_shape), operator.measurement_shape, operator.batch)
        self.operator, self.codec, self.scale = operator, codec, scale

    def _forward(self, x: Tensor) -> Tensor:
        return self.scale * self.operator(self.codec.decode(x))

    def select(self, index: Tensor) -> Decoded:
        return Decoded(self.operator.select(index), self.codec, self.scale)
