"""EDM preconditioning: a raw network made into a denoiser for every noise level.

Reference: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, NeurIPS 2022, eq. (7)
and Table 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EDMDenoiser(nn.Module):
    """D(x; sigma) = c_skip x + c_out F(c_in x; ln(sigma) / 4), an estimate of E[x_0 | x_0 + sigma n = x].

    Args:
        network: F, called with (b, c, h, w) and (b,).
        sigma_data: standard deviation of the data in the network's range [-1, 1].
        sigma_range: noise levels that the network is told, others are told as the nearest: outside those that it was
            trained on, F means nothing, while c_skip and c_out still shrink its share as they should.
    """

    def __init__(
        self, network: nn.Module, sigma_data: float = 0.5, sigma_range: tuple[float, float] = (0.01, 160.0)
    ) -> None:
        super().__init__()
        self.network = network
        self.sigma_data = sigma_data
        self.sigma_range = sigma_range

    def coefficients(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(c_skip, c_out, c_in), each with the shape of sigma."""
        total = sigma**2 + self.sigma_data**2
        return self.sigma_data**2 / total, sigma * self.sigma_data * total.rsqrt(), total.rsqrt()

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x (b, c, h, w), sigma (b,) in the units of x -> E[x_0 | x], computed in x's dtype around the network."""
        c_skip, c_out, c_in = (c[:, None, None, None] for c in self.coefficients(sigma))
        return c_skip * x + c_out * self.raw(c_in * x, sigma).to(x.dtype)

    def raw(self, scaled: Tensor, sigma: Tensor) -> Tensor:
        """F(c_in x; ln(sigma) / 4)."""
        out: Tensor = self.network(scaled, torch.log(sigma.clamp(*self.sigma_range)) / 4)
        return out

    def loss(self, x0: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
        """Per-image EDM loss lambda(sigma) |D(x_0 + sigma n) - x_0|^2 with lambda = 1 / c_out^2, mean over pixels."""
        c_skip, c_out, c_in = (c[:, None, None, None] for c in self.coefficients(sigma))
        x = x0 + sigma[:, None, None, None] * noise
        raw = self.raw(c_in * x, sigma).float()
        target = (x0 - c_skip * x) / c_out
        return (raw - target).square().flatten(1).mean(1)
