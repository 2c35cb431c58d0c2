"""Distances of sets against closed forms."""

from __future__ import annotations

import pytest
import torch

from pellucid.metrics import MetricError
from pellucid.metrics.frechet import frechet_distance, kernel_distance, moments


def spread(seed: int, size: int) -> torch.Tensor:
    factor = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return factor @ factor.T / size


def test_frechet_of_commuting_covariances() -> None:
    """Covariances with the same eigenvectors: sum (sqrt a - sqrt b)^2 beside the means' distance."""
    basis = torch.linalg.qr(spread(0, 6)).Q
    a, b = torch.arange(1.0, 7, dtype=torch.float64), torch.tensor([4.0, 5, 1, 9, 2, 3], dtype=torch.float64)
    mean, other = torch.zeros(6, dtype=torch.float64), torch.full((6,), 0.5, dtype=torch.float64)
    found = frechet_distance(mean, basis * a @ basis.T, other, basis * b @ basis.T)
    assert found == pytest.approx(1.5 + float((a.sqrt() - b.sqrt()).square().sum()), abs=1e-10)


def test_frechet_is_that_of_scipys_root_and_symmetric() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    a, b = spread(1, 12), spread(2, 12)
    mean, other = spread(3, 12)[0], spread(4, 12)[0]
    root = linalg.sqrtm((a @ b).numpy()).real
    expected = float((mean - other).square().sum() + a.trace() + b.trace()) - 2 * root.trace()
    assert frechet_distance(mean, a, other, b) == pytest.approx(expected, abs=1e-9)
    assert frechet_distance(other, b, mean, a) == pytest.approx(expected, abs=1e-9)
    assert frechet_distance(mean, a, mean, a) == pytest.approx(0, abs=1e-10)


def test_frechet_of_samples_approaches_the_gaussians_own() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = spread(1, 4), spread(2, 4)
    shift = torch.full((4,), 0.3, dtype=torch.float64)
    draw = torch.randn(2, 100_000, 4, generator=generator, dtype=torch.float64)
    x, y = draw[0] @ torch.linalg.cholesky(a).T, shift + draw[1] @ torch.linalg.cholesky(b).T
    exact = frechet_distance(torch.zeros(4), a, shift, b)
    assert frechet_distance(*moments(x), *moments(y)) == pytest.approx(exact, rel=0.02)


def test_singular_covariances_are_fine() -> None:
    x = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    y = torch.randn(6, 40, generator=torch.Generator().manual_seed(1))
    assert 0 < frechet_distance(*moments(x), *moments(y)) < 200
    assert frechet_distance(*moments(x), *moments(x)) == pytest.approx(0, abs=1e-6)


def test_kernel_distance_is_the_sum_over_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(5, 3, generator=generator), 1 + torch.randn(5, 3, generator=generator)

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        return (float(a.double() @ b.double()) / 3 + 1) ** 3

    pairs = [(i, j) for i in range(5) for j in range(5)]
    within = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i, j in pairs if i != j) / 20
    across = sum(kernel(x[i], y[j]) for i, j in pairs) / 25
    mean, std = kernel_distance(x, y, subsets=3)
    assert mean == pytest.approx(within - 2 * across) and std == pytest.approx(0, abs=1e-9)


def test_kernel_distance_is_unbiased_and_repeatable() -> None:
    generator = torch.Generator().manual_seed(0)
    values = []
    for _ in range(400):
        x, y = torch.randn(2, 20, 4, generator=generator)
        values.append(kernel_distance(x, y, subsets=1)[0])
    found = torch.tensor(values)
    assert abs(float(found.mean())) < 3 * float(found.std()) / 20
    assert (found < 0).any() and (found > 0).any()
    x, y = torch.randn(200, 4, generator=generator), 0.5 + torch.randn(200, 4, generator=generator)
    first = kernel_distance(x, y, 10, 50, seed=1)
    assert first == kernel_distance(x, y, 10, 50, seed=1) != kernel_distance(x, y, 10, 50, seed=2)
    assert first[0] > 0.1 and first[1] > 0
    with pytest.raises(MetricError, match="at least 2"):
        kernel_distance(x[:1], y)
