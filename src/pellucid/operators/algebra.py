"""New operators from old: `A @ B`, `A + B`, `2 * A`, `Stack`, and the truncation of a spectrum.

A combination is as capable as its parts allow: separable after separable is separable, a scaled spectral operator is
spectral, anything else that is linear keeps its exact adjoint and inverts by conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.errors import OperatorError, ShapeError
from pellucid.operators.base import LinearOperator, Operator, Spectral
from pellucid.operators.separable import Separable
from pellucid.typing import Shape


def compose(outer: Operator, inner: Operator) -> Operator:
    """The operator x -> outer(inner(x)), what `outer @ inner` makes.

    Raises:
        ShapeError: `outer` does not take what `inner` measures.
    """
    if outer.image_shape != inner.measurement_shape:
        raise ShapeError(
            f"{type(outer).__name__} takes {outer.image_shape}, but {type(inner).__name__} gives "
            f"{inner.measurement_shape}"
        )
    if isinstance(outer, Separable) and isinstance(inner, Separable):
        return _compose_separable(outer, inner)
    if isinstance(outer, LinearOperator) and isinstance(inner, LinearOperator):
        return LinearComposition(outer, inner)
    return Composition(outer, inner)


def add(first: Operator, second: Operator) -> Operator:
    """The operator x -> first(x) + second(x), what `first + second` makes.

    Raises:
        ShapeError: they do not take, or do not give, the same shapes.
    """
    if isinstance(first, LinearOperator) and isinstance(second, LinearOperator):
        return LinearSum([first, second])
    return Sum([first, second])


def scale(operator: Operator, factor: float) -> Operator:
    """The operator x -> factor * operator(x), what `factor * operator` makes.

    Raises:
        OperatorError: the factor is not finite.
    """
    if not torch.tensor(float(factor)).isfinite():
        raise OperatorError(f"an operator is scaled by a finite number, not {factor}")
    if isinstance(operator, Spectral):
        return SpectralScaled(operator, factor)
    return LinearScaled(operator, factor) if isinstance(operator, LinearOperator) else Scaled(operator, factor)


def stack(operators: Sequence[Operator]) -> Operator:
    """The operator x -> (A_1(x), A_2(x), ...): several measurements of one picture.

    Measurements that differ in their first dimension only are joined along it; others are flattened and joined.

    Raises:
        ShapeError: the operators do not take the same pictures.
    """
    linear = [a for a in operators if isinstance(a, LinearOperator)]
    return LinearStack(linear) if len(linear) == len(operators) else Stack(operators)


def _compose_separable(outer: Separable, inner: Separable) -> Separable:
    rows, columns = (outer.get_buffer(k) @ inner.get_buffer(k) for k in ("rows", "columns"))
    shared = _common_batch([outer, inner]) is None
    rows, columns = (rows[0], columns[0]) if shared else (rows, columns)
    return Separable(inner.image_shape, rows, columns, rcond=max(outer.rcond, inner.rcond))


def _common_batch(operators: Sequence[Operator]) -> int | None:
    batches = {a.batch for a in operators} - {None}
    if len(batches) > 1:
        raise ShapeError(f"the operators have parameters for different numbers of images: {batches}")
    return batches.pop() if batches else None


class Composition(Operator):
    """x -> outer(inner(x))."""

    def __init__(self, outer: Operator, inner: Operator) -> None:
        super().__init__(inner.image_shape, outer.measurement_shape, _common_batch([outer, inner]))
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


class SpectralView(Spectral):
    """A spectral operator with the bases of another; subclasses change its singular values.

    Args:
        operator: whose bases they are.
        sign: of the left basis, 1 or -1.
    """

    def __init__(self, operator: Spectral, sign: float = 1.0) -> None:
        super().__init__(operator.image_shape, operator.measurement_shape, operator.batch, operator.rcond)
        self.operator, self.sign = operator, sign

    def _to_spectrum(self, x: Tensor) -> Tensor:
        return self.operator._to_spectrum(x)

    def _from_spectrum(self, c: Tensor) -> Tensor:
        return self.operator._from_spectrum(c)

    def _measured_to_spectrum(self, y: Tensor) -> Tensor:
        return self.sign * self.operator._measured_to_spectrum(y)

    def _spectrum_to_measured(self, c: Tensor) -> Tensor:
        return self.sign * self.operator._spectrum_to_measured(c)


class SpectralScaled(SpectralView):
    """x -> factor * operator(x): singular values |factor| S, left vectors sign(factor) U."""

    def __init__(self, operator: Spectral, factor: float) -> None:
        super().__init__(operator, -1.0 if factor < 0 else 1.0)
        self.factor = float(factor)

    def singular_values(self, like: Tensor) -> Tensor:
        """|factor| S."""
        return abs(self.factor) * self.operator.singular_values(like)


class Truncated(SpectralView):
    """The operator without the singular values that its `pinv` leaves out."""

    def singular_values(self, like: Tensor) -> Tensor:
        """S where kept, 0 elsewhere."""
        return torch.where(self.operator.kept(like), self.operator.singular_values(like), 0)


class _Several(Operator):
    """Holds operators that take the same pictures."""

    def __init__(self, operators: Sequence[Operator], measurement_shape: Shape) -> None:
        if len({a.image_shape for a in operators}) != 1:
            raise ShapeError(f"the operators take different pictures: {[a.image_shape for a in operators]}")
        super().__init__(operators[0].image_shape, measurement_shape, _common_batch(operators))
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
