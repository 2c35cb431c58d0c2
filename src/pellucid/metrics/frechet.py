"""Distances of two sets of feature vectors: Fréchet's and the kernel's."""

from __future__ import annotations

from abc import abstractmethod
from copy import copy
from typing import Self

import torch
from torch import Tensor

from pellucid.metrics.errors import MetricError
from pellucid.metrics.metric import SetMetric
from pellucid.metrics.protocol import PLAIN, Protocol


class FeatureSets(SetMetric):
    """Keeps the features of both sets; pictures are gone after each batch.

    Args:
        protocol: how pictures are prepared.
    """

    dimension: int

    def __init__(self, protocol: Protocol = PLAIN) -> None:
        super().__init__(protocol)
        self._kept: dict[bool, list[Tensor]] = {False: [], True: []}

    @abstractmethod
    def features(self, pictures: Tensor) -> Tensor:
        """Prepared pictures (b, c, h, w) -> (n, dimension)."""

    def _add(self, pictures: Tensor, *, true: bool) -> None:
        self.add_features(self.features(pictures), true=true)

    def add_features(self, features: Tensor, *, true: bool) -> None:
        """Adds features (n, dimension) that were computed before to the results or to the true pictures."""
        self._kept[true].append(features.double().cpu())

    def emptied(self) -> Self:
        """Another one without samples that shares the network."""
        other = copy(self)
        other._kept = {False: [], True: []}
        return other

    def count(self, *, true: bool) -> int:
        """Samples so far."""
        return sum(map(len, self._kept[true]))

    def both(self) -> tuple[Tensor, Tensor]:
        """The features of the results and of the truth, (n, d) and (m, d) float64. Raises `MetricError` below 2."""
        for true, name in ((False, "results"), (True, "true pictures")):
            if self.count(true=true) < 2:
                raise MetricError(
                    f"a distance of sets needs at least 2 samples; there are {self.count(true=true)} {name}"
                )
        return torch.cat(self._kept[False]), torch.cat(self._kept[True])

    @property
    def text(self) -> str:
        n, m = self.count(true=False), self.count(true=True)
        return f"{n} and {m} samples of {self.dimension} features"


class Frechet(FeatureSets):
    """Fréchet distance of the Gaussians fitted to both sets; see `frechet_distance`."""

    def require(self, count: int) -> None:
        """Refuses too few samples; nothing here."""

    def compute(self) -> float:
        """|mu_1 - mu_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2))."""
        x, truth = self.both()
        for features in (x, truth):
            self.require(len(features))
        return frechet_distance(*moments(x), *moments(truth))

    @property
    def text(self) -> str:
        short = min(self.count(true=False), self.count(true=True)) <= self.dimension
        return super().text + (": fewer than dimensions, so the covariances are singular and the bias is large" * short)


class Kernel(FeatureSets):
    """Kernel distance, the squared maximum mean discrepancy with the kernel k(a, b) = (a . b / d + 1)^3, unbiased.

    Bińkowski et al., ICLR 2018: the mean over random subsets. Small or negative numbers mean that the sets are alike.

    Args:
        protocol: how pictures are prepared.
        subsets: how many.
        size: samples in a subset, at most; all samples where there are fewer.
        seed: of the choice.
    """

    def __init__(self, protocol: Protocol = PLAIN, subsets: int = 100, size: int = 1000, seed: int = 0) -> None:
        super().__init__(protocol)
        self.subsets, self.size, self.seed = subsets, size, seed

    def compute(self) -> float:
        """The mean over the subsets."""
        return kernel_distance(*self.both(), self.subsets, self.size, self.seed)[0]

    @property
    def text(self) -> str:
        size = min(self.size, self.count(true=False), self.count(true=True))
        return f"{super().text}, {self.subsets} subsets of {size}, seed {self.seed}"


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """(n, d) -> the mean (d,) and the unbiased covariance (d, d), in float64."""
    features = features.double()
    mean = features.mean(0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)


def frechet_distance(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> float:
    """Squared Fréchet (2-Wasserstein) distance of two Gaussians: Dowson and Landau, 1982.

    |m_1 - m_2|^2 + tr C_1 + tr C_2 - 2 tr (C_1^(1/2) C_2 C_1^(1/2))^(1/2), every root of a symmetric matrix by its
    eigenvalues, in float64. Unlike the root of C_1 C_2 this cannot become complex, nor fail for singular covariances.

    Args:
        mean, other_mean: (d,).
        covariance, other_covariance: (d, d), symmetric, with no negative eigenvalue but for rounding.
    """
    a, b = covariance.double(), other_covariance.double()
    values, vectors = torch.linalg.eigh(a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    inner = root @ b @ root
    cross = torch.linalg.eigvalsh((inner + inner.T) / 2).clamp(min=0).sqrt().sum()
    distance = (mean.double() - other_mean.double()).square().sum() + a.trace() + b.trace() - 2 * cross
    return max(0.0, float(distance))


def kernel_distance(
    x: Tensor, truth: Tensor, subsets: int = 100, size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Mean and standard deviation over random subsets of the unbiased squared MMD with the kernel (a . b / d + 1)^3.

    Args:
        x, truth: (n, d), (m, d).
        subsets: how many; where all samples are taken they are all the same.
        size: samples of a subset; at most n and m.
        seed: of the choice.

    Raises:
        MetricError: a set has fewer than 2 samples.
    """
    size = min(size, len(x), len(truth))
    if size < 2:
        raise MetricError(f"the kernel distance needs at least 2 samples of each set, not {len(x)} and {len(truth)}")
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(subsets):
        a, b = (s.double()[torch.randperm(len(s), generator=generator)[:size]] for s in (x, truth))
        within = sum((k.sum() - k.trace()) / (size * (size - 1)) for k in (_cubic(a, a), _cubic(b, b)))
        values.append(within - 2 * _cubic(a, b).mean())
    result = torch.stack([torch.as_tensor(value) for value in values])
    return float(result.mean()), float(result.std(correction=0))


def _cubic(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3
