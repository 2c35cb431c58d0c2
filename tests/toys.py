"""Small priors and problems for the tests: a network in closed form, pictures of 16 pixels, operators of every kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from pellucid.codec import AffineCodec
from pellucid.degradation import Degradation, Geometric
from pellucid.operators.base import LinearOperator, Operator
from pellucid.operators.blur import GaussianBlur
from pellucid.operators.color import Grey
from pellucid.operators.families import BlurFamily
from pellucid.operators.mask import Mask
from pellucid.operators.resize import Bicubic, BlockAverage
from pellucid.prior.base import Prior
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.prior.dirac import DiracPrior
from pellucid.problem import Observation
from pellucid.process import DiscreteVP
from pellucid.typing import Shape

SHAPE: Shape = (3, 16, 16)
ABAR = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)


def toy_eps(x: Tensor, i: Tensor) -> Tensor:
    """sqrt(1 - abar) x + sqrt(abar) (0.1 roll(x) + 0.1 sin 3x): smooth, bounded, and aware of the timestep i, (b,)."""
    a = abar_at(i).to(x).reshape(-1, 1, 1, 1)
    return (1 - a).sqrt() * x + a.sqrt() * (0.1 * torch.roll(x, 1, dims=3) + 0.1 * torch.sin(3 * x))


def abar_at(i: Tensor) -> Tensor:
    """The table at i, its logarithm linear between whole timesteps."""
    low = i.floor().long()
    return torch.lerp(ABAR[low].log(), ABAR[(low + 1).clamp(max=999)].log(), i.double() - low).exp()


def toy_eps_and_variance(x: Tensor, i: Tensor) -> Tensor:
    """`toy_eps` and, in twice the channels, tanh(roll(x)) as the variance mix."""
    return torch.cat([toy_eps(x, i), torch.tanh(torch.roll(x, 1, dims=2))], dim=1)


class NetworkUnits(AffineCodec):
    """Pictures that are in [-1, 1] already: for data that were recorded in a network's range."""

    def __init__(self) -> None:
        super().__init__(scale=1.0, shift=0.0)
        self.bounds = (-1.0, 1.0)


def toy_prior(*, learned_variance: bool = False, codec: AffineCodec | None = None) -> DiffusionPrior:
    """The toy network as a prior, on 1000 linear betas."""
    network = toy_eps_and_variance if learned_variance else toy_eps
    return DiffusionPrior(network, DiscreteVP.linear(), learned_variance=learned_variance, codec=codec)


def at_timestep(network: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, int], Tensor]:
    """The network with one timestep for the whole batch, as the transcriptions call it."""
    return lambda x, i: network(x, torch.full((len(x),), i))


def pictures(batch: int, shape: Shape = SHAPE) -> Tensor:
    """Smooth pictures in [0, 1], each of another phase, float64."""
    c, h, w = shape
    ramp = [torch.linspace(0, 2 * math.pi, n, dtype=torch.float64) for n in (h, w)]
    phase = torch.arange(batch * c, dtype=torch.float64).reshape(batch, c, 1, 1)
    return 0.5 + 0.3 * torch.sin(ramp[0][:, None] + phase) * torch.cos(2 * ramp[1] - phase) + 0.1 * torch.cos(phase)


def phase_amplitude(x: Tensor, pad: int = 8) -> Tensor:
    """|F(pad(x))|, F centred and orthonormal: phase retrieval."""
    padded = torch.nn.functional.pad(x, (pad,) * 4)
    shifted = torch.fft.ifftshift(padded, dim=(-2, -1))
    return torch.fft.fftshift(torch.fft.fft2(shifted, norm="ortho"), dim=(-2, -1)).abs()


class ToySeverity:
    """z_hat = A^+ y with black where nothing was measured, s2 told by the noise, (b,): for linear operators."""

    def __call__(self, observation: Observation, prior: Prior) -> tuple[Tensor, Tensor]:
        problem = observation.problem
        assert problem is not None and isinstance(problem.operator, LinearOperator)
        return prior.codec.encode(problem.operator.pinv(problem.y)), 0.02 + problem.std.cpu()


class PhaseAmplitude(Operator):
    """Phase retrieval with `pad` pixels of zeros on each side."""

    def __init__(self, image_shape: Shape, pad: int = 8) -> None:
        c, h, w = image_shape
        super().__init__(image_shape, (c, h + 2 * pad, w + 2 * pad))
        self.pad = pad

    def _forward(self, x: Tensor) -> Tensor:
        return phase_amplitude(x, self.pad)


SPECTRAL: dict[str, Callable[[], LinearOperator]] = {
    "mask": lambda: Mask.random(SHAPE, 0.5),
    "box": lambda: Mask.box(SHAPE, 6),
    "blur": lambda: GaussianBlur(SHAPE, 1.0),
    "bicubic": lambda: Bicubic(SHAPE, 4),
    "average": lambda: BlockAverage(SHAPE, 4),
    "grey": lambda: Grey(SHAPE),
}


def toy_restoration(y: Tensor, level: Tensor) -> tuple[Tensor, None]:
    """A smooth network y -> x_0 that knows its noise level, (b,)."""
    return y + 0.2 * torch.sin(4 * y) * (1 + 5 * level.reshape(-1, 1, 1, 1)) - 0.1 * y.roll(1, dims=3), None


def toy_dirac_prior(noise: tuple[float, float] = (0.2, 0.25), widest: float = 1.5) -> DiracPrior:
    """The toy restoration on blurs; by default the path is nowhere quieter than the tests' measurements."""
    family = partial(BlurFamily, stds=(0.0, widest), identity_below=0.0)
    return DiracPrior(toy_restoration, Degradation(family, Geometric(*noise)))


def prior_for(method: str) -> DiffusionPrior:
    """A toy prior of the kind that the method takes."""
    return toy_dirac_prior() if method == "dirac" else toy_prior()
