"""One small problem, as a composed method gets it and as a transcription gets it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pellucid.loop import reconstruct
from pellucid.method import Method
from pellucid.noise import SeededNoise
from pellucid.operators.base import LinearOperator, Spectral
from pellucid.operators.tomography import ParallelBeam
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.problem import Problem
from tests.reference.symbols import Eps, Svd, per_image
from tests.toys import ABAR, SHAPE, SPECTRAL, at_timestep, pictures, toy_prior

LIMITED = ParallelBeam(SHAPE, 9, span=100, start=20, detectors=19, spacing=1.2, unit="pixel")
OPERATORS = SPECTRAL | {"tomography": lambda: ParallelBeam(SHAPE, 20), "limited": lambda: LIMITED}
SEEDS = (0, 7)
NOISE = torch.tensor([0.05, 0.1], dtype=torch.float64)


@dataclass(frozen=True)
class Setting:
    """Two pictures at different noise levels, measured by one operator.

    Attributes:
        operator, problem, prior: for pellucid.
        y, sigma: measurement and noise in the network's range, for the transcriptions.
    """

    operator: LinearOperator
    problem: Problem
    prior: DiffusionPrior
    y: Tensor
    sigma: Tensor

    @classmethod
    def of(cls, name: str, *, learned_variance: bool = False) -> Setting:
        """The problem with the operator `name` of the toys."""
        operator, x = OPERATORS[name](), pictures(2)
        clean = operator(x)
        y = clean + per_image(NOISE, clean) * SeededNoise([3, 4]).normal(clean, 0, "measured")
        y_net = 2 * y - operator(torch.ones_like(x))
        prior = toy_prior(learned_variance=learned_variance)
        return cls(operator, Problem(y, operator, NOISE), prior, y_net, 2 * NOISE)

    @property
    def eps(self) -> Eps:
        """The network at a whole timestep."""
        return at_timestep(self.prior.network)

    @property
    def like(self) -> Tensor:
        """A picture's shape."""
        return torch.zeros(2, *self.operator.image_shape, dtype=torch.float64)

    @staticmethod
    def draw(step: int, purpose: str, like: Tensor) -> Tensor:
        """The draws that `run` makes."""
        return SeededNoise(SEEDS).normal(like, step, purpose)

    def x_T(self, top: int) -> Tensor:
        """The start from noise at timestep `top`."""
        return (1 - float(ABAR[top])) ** 0.5 * self.draw(0, "start", self.like)

    def svd(self, *, kept: bool = True) -> Svd:
        """The operator's factors; `kept`: singular values that the pseudo-inverse leaves out are 0."""
        operator = self.operator
        assert isinstance(operator, Spectral)
        s = operator.singular_values(self.like)
        s = torch.where(operator.kept(self.like), s, 0) if kept else s
        return Svd(
            s,
            operator.to_spectrum,
            operator.from_spectrum,
            operator.measured_to_spectrum,
            operator.spectrum_to_measured,
        )

    def run(self, method: Method) -> Tensor:
        """What pellucid makes of it, in the network's range."""
        return self.prior.codec.encode(reconstruct(self.problem, self.prior, method, seeds=SEEDS).image)
