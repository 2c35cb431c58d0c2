"""Operators of their own in one batch: `each` does to every image what its operator does to it alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pellucid.account import counting
from pellucid.errors import OperatorError, ShapeError
from pellucid.operators import (
    HDR,
    JPEG,
    Bicubic,
    GaussianBlur,
    Grey,
    Identity,
    KernelBlur,
    LinearOperator,
    Mask,
    Operator,
    ParallelBeam,
    Quantise,
    Spectral,
    dot_test,
    penrose,
    require,
    spectral_test,
)
from pellucid.operators.each import Each, LinearEach, SpectralEach, each, same

SHAPE = (3, 8, 8)
KERNEL = torch.tensor([[0.1, 0.2, 0.0], [0.3, 0.4, 0.1], [0.0, 0.1, 0.0]], dtype=torch.float64)
ITERATIVE = KernelBlur(SHAPE, KERNEL)
SHARED = GaussianBlur(SHAPE, 0.8)
MIXED = Mask.random(SHAPE, [0.2, 0.5, 0.7])

Makes = Callable[[], list[Operator]]
BATCHES: dict[str, tuple[type[Operator], Makes]] = {
    "blurs": (SpectralEach, lambda: [GaussianBlur(SHAPE, s) for s in (0.5, 1.0, 1.5)]),
    "masks": (Mask, lambda: [Mask.random(SHAPE, 0.5, seed=s) for s in range(3)]),
    "masks of other ranks": (
        SpectralEach,
        lambda: [Mask.random(SHAPE, 0.3), Mask(SHAPE, torch.ones(8, 8), rcond=0.1), Identity(SHAPE)],
    ),
    "interleaved": (SpectralEach, lambda: [SHARED, Mask.box(SHAPE, 3), SHARED, Identity(SHAPE)]),
    "smaller": (SpectralEach, lambda: [Bicubic(SHAPE, 2), Bicubic(SHAPE, 2), Bicubic((3, 8, 8), 2)]),
    "spectral and iterative": (
        LinearEach,
        lambda: [SHARED, KernelBlur(SHAPE, KERNEL), 0.5 * KernelBlur(SHAPE, KERNEL)],
    ),
    "sinograms": (LinearEach, lambda: [ParallelBeam(SHAPE, 6), ParallelBeam(SHAPE, 6, unit="pixel")]),
    "nonlinear": (Each, lambda: [HDR(SHAPE), SHARED, Quantise(SHAPE, 3), HDR(SHAPE)]),
    "one nonlinear": (Each, lambda: [JPEG((3, 16, 16), 40), GaussianBlur((3, 16, 16), 1.0)]),
}
LINEAR = [name for name, (kind, _) in BATCHES.items() if issubclass(kind, LinearOperator)]
SPECTRAL = [name for name, (kind, _) in BATCHES.items() if issubclass(kind, Spectral)]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_itself(operators: list[Operator], apply: Callable[[Operator, Tensor], Tensor], x: Tensor) -> Tensor:
    return torch.cat([apply(operator, own[None]) for operator, own in zip(operators, x, strict=True)])


@pytest.mark.parametrize("name", BATCHES)
def test_every_image_goes_through_its_own_operator(name: str) -> None:
    kind, make = BATCHES[name]
    operators = make()
    a = each(operators)
    assert type(a) is kind and a.batch == len(operators)
    x = random(len(operators), *a.image_shape)
    assert torch.allclose(a(x), by_itself(operators, lambda o, own: o(own), x), atol=1e-14)
    with pytest.raises(ShapeError, match="parameters for"):
        a(x[:1])


@pytest.mark.parametrize("name", BATCHES)
def test_selecting_images_selects_their_operators(name: str) -> None:
    operators = BATCHES[name][1]()
    a, x = each(operators), random(len(operators), *operators[0].image_shape)
    for index in ([0], [len(operators) - 1, 0], [1, 1, 0]):
        chosen = a.select(torch.tensor(index))
        assert torch.allclose(chosen(x[index]), a(x)[index], atol=1e-14)
    if isinstance(a, Each):
        assert a.select(torch.tensor([1])) is operators[1]
        assert a.select(torch.tensor([True] + [False] * (len(operators) - 1))) is operators[0]


@pytest.mark.parametrize("name", LINEAR)
def test_linear_batches(name: str) -> None:
    operators = BATCHES[name][1]()
    a = each(operators)
    assert isinstance(a, LinearOperator)
    require(dot_test(a), 1e-12)
    n = len(operators)
    y, x = random(n, *a.measurement_shape, seed=1), random(n, *a.image_shape, seed=2)
    weight = torch.linspace(0.1, 0.9, n, dtype=torch.float64)
    for operator, own, picture, w, back, inverse, solved, size in zip(
        operators, y, x, weight, a.adjoint(y), a.pinv(y), a.solve_normal(x, weight), a.norm(x), strict=True
    ):
        assert isinstance(operator, LinearOperator)
        assert torch.allclose(back, operator.adjoint(own[None])[0], atol=1e-13)
        assert torch.allclose(inverse, operator.pinv(own[None])[0], atol=1e-9)
        assert torch.allclose(solved, operator.solve_normal(picture[None], w[None])[0], atol=1e-9)
        assert torch.allclose(size, operator.norm(picture[None])[0], rtol=1e-9)
    assert a.iterative_pinv == any(o.iterative_pinv for o in operators if isinstance(o, LinearOperator))


@pytest.mark.parametrize("name", SPECTRAL)
def test_spectral_batches(name: str) -> None:
    operators = BATCHES[name][1]()
    a = each(operators)
    assert isinstance(a, Spectral)
    require(penrose(a.truncated()), 1e-10)
    require(spectral_test(a), 1e-10)
    x, y = random(len(operators), *a.image_shape), random(len(operators), *a.measurement_shape)
    alone = [operator for operator in operators if isinstance(operator, Spectral)]
    for i, operator in enumerate(alone):
        for found, wanted in (
            (a.kept(x), operator.kept(x)),
            (a.inverse_singular_values(x), operator.inverse_singular_values(x)),
            (a.singular_values(x), operator.singular_values(x)),
        ):
            assert torch.equal(found[i].expand(a.image_shape), wanted[0].expand(a.image_shape))
        assert torch.allclose(a.measured_to_spectrum(y)[i], operator.measured_to_spectrum(y[i : i + 1])[0], atol=1e-14)


def test_an_operator_that_all_share_is_itself() -> None:
    assert each([SHARED, SHARED, SHARED]) is SHARED
    assert each([MIXED] * 3, [0, 1, 2]) is MIXED
    swapped = each([MIXED] * 2, [2, 0])
    x = random(2, *SHAPE)
    assert torch.equal(swapped(x), MIXED(x[[1, 1, 0]])[[2, 0]])


def test_operators_with_parameters_per_image_take_part_by_place() -> None:
    a = each([MIXED, SHARED, MIXED], [2, 0, 0])
    x = random(3, *SHAPE)
    whole = MIXED(torch.stack([x[2], x[1], x[0]]))
    assert torch.equal(a(x)[0], whole[2]) and torch.equal(a(x)[2], whole[0]) and torch.equal(a(x)[1], SHARED(x)[1])
    again = each([a, SHARED, a], [2, 0, 1])
    assert torch.equal(again(x[[2, 1, 1]])[0], a(x)[2])
    assert isinstance(again, Each) and not any(isinstance(part, Each) for part in again.parts)


def test_an_operator_that_images_share_is_called_once_for_all_of_them() -> None:
    sizes = []

    class Counting(Identity):
        def _forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            return x

    counted = Counting(SHAPE)
    a = each([counted, SHARED, counted, counted])
    with counting(4) as account:
        a(random(4, *SHAPE))
    assert sizes == [3]
    assert account.operator_calls == 1 and account.applied.tolist() == [1] * 4


def test_gradients_go_to_every_image() -> None:
    a = each([GaussianBlur(SHAPE, 1.0), HDR(SHAPE), Mask.box(SHAPE, 3)])
    x = random(3, *SHAPE).requires_grad_()
    (gradient,) = torch.autograd.grad(a(x).square().sum(), x)
    for i in range(3):
        own = x.detach()[i : i + 1].requires_grad_()
        (wanted,) = torch.autograd.grad(a.select(torch.tensor([i]))(own).square().sum(), own)
        assert torch.allclose(gradient[i], wanted[0], atol=1e-13)


def test_it_follows_the_dtype_and_leaves_the_operators_as_they_are() -> None:
    operators: list[Operator] = [GaussianBlur(SHAPE, 1.0), Mask.box(SHAPE, 3)]
    a = each(operators)
    assert a(random(2, *SHAPE).float()).dtype == torch.float32
    assert all(operator.batch is None for operator in operators)


def test_what_cannot_share_a_batch_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"same shapes.*\(3, 4, 4\)"):
        each([SHARED, Bicubic(SHAPE, 2)])
    with pytest.raises(ShapeError, match="same shapes"):
        each([SHARED, GaussianBlur((3, 6, 8), 0.8)])
    with pytest.raises(OperatorError, match="without images"):
        each([])


def test_the_same_operator_made_twice_is_known() -> None:
    assert same(GaussianBlur(SHAPE, 1.0), GaussianBlur(SHAPE, 1.0))
    used = GaussianBlur(SHAPE, 1.0)
    used.pinv(random(1, *SHAPE))
    assert same(used, GaussianBlur(SHAPE, 1.0)) and same(GaussianBlur(SHAPE, 1.0), used)
    assert same(ParallelBeam(SHAPE, 5), ParallelBeam(SHAPE, 5))
    assert same(SHARED @ Mask.box(SHAPE, 3), GaussianBlur(SHAPE, 0.8) @ Mask.box(SHAPE, 3))
    different: list[tuple[Operator, Operator]] = [
        (GaussianBlur(SHAPE, 1.0), GaussianBlur(SHAPE, 1.1)),
        (GaussianBlur(SHAPE, 1.0), GaussianBlur(SHAPE, 1.0, rcond=0.1)),
        (Mask.random(SHAPE, 0.5, seed=0), Mask.random(SHAPE, 0.5, seed=1)),
        (ParallelBeam(SHAPE, 5), ParallelBeam(SHAPE, 5, start=10)),
        (ParallelBeam(SHAPE, 5), ParallelBeam(SHAPE, 5, unit="pixel")),
        (SHARED @ Mask.box(SHAPE, 3), SHARED @ Mask.box(SHAPE, 4)),
        (2 * Grey(SHAPE), 3 * Grey(SHAPE)),
        (Identity(SHAPE), Mask(SHAPE, torch.ones(8, 8))),
        (Quantise(SHAPE, 2), Quantise(SHAPE, 3)),
        (JPEG((3, 16, 16), 40), JPEG((3, 16, 16), 41)),
    ]
    assert not any(same(a, b) for a, b in different)
