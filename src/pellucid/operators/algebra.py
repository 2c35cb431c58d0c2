"""New operators from old: `A @ B`, `A + B`, `2 * A`, `stack([A, B])`.

A combination is as capable as its parts allow: separable after separable is separable, a scaled spectral operator is
spectral, anything else that is linear keeps its exact adjoint and inverts by conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pellucid.errors import OperatorError, ShapeError
from pellucid.operators.base import LinearOperator, Operator, Spectral
from pellucid.operators.combined import (
    Composition,
    LinearComposition,
    LinearScaled,
    LinearStack,
    LinearSum,
    Scaled,
    Stack,
    Sum,
    shared_batch,
)
from pellucid.operators.separable import Separable
from pellucid.operators.views import SpectralScaled


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
    shared = shared_batch([outer, inner]) is None
    rows, columns = (rows[0], columns[0]) if shared else (rows, columns)
    return Separable(inner.image_shape, rows, columns, rcond=max(outer.rcond, inner.rcond))
