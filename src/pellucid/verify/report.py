"""What `pellucid verify` measures."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.loop import Result, reconstruct
from pellucid.method import Method
from pellucid.metrics.pixels import psnr as psnr_of_pairs
from pellucid.operators.base import Operator
from pellucid.prior.gaussian import GaussianPrior, MixturePrior
from pellucid.problem import Problem
from pellucid.transition import Reversal
from pellucid.verify.oracle import GaussianPosterior, MixturePosterior, posterior
from pellucid.verify.restoration import restoration

LEVELS = {"50": 0.50, "90": 0.90}


@dataclass(frozen=True)
class Verdict:
    """One method on one problem, beside the exact posterior on the same problem.

    Attributes:
        psnr_sample, psnr_mean: of one sample (averaged over the samples), and of the mean of the samples, in dB.
        exact_sample, exact_mean: the same of as many exact samples.
        optimum: of the exact posterior mean.
        bias: root mean square over pixels of (mean of samples - posterior mean) / posterior std. An exact sampler gets
            1 / sqrt(samples).
        spread: standard deviation of the samples / posterior std, root mean square over pixels. 1 is exact.
        coverage_50, coverage_90: share of the samples' pixels inside the posterior's central intervals, which for a
            mixture are those of the Gaussian of its mean and std.
        residual: root mean square of y - A x over the samples, in units of sigma (of 1 if sigma is 0).
        exact_residual: the same of exact samples.
        nfe, seconds: cost of one sample, and of all.
    """

    method: str
    operator: str
    noise: float
    size: int
    samples: int
    psnr_sample: float
    psnr_mean: float
    exact_sample: float
    exact_mean: float
    optimum: float
    bias: float
    spread: float
    coverage_50: float
    coverage_90: float
    residual: float
    exact_residual: float
    nfe: int
    seconds: float

    @property
    def gap(self) -> float:
        """How far the mean of the samples is below that of as many exact samples, in dB."""
        return self.exact_mean - self.psnr_mean

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "gap": self.gap}


@dataclass(frozen=True)
class Case:
    """A truth, its measurement, the exact posterior and exact samples: what methods are held against.

    Attributes:
        truth: (1, c, h, w) in [0, 1] units.
        problem: one measurement.
        exact: its posterior.
        samples: exact samples in [0, 1] units.
    """

    prior: GaussianPrior | MixturePrior
    truth: Tensor
    problem: Problem
    exact: GaussianPosterior | MixturePosterior
    samples: Tensor

    @classmethod
    def make(
        cls, prior: GaussianPrior | MixturePrior, operator: Operator, noise: float, samples: int = 16, seed: int = 0
    ) -> Case:
        """Draws a truth from the prior, measures it, and solves the problem exactly."""
        generator = torch.Generator().manual_seed(seed)
        component = _draw_component(prior, generator)
        z = torch.randn(1, *component.spectrum.shape, generator=generator, dtype=torch.float64)
        truth = prior.codec.decode(component.color(z))
        clean = operator(truth)
        y = clean + noise * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
        problem = Problem(y, operator, noise)
        exact = posterior(prior, problem)
        return cls(prior, truth, problem, exact, prior.codec.decode(exact.sample(samples, generator)))

    def run(self, method: Method, seed: int = 0) -> Result:
        """As many samples of the method as there are exact ones, in one batch.

        Dirac, whose prior is one of a degradation, gets the exact one of the degradation that ends at the problem.
        """
        count = len(self.samples)
        reverses = isinstance(method.transition, Reversal)
        prior = restoration(self.prior, self.problem) if reverses else self.prior
        y = self.problem.y.expand(count, *self.problem.y.shape[1:]).contiguous()
        return reconstruct(Problem(y, self.problem.operator, self.problem.noise_std), prior, method, seeds=seed)

    def judge(self, result: Result, method: str, operator: str) -> Verdict:
        """The verdict on a result of `run`."""
        decode, codec_scale = self.prior.codec.decode, _scale(self.prior)
        mean, std = decode(self.exact.mean), self.exact.std / codec_scale
        image, noise = result.image, float(self.problem.noise_std)
        free = (std > 1e-4).expand_as(mean)  # what the measurement fixes has no posterior spread to compare with
        ratio = ((image.mean(0, keepdim=True) - mean) / std)[free]
        spread = (image.std(0, keepdim=True) / std)[free]
        inside = _coverage(image, mean, std, free)
        return Verdict(
            method=method,
            operator=operator,
            noise=noise,
            size=self.truth.shape[-1],
            samples=len(image),
            psnr_sample=float(psnr(image, self.truth).mean()),
            psnr_mean=float(psnr(image.mean(0, keepdim=True), self.truth)),
            exact_sample=float(psnr(self.samples, self.truth).mean()),
            exact_mean=float(psnr(self.samples.mean(0, keepdim=True), self.truth)),
            optimum=float(psnr(mean, self.truth)),
            bias=float(ratio.square().mean().sqrt()),
            spread=float(spread.square().mean().sqrt()),
            coverage_50=inside["50"],
            coverage_90=inside["90"],
            residual=self._residual(image),
            exact_residual=self._residual(self.samples),
            nfe=int(result.nfe[0]),
            seconds=result.seconds,
        )

    def _residual(self, image: Tensor) -> float:
        unit = float(self.problem.noise_std) or 1.0
        return float((self.problem.y - self.problem.operator(image)).square().mean().sqrt()) / unit


def verify(method: Method, operator: Operator, noise: float = 0.05, size: int = 64, *, name: str = "") -> Verdict:
    """The method on a Gaussian prior with the spectrum of photographs, against the exact posterior.

    Args:
        method: what is verified.
        operator: linear, channel by channel, on pictures (3, size, size).
        noise: in [0, 1] units.
        size: side of the pictures.
        name: of the operator, for the verdict.

    Raises:
        CompatibilityError: the operator mixes channels or is not linear, or the method cannot take it.
    """
    case = Case.make(GaussianPrior.natural(size), operator, noise)
    return case.judge(case.run(method), method.name, name)


def _draw_component(prior: GaussianPrior | MixturePrior, generator: torch.Generator) -> GaussianPrior:
    if isinstance(prior, GaussianPrior):
        return prior
    return prior.components[int(torch.multinomial(prior.log_weights.exp(), 1, generator=generator))]


def psnr(x: Tensor, truth: Tensor) -> Tensor:
    """PSNR in dB of every image against its truth, or the one truth; nothing clipped, as the exact posterior, (b,)."""
    return psnr_of_pairs(x, truth.expand_as(x), clip=False, at_most=math.inf)


def _scale(prior: GaussianPrior | MixturePrior) -> float:
    one, zero = torch.ones(()), torch.zeros(())
    return float(prior.codec.encode(one) - prior.codec.encode(zero))


def _coverage(image: Tensor, mean: Tensor, std: Tensor, free: Tensor) -> dict[str, float]:
    distance = ((image - mean) / std)[free.expand_as(image)].abs()
    return {
        name: float((distance < float(torch.special.ndtri(torch.tensor((1 + level) / 2)))).double().mean())
        for name, level in LEVELS.items()
    }
