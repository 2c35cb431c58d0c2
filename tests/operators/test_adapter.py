"""Foreign forward models at the border."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pellucid.errors import OperatorError, ShapeError
from pellucid.operators import Identity, LinearOperator, as_operator, dot_test, penrose, require
from pellucid.problem import Problem
from tests.operators.physics import Doubling, Halving, Squaring

SHAPE = (3, 6, 8)
X = torch.rand(2, *SHAPE, dtype=torch.float64)


def test_a_linear_physics_is_a_linear_operator() -> None:
    for physics in (Doubling(), Halving()):
        a = as_operator(physics, SHAPE)
        assert isinstance(a, LinearOperator) and a.measurement_shape == (3, 6, 4)
        torch.testing.assert_close(a(X), 2 * X[..., ::2])
        require(dot_test(a), 1e-12)
        require(penrose(a), 1e-10)


def test_a_problem_takes_a_linear_physics_as_it_is() -> None:
    problem = Problem(Doubling().A(X), Doubling(), 0.1)  # type: ignore[arg-type]
    assert isinstance(problem.operator, LinearOperator) and problem.operator.image_shape == SHAPE
    with pytest.raises(OperatorError, match="as_operator"):
        Problem(Squaring().A(X), Squaring())  # type: ignore[arg-type]
    with pytest.raises(OperatorError, match="no method A"):
        Problem(X, "blur")  # type: ignore[arg-type]


def test_a_nonlinear_physics_is_an_operator() -> None:
    a = as_operator(Squaring(), SHAPE)
    assert not isinstance(a, LinearOperator)
    torch.testing.assert_close(a(X), X[..., ::2] ** 2)


def test_a_physics_that_is_a_module_keeps_its_state() -> None:
    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("gain", torch.tensor(3.0))

        def A(self, x: Tensor) -> Tensor:
            return self.get_buffer("gain") * x

        def A_adjoint(self, y: Tensor) -> Tensor:
            return self.get_buffer("gain") * y

    a = as_operator(Module(), SHAPE)
    assert isinstance(a, LinearOperator) and list(a.state_dict()) == ["physics.gain"]
    require(penrose(a), 1e-6)


def test_an_operator_is_itself() -> None:
    a = Identity(SHAPE)
    assert as_operator(a) is a and as_operator(a, SHAPE) is a
    with pytest.raises(ShapeError):
        as_operator(a, (3, 8, 8))


def test_what_is_no_forward_model_is_refused() -> None:
    with pytest.raises(OperatorError, match="no method A"):
        as_operator(object(), SHAPE)  # type: ignore[arg-type]
    with pytest.raises(OperatorError, match="say the image_shape"):
        as_operator(Doubling())

    class Broken:
        def A(self, x: Tensor) -> Tensor:
            return x.sum()

    with pytest.raises(OperatorError, match="no tensor with one entry an image"):
        as_operator(Broken(), SHAPE)
