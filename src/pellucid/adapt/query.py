"""What a collection is searched by, and what an adaptation to y itself learns from: the measurement as a picture."""

from __future__ import annotations

from torch import Tensor

from pellucid.errors import CompatibilityError
from pellucid.operators.base import LinearOperator, Operator
from pellucid.problem import Problem


def require_query(operator: Operator) -> None:
    """Raises `CompatibilityError` where a measurement neither is a picture nor becomes one."""
    if not isinstance(operator, LinearOperator) and operator.measurement_shape != operator.image_shape:
        raise CompatibilityError(
            f"adapting takes the measurement for a picture: y itself where it is one of {operator.image_shape}, else "
            f"A^+ y; this operator is not linear and measures {operator.measurement_shape}"
        )


def measured(problem: Problem) -> Tensor:
    """y itself where it is a picture of that size, else A^+ y; (b, c, h, w), clipped to [0, 1].

    Of a blur, A^+ y is noise blown up, while the blurred picture shows what it is of.

    Raises:
        CompatibilityError: there is no such picture.
    """
    operator = problem.operator
    require_query(operator)
    if operator.measurement_shape == operator.image_shape:
        return problem.y.float().clamp(0, 1)
    assert isinstance(operator, LinearOperator)
    return operator.pinv(problem.y).float().clamp(0, 1)
