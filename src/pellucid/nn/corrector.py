"""A UNet that is told no noise level and corrects the picture that it is shown."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pellucid.nn.unet import UNet
from pellucid.prior.diffusion import pad_to_multiple


class Corrector(nn.Module):
    """v + sign F(v), pictures (b, c, h, w) in [0, 1] of any size -> the same.

    Args:
        network: F, a UNet that is told the same noise level always.
        sign: -1 where F is the noise to take away (Zhang et al., IEEE TIP 2017), +1 where it is what to add.
    """

    def __init__(self, network: UNet, sign: float = 1.0) -> None:
        super().__init__()
        self.network, self.sign = network, sign

    def forward(self, v: Tensor) -> Tensor:
        height, width = v.shape[-2:]
        padded = pad_to_multiple(v, self.network.multiple)
        out = self.network(2 * padded - 1, torch.zeros(len(v), device=v.device))
        return v + self.sign * out[..., :height, :width].to(v.dtype)
