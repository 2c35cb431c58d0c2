"""The public checks find what is wrong, and name it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pellucid.operators import CheckError, Diagonal, LinearOperator, dot_test, penrose, require, spectral_test

SHAPE = (1, 4, 4)


class WrongAdjoint(LinearOperator):
    """Its "transpose" returns its input."""

    def _forward(self, x: Tensor) -> Tensor:
        return 2 * x.roll(1, -1)

    def _adjoint(self, y: Tensor) -> Tensor:
        return y

    def _pinv(self, y: Tensor) -> Tensor:
        return y.roll(-1, -1)


class WrongBasis(Diagonal):
    """V is not orthogonal."""

    def _to_spectrum(self, x: Tensor) -> Tensor:
        return 1.1 * x


class SecondImageOnly(Diagonal):
    """Right for the first image of a batch."""

    def _adjoint(self, y: Tensor) -> Tensor:
        return y * torch.tensor([1.0, 3.0], dtype=y.dtype)[:, None, None, None]


def test_errors_are_found_and_named() -> None:
    with pytest.raises(CheckError, match="<Ax, y> = <x, A'y>"):
        require(dot_test(WrongAdjoint(SHAPE)), 1e-10)
    with pytest.raises(AssertionError, match="APA = A"):
        require(penrose(WrongAdjoint(SHAPE)), 1e-10)
    with pytest.raises(CheckError, match=r"USV' = A|VV' = I"):
        require(spectral_test(WrongBasis(SHAPE, torch.ones(4, 4))), 1e-10)


def test_errors_are_relative_and_per_image() -> None:
    (error,) = dot_test(SecondImageOnly(SHAPE, torch.ones(4, 4))).values()
    assert error.shape == (2,) and error[0] < 1e-14 < 1e-3 < error[1]
    with pytest.raises(CheckError, match="in image 1"):
        require({"x": error}, 1e-10)
    require(dot_test(Diagonal(SHAPE, 1e-100 * torch.ones(4, 4, dtype=torch.float64))), 1e-12)


def test_not_a_number_does_not_pass() -> None:
    with pytest.raises(CheckError):
        require({"x": torch.tensor([0.0, torch.nan])}, 1.0)
