"""What a collection is searched by: the measurement as a picture."""

from __future__ import annotations

from torch import Tensor

from pellucid.errors import CompatibilityError
from pellucid.operators.base import LinearOperator, Operator
from pellucid.problem import Problem


def require_query(operator: Operator) -> None:
    """Raises `CompatibilityError` where a measurement is no picture that could be looked for."""
    if not isinstance(operator, LinearOperator) and operator.measurement_shape != operator.image_shape:
        raise CompatibilityError(
            f"a collection is searched by A^+ y, or by y where it is a picture of {operator.image_shape}; this "
            f"operator is not linear and measures {operator.measurement_shape}: adapt to no neighbours"
        )


def measured(problem: Problem) -> Tensor:
    """What is looked for: A^+ y for a linear operator, y itself where it is a picture of that size; (b, c, h, w).

    Clipped to [0, 1]. Raises `CompatibilityError` where there is no such picture.
    """
    operator = problem.operator
    require_query(operator)
    picture = operator.pinv(problem.y) if isinstance(operator, LinearOperator) else problem.y
    return picture.float().clamp(0, 1)
