"""Forward processes x_t = alpha_t x_0 + sigma_t eps, a schedule being a function t -> (alpha, sigma).

Time 0 is the clean picture and `t_max` the noisiest state, in every process. A discrete process with T betas lives on
[0, T]: t = i + 1 is what the published codes call timestep i, and t = 0 is their "timestep -1". Between whole numbers
ln abar is interpolated linearly. Times are (b,) float64 tensors on the CPU, and so are alpha and sigma: they are
rounded and moved where they meet a picture (`typing.expand`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from pellucid.typing import expand


class Process(ABC):
    """A forward process.

    Attributes:
        t_max: the largest time.
        discrete: whether a network was trained at whole times only, which grids then keep to.
    """

    t_max: float
    discrete: bool = False

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Signal coefficient alpha_t, the shape of t."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Noise standard deviation sigma_t, in the units of the prior's space, the shape of t."""

    @abstractmethod
    def time_at_ratio(self, ratio: Tensor) -> Tensor:
        """The time at which sigma_t / alpha_t = ratio, clamped to [0, t_max]: the inverse of `ratio`."""

    def ratio(self, t: Tensor) -> Tensor:
        """sigma_t / alpha_t, the noise level of x_t / alpha_t."""
        return self.sigma(t) / self.alpha(t)

    def snr(self, t: Tensor) -> Tensor:
        """alpha_t^2 / sigma_t^2."""
        return self.ratio(t) ** -2

    def time_at_snr(self, snr: Tensor) -> Tensor:
        """The time at which alpha_t^2 / sigma_t^2 = snr, clamped to [0, t_max]."""
        return self.time_at_ratio(snr**-0.5)

    def mean(self, x0: Tensor, t: Tensor) -> Tensor:
        """M_t(x_0) = alpha_t x_0."""
        return expand(self.alpha(t), x0) * x0

    def diffuse(self, x0: Tensor, t: Tensor, z: Tensor) -> Tensor:
        """x_t = M_t(x_0) + sigma_t z."""
        return self.mean(x0, t) + expand(self.sigma(t), x0) * z

    def eps(self, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """(x_t - M_t(x_0)) / sigma_t; zero at t = 0, where there is no noise to speak of."""
        sigma = expand(self.sigma(t), x)
        return torch.where(sigma > 0, (x - self.mean(x0, t)) / torch.where(sigma > 0, sigma, 1), 0)

    def at_pace(self, u: Tensor) -> Tensor:
        """The time after a share u of the way from clean (0) to noisiest (1), at the pace that grids step at."""
        return u * self.t_max

    def pace(self, t: Tensor) -> Tensor:
        """The inverse of `at_pace`."""
        return t / self.t_max

    def on_grid(self, t: Tensor) -> Tensor:
        """t itself, or the nearest whole time of a discrete process."""
        return t.round() if self.discrete else t


class DiscreteVP(Process):
    """Variance-preserving process of T betas: alpha_t^2 = abar_t, sigma_t^2 = 1 - abar_t.

    Args:
        betas: (T,) float64 in (0, 1).
    """

    discrete = True

    def __init__(self, betas: Tensor) -> None:
        log_abar = torch.log1p(-betas.double()).cumsum(0)
        self._log_abar = torch.cat([log_abar.new_zeros(1), log_abar])
        self.t_max = float(len(betas))

    @classmethod
    def from_abar(cls, abar: Tensor) -> DiscreteVP:
        """From the table of abar_t, t = 1..T."""
        abar = torch.cat([abar.new_ones(1), abar]).double()
        return cls(1 - abar[1:] / abar[:-1])

    @classmethod
    def linear(cls, steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> DiscreteVP:
        """Linear betas: DDPM, ADM (Ho et al., 2020)."""
        return cls(torch.linspace(first, last, steps, dtype=torch.float64))

    @classmethod
    def scaled_linear(cls, steps: int = 1000, first: float = 0.0015, last: float = 0.0195) -> DiscreteVP:
        """Betas whose square roots are linear: latent diffusion (Rombach et al., 2022)."""
        return cls(torch.linspace(math.sqrt(first), math.sqrt(last), steps, dtype=torch.float64) ** 2)

    @classmethod
    def cosine(cls, steps: int = 1000, offset: float = 0.008, largest: float = 0.999) -> DiscreteVP:
        """abar ~ cos^2, betas capped at `largest` (Nichol and Dhariwal, 2021, eq. 17)."""
        u = torch.arange(steps + 1, dtype=torch.float64) / steps
        abar = torch.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2
        return cls((1 - abar[1:] / abar[:-1]).clamp(max=largest))

    def log_abar(self, t: Tensor) -> Tensor:
        """ln abar_t, linear between whole times."""
        table = self._log_abar.to(t.device)
        low = t.floor().clamp(0, self.t_max - 1).long()
        return torch.lerp(table[low], table[low + 1], (t - low).double())

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(self.log_abar(t) / 2)

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(self.log_abar(t)))

    def time_at_ratio(self, ratio: Tensor) -> Tensor:
        table = self._log_abar.to(ratio.device)
        wanted = -torch.log1p(ratio.double() ** 2)
        high = torch.searchsorted(-table, -wanted).clamp(1, len(table) - 1)
        fraction = (wanted - table[high - 1]) / (table[high] - table[high - 1])
        return (high - 1 + fraction).clamp(0, self.t_max)


class VE(Process):
    """Variance-exploding process: alpha_t = 1, sigma_t = t. Time is the noise level (Karras et al., 2022).

    Grids step evenly in t^(1/rho) - t_min^(1/rho), the spacing of eq. (5) there.

    Args:
        sigma_max: the largest noise level, in the units of the prior's space.
        sigma_min: where the pace starts; below it there is only the last step, to 0.
        rho: the exponent of the pace.
    """

    def __init__(self, sigma_max: float = 80.0, sigma_min: float = 0.002, rho: float = 7.0) -> None:
        self.t_max, self.sigma_min, self.rho = sigma_max, sigma_min, rho

    def at_pace(self, u: Tensor) -> Tensor:
        low, high = self.sigma_min ** (1 / self.rho), self.t_max ** (1 / self.rho)
        return torch.where(u > 0, (low + u * (high - low)) ** self.rho, 0)

    def pace(self, t: Tensor) -> Tensor:
        low, high = self.sigma_min ** (1 / self.rho), self.t_max ** (1 / self.rho)
        return ((t ** (1 / self.rho) - low) / (high - low)).clamp(min=0)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def time_at_ratio(self, ratio: Tensor) -> Tensor:
        return ratio.double().clamp(0, self.t_max)


class Flow(Process):
    """Rectified flow: alpha_t = 1 - t, sigma_t = t (Liu et al., 2023).

    Args:
        t_max: just below 1 by default: at t = 1 nothing of the picture is left and x_t says nothing about it.
    """

    def __init__(self, t_max: float = 0.999) -> None:
        self.t_max = t_max

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def time_at_ratio(self, ratio: Tensor) -> Tensor:
        return (ratio.double() / (1 + ratio.double())).clamp(0, self.t_max)
