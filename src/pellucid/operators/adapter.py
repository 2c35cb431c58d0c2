"""Foreign forward models, adapted once at the border: deepinv's physics, or anything with the same methods."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from pellucid.errors import OperatorError, ShapeError
from pellucid.operators.base import LinearOperator, Operator
from pellucid.typing import Shape


@runtime_checkable
class Physics(Protocol):
    """What a nonlinear `deepinv.physics.Physics` has: A(x), without noise."""

    def A(self, x: Tensor) -> Tensor:
        """The forward model."""


@runtime_checkable
class LinearPhysics(Physics, Protocol):
    """What a `deepinv.physics.LinearPhysics` has; `A_dagger(y)`, its pseudo-inverse, is used if it is there."""

    def A_adjoint(self, y: Tensor) -> Tensor:
        """The adjoint."""


def as_operator(model: Operator | Physics, image_shape: Shape | None = None) -> Operator:
    """An operator from an operator (itself) or from a `deepinv` physics object.

    The measurement's shape is found by measuring a black picture once, in float32 on the CPU. The physics' own noise
    model is not used: a `Problem` holds the noise.

    Args:
        model: an `Operator`, or an object with `A`, and if it is linear `A_adjoint` and perhaps `A_dagger`.
        image_shape: (c, h, w), needed for a foreign object.

    Raises:
        OperatorError: the object has no `A`, `image_shape` is missing, or `A` does not give one tensor an image.
    """
    if isinstance(model, Operator):
        if image_shape is not None and tuple(image_shape) != model.image_shape:
            raise ShapeError(f"{type(model).__name__} takes {model.image_shape}, not {tuple(image_shape)}")
        return model
    if not isinstance(model, Physics):
        raise OperatorError(f"{type(model).__name__} is no operator: it has no method A(x), as deepinv's physics have")
    if image_shape is None:
        raise OperatorError(f"say the image_shape (c, h, w) that {type(model).__name__} is to be used with")
    return (Linear if isinstance(model, LinearPhysics) else Foreign)(model, image_shape)


class Foreign(Operator):
    """y = physics.A(x)."""

    def __init__(self, physics: Physics, image_shape: Shape) -> None:
        with torch.no_grad():
            y = physics.A(torch.zeros(1, *image_shape))
        if tuple(getattr(y, "shape", ()))[:1] != (1,):
            raise OperatorError(f"{type(physics).__name__}.A gives no tensor with one entry an image")
        super().__init__(image_shape, tuple(y.shape[1:]))
        self.physics = physics

    def _forward(self, x: Tensor) -> Tensor:
        return self.physics.A(x)


class Linear(Foreign, LinearOperator):
    """A linear physics; without `A_dagger` the pseudo-inverse is by conjugate gradients."""

    physics: LinearPhysics

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.physics.A_adjoint(y)

    def _pinv(self, y: Tensor) -> Tensor:
        dagger = getattr(self.physics, "A_dagger", None)
        if dagger is None:
            return super()._pinv(y)
        x: Tensor = dagger(y)
        return x
