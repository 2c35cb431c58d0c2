"""How well a result explains the measurement; no truth is needed."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.errors import ProblemError
from pellucid.problem import Problem


def residual(problem: Problem, x: Tensor) -> Tensor:
    """Data consistency ||y - A(x)|| / (sqrt(n) sigma) of every image, for n entries of y: 1 is the truth's own.

    Below 1 the result follows the noise, above 1 it disregards the measurement. With Poisson noise each entry is
    divided by its own standard deviation (`Problem.variance`).

    Args:
        problem: y, A and sigma.
        x: results, (b, *image_shape) in [0, 1], not clipped.

    Returns:
        (b,) float64.

    Raises:
        ProblemError: a measurement has no noise; `residual_rms` is defined there.
    """
    variance = torch.as_tensor(problem.variance)
    if not (variance > 0).all():
        raise ProblemError("the residual in units of sigma needs noise above 0; residual_rms is in units of [0, 1]")
    with torch.no_grad():
        squares = (problem.y - problem.operator(x)).double().square() / variance.double()
    return squares.flatten(1).mean(1).sqrt()


def residual_rms(problem: Problem, x: Tensor) -> Tensor:
    """Data consistency ||y - A(x)|| / sqrt(n) of every image, in units of [0, 1], (b,) float64; no noise is needed."""
    with torch.no_grad():
        squares = (problem.y - problem.operator(x)).double().square()
    return squares.flatten(1).mean(1).sqrt()
