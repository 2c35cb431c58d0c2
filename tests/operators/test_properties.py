"""What every operator of the registry must do."""

from __future__ import annotations

import inspect
import io

import pytest
import torch
from torch import Tensor

import pellucid.operators
from pellucid.errors import ShapeError
from pellucid.operators import LinearOperator, Operator, Spectral, dot_test, penrose, require, spectral_test
from tests.operators.registry import ALL, LINEAR, NONLINEAR, PER_IMAGE, SHARED, SPECTRAL

# Conjugate gradients do not reach the pseudo-inverse of a blur with singular values near zero.
ILL_CONDITIONED = {"motion"}


def pictures(a: Operator, batch: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(a.batch or batch, *a.image_shape, generator=generator, dtype=torch.float64).to(dtype)


def measurements(a: Operator, batch: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(6)
    return torch.randn(a.batch or batch, *a.measurement_shape, generator=generator, dtype=torch.float64).to(dtype)


def linear(name: str) -> LinearOperator:
    a = ALL[name]()
    assert isinstance(a, LinearOperator)
    return a


def spectral(name: str) -> Spectral:
    a = ALL[name]()
    assert isinstance(a, Spectral)
    return a


def dense(a: LinearOperator) -> Tensor:
    """The matrix of a, (m, n)."""
    n = int(torch.Size(a.image_shape).numel())
    basis = torch.eye(n, dtype=torch.float64).reshape(n, *a.image_shape)
    return torch.cat([a(e[None]).reshape(1, -1) for e in basis]).T


def test_the_registry_holds_every_exported_operator() -> None:
    exported = {v for v in vars(pellucid.operators).values() if inspect.isclass(v) and issubclass(v, Operator)}
    concrete = {v for v in exported if not inspect.isabstract(v)}
    held = {type(make()) for make in ALL.values()}
    covered = {base for kind in held for base in kind.__mro__}
    assert len(SHARED) > 30 and len(LINEAR) > 20 and len(SPECTRAL) > 15 and len(NONLINEAR) > 5
    assert concrete and concrete <= covered


@pytest.mark.parametrize("name", LINEAR)
def test_the_adjoint_passes_the_dot_test(name: str) -> None:
    require(dot_test(linear(name)), 1e-12)


@pytest.mark.parametrize("name", LINEAR)
def test_the_adjoint_is_the_vector_jacobian_product(name: str) -> None:
    a = linear(name)
    x, y = pictures(a).requires_grad_(), measurements(a)
    (vjp,) = torch.autograd.grad(a(x), x, y)
    torch.testing.assert_close(vjp, a.adjoint(y), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in LINEAR if n not in ILL_CONDITIONED])
def test_the_pseudo_inverse_satisfies_penrose(name: str) -> None:
    a = linear(name)
    require(penrose(a.truncated() if isinstance(a, Spectral) else a), 1e-9)


@pytest.mark.parametrize("name", SPECTRAL)
def test_the_pseudo_inverse_is_that_of_the_truncated_operator(name: str) -> None:
    a = spectral(name)
    y = measurements(a)
    torch.testing.assert_close(a.pinv(y), a.truncated().pinv(y), rtol=1e-9, atol=1e-9)
    assert not a.iterative_pinv


@pytest.mark.parametrize("name", SPECTRAL)
def test_the_singular_value_decomposition(name: str) -> None:
    require(spectral_test(spectral(name)), 1e-11)


@pytest.mark.parametrize("name", [n for n in SPECTRAL if n in SHARED])
def test_the_singular_values_are_those_of_the_matrix(name: str) -> None:
    a = spectral(name)
    x = pictures(a, 1)
    s = a.singular_values(x).expand_as(x).flatten().sort(descending=True).values
    expected = torch.linalg.svdvals(dense(a))
    torch.testing.assert_close(s[: len(expected)], expected, rtol=1e-9, atol=1e-9)
    assert not s[len(expected) :].any()


@pytest.mark.parametrize("name", [n for n in LINEAR if n in SHARED])
def test_norm_and_normal_equations_agree_with_the_matrix(name: str) -> None:
    a = linear(name)
    x, matrix = pictures(a, 2), dense(a)
    torch.testing.assert_close(a.norm(x), torch.linalg.matrix_norm(matrix, 2).expand(2), rtol=2e-2, atol=0.0)
    weight = torch.tensor([0.1, 2.0], dtype=torch.float64)
    systems = matrix.T @ matrix + weight[:, None, None] * torch.eye(matrix.shape[1], dtype=torch.float64)
    expected = torch.linalg.solve(systems, x.flatten(1)).reshape(x.shape)
    torch.testing.assert_close(a.solve_normal(x, weight), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", NONLINEAR)
def test_nonlinear_operators_are_differentiable(name: str) -> None:
    a = ALL[name]()
    x = pictures(a).requires_grad_()
    y = a(x)
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    assert y.shape[1:] == a.measurement_shape
    assert gradient.isfinite().all() and gradient.any()


@pytest.mark.parametrize("name", [n for n in ALL if n in SHARED])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_an_image_alone_is_the_image_in_a_batch(name: str, dtype: torch.dtype, tolerance: float) -> None:
    a = ALL[name]()
    x, y = pictures(a, dtype=dtype), measurements(a, dtype=dtype)
    maps = [(a, x)]
    if isinstance(a, LinearOperator) and name not in ILL_CONDITIONED:
        maps += [(a.adjoint, y), (a.pinv, y)]
    for apply, argument in maps:
        together, alone = apply(argument), torch.cat([apply(one[None]) for one in argument])
        torch.testing.assert_close(alone, together, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", PER_IMAGE)
def test_parameters_per_image_are_each_image_alone(name: str) -> None:
    several, alone = PER_IMAGE[name][0](), [make() for make in PER_IMAGE[name][1]]
    x, y = pictures(several), measurements(several)
    assert several.batch == len(alone) == len(x)
    assert all(a.select(torch.tensor([0])) is a for a in alone)
    for i, a in enumerate(alone):
        chosen = several.select(torch.tensor([i]))
        torch.testing.assert_close(several(x)[i], a(x[i : i + 1])[0], rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(chosen(x[i : i + 1]), a(x[i : i + 1]), rtol=1e-10, atol=1e-12)
        if isinstance(several, LinearOperator) and isinstance(a, LinearOperator):
            assert isinstance(chosen, LinearOperator)
            torch.testing.assert_close(several.pinv(y)[i], a.pinv(y[i : i + 1])[0], rtol=1e-8, atol=1e-8)
            torch.testing.assert_close(chosen.pinv(y[i : i + 1]), a.pinv(y[i : i + 1]), rtol=1e-8, atol=1e-8)
    with pytest.raises(ShapeError, match="2 images, not for 3"):
        several(torch.cat([x, x[:1]]))


@pytest.mark.parametrize("name", PER_IMAGE)
def test_selecting_reorders_and_repeats(name: str) -> None:
    several = PER_IMAGE[name][0]()
    x = pictures(several)
    index = torch.tensor([1, 0, 1])
    torch.testing.assert_close(several.select(index)(x[index]), several(x)[index], rtol=1e-10, atol=1e-12)
    mask = torch.tensor([False, True])
    torch.testing.assert_close(several.select(mask)(x[mask]), several(x)[mask], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_the_dtype_follows_the_argument(name: str) -> None:
    a = ALL[name]()
    x, y = pictures(a), measurements(a)
    assert a(x).dtype == torch.float64 and a(x.float()).dtype == torch.float32
    if "jpeg" not in name and "qualities" not in name:  # where a rounding may fall the other way
        torch.testing.assert_close(a(x.float()).double(), a(x), rtol=1e-4, atol=1e-4)
    if isinstance(a, LinearOperator):
        assert a.adjoint(y.float()).dtype == a.pinv(y.float()).dtype == torch.float32
    if isinstance(a, Spectral):
        c = a.to_spectrum(x.float())
        values = [c, a.from_spectrum(c), a.measured_to_spectrum(y.float()), a.spectrum_to_measured(c)]
        assert {v.dtype for v in [*values, a.singular_values(c)]} == {torch.float32}


@pytest.mark.parametrize("name", ALL)
def test_the_device_follows_the_argument(name: str) -> None:
    a = ALL[name]()
    x, y = pictures(a).to("meta"), measurements(a).to("meta")
    assert a(x).device.type == "meta" and a(x).shape == y.shape
    if isinstance(a, LinearOperator):
        assert a.adjoint(y).device.type == "meta"
    if isinstance(a, Spectral):
        assert a.pinv(y).device.type == "meta" and a.solve_normal(x, torch.ones(len(x))).device.type == "meta"


@pytest.mark.parametrize("name", ALL)
def test_the_state_is_tensors_and_nothing_is_unpickled(name: str) -> None:
    a, other = ALL[name](), ALL[name]()
    x = pictures(a)
    before = a(x)
    if isinstance(a, Spectral):
        a.pinv(measurements(a))
    file = io.BytesIO()
    torch.save(a.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert all(isinstance(value, Tensor) for value in state.values())
    for buffer in other.buffers():
        buffer.zero_()
    if isinstance(other, Spectral):
        other.singular_values(x)
    other.load_state_dict(state)
    torch.testing.assert_close(other(x), before, rtol=0, atol=0)
    if isinstance(a, Spectral) and isinstance(other, Spectral):
        torch.testing.assert_close(other.singular_values(x), a.singular_values(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_a_bad_shape_is_refused(name: str) -> None:
    a = ALL[name]()
    b = a.batch or 2
    x, y = (torch.zeros(b, *shape[:-1], shape[-1] + 1) for shape in (a.image_shape, a.measurement_shape))
    calls = [(a, x), (a, x[0])]
    if isinstance(a, LinearOperator):
        calls += [(a.adjoint, y), (a.pinv, y), (a.norm, x), (lambda v: a.solve_normal(v, torch.ones(b)), x)]
    if isinstance(a, Spectral):
        calls += [(a.to_spectrum, x), (a.from_spectrum, x), (a.measured_to_spectrum, y), (a.spectrum_to_measured, x)]
    for apply, argument in calls:
        with pytest.raises(ShapeError):
            apply(argument)


@pytest.mark.parametrize("name", ALL)
def test_inputs_are_left_alone_and_inference_mode_leaves_no_trace(name: str) -> None:
    a = ALL[name]()
    x, y = pictures(a), measurements(a)
    copies = x.clone(), y.clone()
    with torch.inference_mode():
        a(x)
        if isinstance(a, LinearOperator):
            a.adjoint(y), a.pinv(y)
    assert torch.equal(x, copies[0]) and torch.equal(y, copies[1])
    x.requires_grad_()
    value = a.pinv(a(x)) if isinstance(a, Spectral) else a(x)
    assert torch.autograd.grad(value.sum(), x)[0].isfinite().all()
