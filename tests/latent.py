"""A linear autoencoder: with it a latent prior is an exact oracle, and a latent problem a pixel problem in disguise.

Decoding repeats every latent in a block of 2 x 2 pixels (W), encoding takes the block's mean (W^T / 4), both on
pictures in [-1, 1]. As W 1 = 1, the picture (W z + 1) / 2 is W ((z + 1) / 2): y = A((W z + 1) / 2) + n is the problem
of the operator A W for a pixel prior of the latents' size, whose exact posterior is known.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from pellucid.codec import AffineCodec
from pellucid.codec.autoencoder import AutoencoderCodec
from pellucid.noise import SeededNoise
from pellucid.operators.base import LinearOperator, Operator
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Problem
from pellucid.typing import Shape
from tests.toys import SHAPE, toy_prior

LATENT: Shape = (3, 8, 8)


class LinearAutoencoder(nn.Module):
    """encode = mean of 2 x 2 blocks, decode = their repetition."""

    def encode(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, 2)

    def decode(self, z: Tensor) -> Tensor:
        return interpolate(z, scale_factor=2, mode="nearest")


class ToyAutoencoder(nn.Module):
    """The nonlinear first stage of the recorded latent chains."""

    def encode(self, x: Tensor) -> Tensor:
        return avg_pool2d(torch.atanh(x.clamp(-0.99, 0.99)) / 1.1, 2)

    def decode(self, z: Tensor) -> Tensor:
        u = interpolate(z, scale_factor=2, mode="nearest")
        return torch.tanh(u + 0.1 * torch.roll(u, 1, dims=3))


class Repeat(LinearOperator):
    """W: (c, h, w) -> (c, 2 h, 2 w)."""

    def __init__(self, latent_shape: Shape) -> None:
        c, h, w = latent_shape
        super().__init__(latent_shape, (c, 2 * h, 2 * w))

    def _forward(self, x: Tensor) -> Tensor:
        return interpolate(x, scale_factor=2, mode="nearest")

    def _adjoint(self, y: Tensor) -> Tensor:
        return 4 * avg_pool2d(y, 2)


def codec(module: nn.Module | None = None) -> AutoencoderCodec:
    """The linear autoencoder, or another module of its shape, as a codec."""
    return AutoencoderCodec(module or LinearAutoencoder(), factor=2, latent_channels=3, channels=3)


def latent_oracle(shape: Shape = LATENT) -> GaussianPrior:
    """An exact Gaussian prior of latents, behind the linear autoencoder."""
    natural = GaussianPrior.natural(shape[-1], shape[0])
    return GaussianPrior(natural.spectrum, natural.mean, codec=codec())


def pixel_twin(shape: Shape = LATENT) -> GaussianPrior:
    """The same prior as `latent_oracle`, on pictures of the latents' size: for `disguised` problems."""
    natural = GaussianPrior.natural(shape[-1], shape[0])
    return GaussianPrior(natural.spectrum, natural.mean, codec=AffineCodec(bounded=False))


def disguised(problem: Problem) -> Problem:
    """The problem of A W, which `pixel_twin` and its exact posterior can take."""
    operator = problem.operator
    assert isinstance(operator, LinearOperator)
    c, h, w = operator.image_shape
    return Problem(problem.y, operator @ Repeat((c, h // 2, w // 2)), problem.noise_std, problem.gain)


def measured(operator: Operator, noise_std: float | Tensor, batch: int = 2, seed: int = 0) -> tuple[Problem, Tensor]:
    """A problem whose truth (b, c, 2 h, 2 w) is a decoded draw of `latent_oracle`; and that truth, in [0, 1]."""
    c, h, w = operator.image_shape
    prior = latent_oracle((c, h // 2, w // 2))
    noise = SeededNoise([seed + i for i in range(batch)])
    z = prior.color(noise.normal(torch.zeros(batch, c, h // 2, w // 2, dtype=torch.float64), 0, "truth"))
    x = prior.codec.decode(z)
    clean = operator(x)
    level = torch.as_tensor(noise_std, dtype=torch.float64).reshape(-1, *(1,) * (clean.ndim - 1))
    return Problem(clean + level * noise.normal(clean, 0, "measurement"), operator, noise_std), x


def toy_latent_prior(module: nn.Module | None = None) -> DiffusionPrior:
    """The toy network on latents of the toys' pictures, behind the nonlinear toy first stage by default."""
    assert SHAPE[-1] == 2 * LATENT[-1]
    prior = toy_prior()
    return DiffusionPrior(prior.network, prior.process, codec=codec(module or ToyAutoencoder()))
