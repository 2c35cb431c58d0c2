"""Operators made of operators: one after the other, scaled, added up, beside each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.errors import ShapeError
from pellucid.operators.base import LinearOperator, Operator
from pellucid.typing import Shape


def shared_batch(operators: Sequence[Operator]) -> int | None:
    """The number of images that the operators' parameters are for. Raises `ShapeError` if they disagree."""
    batches = {a.batch for a in operators} - {None}
    if len(batches) > 1:
        raise ShapeError(f"the operators have parameters for different numbers of images: {batches}")
    return batches.pop() if batches else None


class Composition(Operator):
    """x -> outer(inner(x))."""

    def __init__(self, outer: Operator, inner: Operator) -> None:
        super().__init__(inner.image_shape, outer.measurement_shape, shared_batch([outer, inner]))
        self.outer, self.inner = outer, inner

    def _forward(self, x: Tensor) -> Tensor:
        return self.outer._forward(self.inner._forward(x))


class LinearComposition(Composition, LinearOperator):
    """x -> outer(inner(x)), both linear; the pseudo-inverse is iterative."""

    outer: LinearOperator
    inner: LinearOperator

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.inner._adjoint(self.outer._adjoint(y))


class Scaled(Operator):
    """x -> factor * operator(x)."""

    def __init__(self, operator: Operator, factor: float) -> None:
        super().__init__(operator.image_shape, operator.measurement_shape, operator.batch)
        self.operator, self.factor = operator, float(factor)

    def _forward(self, x: Tensor) -> Tensor:
        return self.factor * self.operator._forward(x)


class LinearScaled(Scaled, LinearOperator):
    """x -> factor * operator(x), linear."""

    operator: LinearOperator

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.factor * self.operator._adjoint(y)


class _Several(Operator):
    """Holds operators that take the same pictures."""

    def __init__(self, operators: Sequence[Operator], measurement_shape: Shape) -> None:
        if len({a.image_shape for a in operators}) != 1:
            raise ShapeError(f"the operators take different pictures: {[a.image_shape for a in operators]}")
        super().__init__(operators[0].image_shape, measurement_shape, shared_batch(operators))
        for i, a in enumerate(operators):
            self.add_module(str(i), a)

    @property
    def parts(self) -> list[Operator]:
        return [a for a in self._modules.values() if isinstance(a, Operator)]

    @property
    def linear_parts(self) -> list[LinearOperator]:
        return [a for a in self._modules.values() if isinstance(a, LinearOperator)]


class Sum(_Several):
    """x -> A_1(x) + A_2(x) + ..."""

    def __init__(self, operators: Sequence[Operator]) -> None:
        super().__init__(operators, operators[0].measurement_shape)
        if len({a.measurement_shape for a in operators}) != 1:
            raise ShapeError(f"measurements of different shapes: {[a.measurement_shape for a in operators]}")

    def _forward(self, x: Tensor) -> Tensor:
        return torch.stack([a._forward(x) for a in self.parts]).sum(0)


class LinearSum(Sum, LinearOperator):
    """x -> A_1 x + A_2 x + ..."""

    def _adjoint(self, y: Tensor) -> Tensor:
        return torch.stack([a._adjoint(y) for a in self.linear_parts]).sum(0)


class Stack(_Several):
    """x -> (A_1(x), A_2(x), ...), joined along the first dimension, or flat."""

    def __init__(self, operators: Sequence[Operator]) -> None:
        shapes = [a.measurement_shape for a in operators]
        self.flat = len({shape[1:] for shape in shapes}) != 1
        shapes = [(torch.Size(shape).numel(),) if self.flat else shape for shape in shapes]
        self.lengths = [shape[0] for shape in shapes]
        super().__init__(operators, (sum(self.lengths), *shapes[0][1:]))

    def _forward(self, x: Tensor) -> Tensor:
        measured = [a._forward(x) for a in self.parts]
        return torch.cat([y.flatten(1) for y in measured] if self.flat else measured, 1)

    def split(self, y: Tensor) -> list[Tensor]:
        """The measurement of every part, (b, *its measurement_shape)."""
        pieces = torch.split(y, self.lengths, 1)
        return [piece.reshape(len(y), *a.measurement_shape) for piece, a in zip(pieces, self.parts, strict=True)]


class LinearStack(Stack, LinearOperator):
    """x -> (A_1 x, A_2 x, ...)."""

    def _adjoint(self, y: Tensor) -> Tensor:
        pairs = zip(self.linear_parts, self.split(y), strict=True)
        return torch.stack([a._adjoint(piece) for a, piece in pairs]).sum(0)
