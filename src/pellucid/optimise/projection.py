"""The picture nearest to a given one that the measurement allows: by the operator's structure, no gradient steps."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.operators.base import LinearOperator, Spectral
from pellucid.operators.solve import pinv_by_cg
from pellucid.problem import Problem
from pellucid.typing import expand


def project(x: Tensor, problem: Problem, slack: float = 1.0, iterations: int = 50) -> Tensor:
    """argmin |x' - x|^2 over the pictures with |y - A x'|^2 <= slack m sigma_y^2, m entries in y.

    With a singular value decomposition x' = x + (A^T A + w)^{-1} A^T (y - A x), where w >= 0 is the root of a function
    that rises with w (Morozov's discrepancy principle); w = 0 is the pseudo-inverse. Otherwise conjugate gradients
    (CGLS) are stopped at the first iterate that is near enough, whose change lies in the same Krylov space.

    Args:
        x: (b, c, h, w) in [0, 1] units.
        problem: with a linear operator.
        slack: how far the residual may exceed what the noise leaves, as a ratio of squares.
        iterations: of conjugate gradients, at most.

    Returns:
        (b, c, h, w).
    """
    operator = problem.operator
    assert isinstance(operator, LinearOperator)
    residual = problem.y - operator(x)
    entries = residual[0].numel()
    allowed = slack * entries * problem.variance.flatten(1).mean(1).double().to(x.device)
    if isinstance(operator, Spectral):
        return x + _spectral_change(operator, residual, allowed)
    return x + pinv_by_cg(operator, residual, iterations=iterations, enough=allowed.to(x.dtype))


def _spectral_change(operator: Spectral, residual: Tensor, allowed: Tensor) -> Tensor:
    r, s = operator.measured_to_spectrum(residual), operator.singular_values(residual)
    noisy = expand((allowed > 0).to(r.dtype), r) > 0
    used = torch.where(noisy, s > 0, operator.kept(r))  # w > 0 damps small singular values, w = 0 must leave them out
    power = torch.where(used, r.double() ** 2, 0).flatten(1)
    squares = (s.double() ** 2).expand(r.shape).flatten(1)
    beyond = residual.double().square().flatten(1).sum(1) - power.sum(1)  # what no picture explains
    w = weight_at(power, squares, (allowed - beyond).clamp(min=0))
    w = torch.where(noisy.flatten(1)[:, 0], w.clamp(min=1e-4 * squares.amax(1)), w)
    denominator = s**2 + expand(w, s)
    filtered = torch.where(used & (denominator > 0), s / torch.where(denominator > 0, denominator, 1), 0)
    moves = expand((power.sum(1) > (allowed - beyond)).to(r.dtype), r)
    return operator.from_spectrum(moves * filtered * r)


def weight_at(power: Tensor, squares: Tensor, allowed: Tensor, halvings: int = 50) -> Tensor:
    """The w with sum (w / (s^2 + w))^2 power = allowed, for every image, by bisection of ln w; 0 where allowed is 0.

    Args:
        power: squared residual in every singular direction, (b, n) float64.
        squares: s^2, (b, n).
        allowed: (b,); the sum is below its value at w = infinity, or the upper end of the bracket is returned.
        halvings: of the bracket, [1e-12, 1e12] times the largest s^2.
    """
    largest = squares.amax(1).clamp(min=torch.finfo(torch.float64).tiny).log()
    low, high = largest - 27.6, largest + 27.6
    for _ in range(halvings):
        middle = (low + high) / 2
        w = middle.exp()[:, None]
        left = ((w / (squares + w)) ** 2 * power).sum(1)
        low, high = torch.where(left < allowed, middle, low), torch.where(left < allowed, high, middle)
    return torch.where(allowed > 0, low.exp(), 0)
