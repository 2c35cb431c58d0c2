"""The codec of pixel-space priors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pellucid.codec.base import Codec, Decoded
from pellucid.operators.base import LinearOperator, Operator
from pellucid.typing import Shape

if TYPE_CHECKING:
    from pellucid.problem import Observation, Problem


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
            problem,
        )
