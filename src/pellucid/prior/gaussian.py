"""Exact priors: a Gaussian, or a mixture of Gaussians, of known spectrum. Theory before pictures.

With x_0 ~ N(mu, C) and x_t = alpha x_0 + sigma eps, the posterior mean is a filter in the eigenbasis of C,

    E[x_0 | x_t] = mu + lambda alpha / (alpha^2 lambda + sigma^2) (x_t - alpha mu)        (lambda: eigenvalues of C),

so every formula of every method can be checked against a closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pellucid.codec import AffineCodec, Codec
from pellucid.errors import ShapeError
from pellucid.prior.base import Prior
from pellucid.process import DiscreteVP, Process
from pellucid.typing import Shape, expand


class Basis(Protocol):
    """A unitary change of basis on (b, c, h, w)."""

    def to(self, x: Tensor) -> Tensor:
        """Pictures -> coefficients."""

    def back(self, c: Tensor) -> Tensor:
        """Coefficients -> pictures (real)."""


@dataclass(frozen=True)
class Fourier:
    """The unitary 2-D Fourier basis, channel by channel: stationary covariances on a torus."""

    def to(self, x: Tensor) -> Tensor:
        return torch.fft.fft2(x, norm="ortho")

    def back(self, c: Tensor) -> Tensor:
        return torch.fft.ifft2(c, norm="ortho").real


@dataclass(frozen=True)
class Pixels:
    """The basis of pixels: covariances that are diagonal."""

    def to(self, x: Tensor) -> Tensor:
        return x

    def back(self, c: Tensor) -> Tensor:
        return c


class GaussianPrior(Prior):
    """x_0 ~ N(mean, C) with C = B diag(spectrum) B^T, in the units of the prior's space.

    Args:
        spectrum: eigenvalues of C, (c, h, w), not negative; float64.
        mean: mu, broadcastable to (c, h, w).
        basis: B.
        process: the forward process.
        codec: between [0, 1] and the prior's space; unbounded by default, as a Gaussian is.
    """

    def __init__(
        self,
        spectrum: Tensor,
        mean: Tensor | float = 0.0,
        basis: Basis = Fourier(),
        process: Process | None = None,
        codec: Codec | None = None,
    ) -> None:
        self.spectrum, self.basis = spectrum, basis
        self.mean = torch.as_tensor(mean, dtype=spectrum.dtype)
        self.process = process or DiscreteVP.linear()
        self.codec = codec or AffineCodec(bounded=False)

    @classmethod
    def natural(
        cls,
        size: int,
        channels: int = 3,
        std: float = 0.2,
        mean: float = 0.5,
        exponent: float = 1.25,
        process: Process | None = None,
    ) -> GaussianPrior:
        """A prior with the spectrum of photographs: power ~ (f^2 + 1/n^2)^-exponent, channels independent.

        Args:
            size: side n of the pictures; f is in cycles per pixel.
            channels: number of channels.
            std, mean: of a pixel, in [0, 1] units.
            exponent: 1.25 is near the amplitude law 1 / f^1.25 of photographs.
            process: the forward process.
        """
        codec = AffineCodec(bounded=False)
        f = torch.fft.fftfreq(size, dtype=torch.float64)
        power = (f[:, None] ** 2 + f**2 + size**-2.0) ** -exponent
        spectrum = power * ((codec.scale * std) ** 2 / power.mean())
        return cls(
            spectrum.expand(channels, size, size), codec.scale * mean + codec.shift, process=process, codec=codec
        )

    def check(self, image_shape: Shape) -> None:
        if tuple(self.spectrum.shape) != self.codec.shape(image_shape):
            raise ShapeError(f"this Gaussian prior is for pictures of shape {tuple(self.spectrum.shape)}")

    def _denoise(self, x: Tensor, t: Tensor) -> tuple[Tensor, None]:
        a, v, mu = self._at(x, t)
        gain = self.spectrum.to(v) * a / v
        return mu + self.basis.back(gain * self.basis.to(x - a * mu)), None

    def _at(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """alpha (b, 1, 1, 1), the variance of x_t in the eigenbasis (b, c, h, w), and mu."""
        a, sigma = expand(self.process.alpha(t), x), expand(self.process.sigma(t), x)
        return a, a**2 * self.spectrum.to(x) + sigma**2, self.mean.to(x)

    def log_density(self, x: Tensor, t: Tensor) -> Tensor:
        """ln p(x_t) up to a constant that is the same for every Gaussian prior of this shape, (b,)."""
        a, v, mu = self._at(x, t)
        c = self.basis.to(x - a * mu)
        return -0.5 * (c.abs() ** 2 / v + v.log()).flatten(1).sum(1)

    def color(self, z: Tensor) -> Tensor:
        """mu + C^(1/2) z: white noise (b, c, h, w) -> samples of the prior."""
        return self.mean.to(z) + self.basis.back(self.spectrum.to(z).sqrt() * self.basis.to(z))

    def covariance(self, x: Tensor) -> Tensor:
        """C x."""
        return self.basis.back(self.spectrum.to(x) * self.basis.to(x))


class MixturePrior(Prior):
    """A mixture of Gaussian priors of one process and codec: E[x_0 | x_t] = sum_k r_k(x_t) E_k[x_0 | x_t].

    Args:
        components: the Gaussians.
        weights: their probabilities; equal if not given.
    """

    def __init__(self, components: Sequence[GaussianPrior], weights: Sequence[float] | None = None) -> None:
        self.components = list(components)
        odds = torch.tensor(weights or [1.0] * len(self.components), dtype=torch.float64)
        self.log_weights = (odds / odds.sum()).log()
        self.process, self.codec = self.components[0].process, self.components[0].codec

    def check(self, image_shape: Shape) -> None:
        for component in self.components:
            component.check(image_shape)

    def _denoise(self, x: Tensor, t: Tensor) -> tuple[Tensor, None]:
        r = self.responsibilities(x, t)
        parts = (component._denoise(x, t)[0] for component in self.components)
        return torch.stack([expand(r[:, k], x) * part for k, part in enumerate(parts)]).sum(0), None

    def responsibilities(self, x: Tensor, t: Tensor) -> Tensor:
        """r_k = p(component k | x_t), (b, K)."""
        log_p = torch.stack([component.log_density(x, t) for component in self.components], dim=1)
        return torch.softmax(log_p + self.log_weights.to(log_p), dim=1)
