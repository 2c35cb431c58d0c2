"""Checks that every operator should pass, yours too: relative errors, per image, in float64.

require(dot_test(operator), 1e-10)
require(penrose(operator.truncated()), 1e-8)
require(spectral_test(operator), 1e-10)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pellucid.errors import PellucidError
from pellucid.operators.base import LinearOperator, Operator, Spectral
from pellucid.typing import Shape, dot, norm

Errors = Mapping[str, Tensor]


class CheckError(PellucidError, AssertionError):
    """An operator is not what it says it is; the text names the identity and the worst image."""


def require(errors: Errors, tolerance: float) -> None:
    """Raises `CheckError` if a relative error exceeds the tolerance or is not a number."""
    for identity, error in errors.items():
        if not (error <= tolerance).all():
            worst = int(error.nan_to_num(torch.inf).argmax())
            raise CheckError(f"{identity} is off by {error[worst]:.2g} in image {worst}, more than {tolerance:g}")


def dot_test(operator: LinearOperator, *, batch: int = 2, seed: int = 0) -> Errors:
    """The adjoint: |<A x, y> - <x, A^T y>| / (|A x| |y|) for random x and y, {"<Ax, y> = <x, A'y>": (b,)}.

    Args:
        operator: any; one with parameters per image sets the batch.
        batch: number of images.
        seed: of x and y.
    """
    x = _random(operator, operator.image_shape, batch, seed)
    y = _random(operator, operator.measurement_shape, batch, seed + 1)
    a_x = operator(x)
    difference = (dot(a_x, y) - dot(x, operator.adjoint(y))).abs()
    return {"<Ax, y> = <x, A'y>": difference / _positive(norm(a_x) * norm(y))}


def penrose(operator: LinearOperator, *, batch: int = 2, seed: int = 0) -> Errors:
    """The four identities that define the pseudo-inverse P of A, each relative, (b,).

    A P A = A;  P A P = P;  A P and P A are symmetric. A `Spectral` whose `pinv` leaves out small singular values
    satisfies them as `operator.truncated()`.
    """
    a, p = operator, operator.pinv
    x, x_2 = (_random(a, a.image_shape, batch, seed + i) for i in (0, 1))
    y, y_2 = (_random(a, a.measurement_shape, batch, seed + i) for i in (2, 3))
    a_x, p_y = a(x), p(y)
    a_p_y, p_a_x = a(p_y), p(a_x)
    return {
        "APA = A": norm(a(p_a_x) - a_x) / _positive(norm(a_x)),
        "PAP = P": norm(p(a_p_y) - p_y) / _positive(norm(p_y)),
        "(AP)' = AP": (dot(a_p_y, y_2) - dot(y, a(p(y_2)))).abs() / _positive(norm(y) * norm(y_2)),
        "(PA)' = PA": (dot(p_a_x, x_2) - dot(x, p(a(x_2)))).abs() / _positive(norm(x) * norm(x_2)),
    }


def spectral_test(operator: Spectral, *, batch: int = 2, seed: int = 0) -> Errors:
    """The singular value decomposition: A = U S V', V orthogonal, U orthonormal where there is a singular value.

    Also that the singular values are not negative.
    """
    x = _random(operator, operator.image_shape, batch, seed)
    y = _random(operator, operator.measurement_shape, batch, seed + 1)
    s, c = operator.singular_values(x), operator.to_spectrum(x)
    present = (s > 0).expand_as(c)
    y_c, kept = operator.measured_to_spectrum(y), torch.where(present, c, 0)
    return {
        "USV' = A": _gap(operator.spectrum_to_measured(s * c), operator(x)),
        "VSU' = A'": _gap(operator.from_spectrum(s * y_c), operator.adjoint(y)),
        "VV' = I": _gap(operator.from_spectrum(c), x),
        "V'V = I": _gap(operator.to_spectrum(operator.from_spectrum(x)), x),
        "|V'x| = |x|": (norm(c) - norm(x)).abs() / norm(x),
        "U'U = I": _gap(
            torch.where(present, operator.measured_to_spectrum(operator.spectrum_to_measured(kept)), 0), kept
        ),
        "S >= 0": s.clamp(max=0).abs().flatten(1).amax(1),
    }


def _random(operator: Operator, shape: Shape, batch: int, seed: int) -> Tensor:
    """Normal, float64; the same numbers for every image would hide a mixed batch."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(operator.batch or batch, *shape, generator=generator, dtype=torch.float64)


def _gap(value: Tensor, expected: Tensor) -> Tensor:
    return norm(value - expected) / _positive(norm(expected))


def _positive(scale: Tensor) -> Tensor:
    return scale.clamp(min=torch.finfo(scale.dtype).tiny)
