"""The stored factors give the published operators, quirks and all: or no trace would mean anything."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.golden.data import load, meta, tensor, worst
from tests.golden.stored import BlockBasis, BlurBasis, DDNMPlusBasis, StoredBlockAverage, StoredBlur, StoredSpectral
from tests.reference.ddnm import weights

BLURS = ["deblur_uni", "deblur_gauss", "deblur_aniso"]


def stored(name: str, arrays: dict[str, np.ndarray]) -> StoredSpectral:
    """The operator `name` of the published codes."""
    return StoredBlockAverage(arrays) if name == "sr4" else StoredBlur(arrays, name)


@pytest.mark.parametrize("name", ["sr4", *BLURS])
def test_stored_factors_give_the_published_operator(name: str) -> None:
    arrays = load("ops_ddrm_svd")
    operator, x = stored(name, arrays), tensor(arrays["x"])
    assert worst(operator.to_spectrum(x).flatten(1), arrays[f"{name}.Vt"]) < 1e-5
    assert worst(operator(x), arrays[f"{name}.H"]) < 1e-5
    assert worst(operator.adjoint(operator(x)).flatten(1), arrays[f"{name}.Ht_of_H"]) < 1e-5
    assert float((operator.from_spectrum(operator.to_spectrum(x)) - x).abs().max()) < 1e-5


@pytest.mark.parametrize("name", ["sr4", "deblur_uni", "deblur_gauss"])
def test_ddnm_shares_them_and_its_pseudo_inverse(name: str) -> None:
    factors, arrays = load("ops_ddrm_svd"), load("ops_ddnm_svd")
    operator, x = stored(name, factors), tensor(arrays["x"])
    assert worst(operator(x), arrays[f"{name}.A"]) < 1e-5
    y = tensor(arrays[f"{name}.A"])
    wanted = arrays[f"{name}.Apinv_of_A"]
    assert worst(operator.pinv(y).flatten(1), wanted) < 1e-5


@pytest.mark.parametrize("name", ["sr4", "deblur_uni", "deblur_gauss"])
@pytest.mark.parametrize("case", ["hi", "lo"])
def test_ddnm_plus_weighs_errors_and_noise_in_its_own_basis(name: str, case: str) -> None:
    arrays = load("ops_ddnm_svd")
    basis = plus_basis(name)
    a, sigma_y, st, eta = meta(arrays)["lambda_cases"][case]  # type: ignore[index]
    v, e = (tensor(arrays[key]).reshape(-1, *basis.image_shape) for key in ("lambda_vec", "lambda_eps"))
    lam, c_z, c_e = weights(basis.s, a, st, torch.tensor(sigma_y, dtype=torch.float64), eta)
    assert worst(basis.from_spectrum(lam * basis.to_spectrum(v)).flatten(1), arrays[f"{name}.Lambda.{case}"]) < 1e-5
    assert worst(basis.from_spectrum(c_z * v + c_e * e).flatten(1), arrays[f"{name}.LambdaNoise.{case}"]) < 1e-5


def plus_basis(name: str) -> DDNMPlusBasis:
    """Where DDNM+'s code weighs."""
    factors = load("ops_ddrm_svd")
    return BlockBasis(factors) if name == "sr4" else BlurBasis(factors, name)
