"""A denoiser of pictures in [0, 1], as one in the range [-1, 1] of priors."""

from __future__ import annotations

from torch import Tensor, nn


class PictureDenoiser(nn.Module):
    """x, sigma in units of [-1, 1] -> 2 D((x + 1) / 2, sigma / 2) - 1: what `DiffusionPrior` calls a "denoiser".

    Args:
        network: D, called with pictures (b, c, h, w) in [0, 1], and with the noise level (b,) in the same units unless
            it is blind.
        strongest: noise level in [0, 1] units from which on D is told this one: it has not seen stronger noise, and
            for such its answer is no conditional mean. None for a blind network, which is told nothing.
    """

    def __init__(self, network: nn.Module, strongest: float | None) -> None:
        super().__init__()
        self.network, self.strongest = network, strongest

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        picture = (x + 1) / 2
        told = () if self.strongest is None else ((sigma / 2).clamp(max=self.strongest),)
        out: Tensor = self.network(picture, *told)
        return 2 * out - 1
