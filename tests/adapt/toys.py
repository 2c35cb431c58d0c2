"""Small networks and pictures to adapt them to."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pellucid.nn.edm import EDMDenoiser
from pellucid.nn.unet import UNet
from pellucid.prior.diffusion import DiffusionPrior


def network(seed: int = 0, outputs: int = 3) -> nn.Module:
    """A small UNet whose layers all take part."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = UNet(3, (8, 12), (1, 1), unshuffle=2, heads=2, embedding=16, outputs=outputs)
        for parameter in made.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.05)
    return made.eval()


def prior(seed: int = 0, dtype: torch.dtype = torch.float32) -> DiffusionPrior:
    """A denoiser around it."""
    made = EDMDenoiser(network(seed)).to(dtype).eval().requires_grad_(False)
    return DiffusionPrior(made, predicts="denoiser", channels=3, multiple=4)


def stripes(count: int, side: int = 32, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Coloured stripes in one direction: a narrow kind of picture, (3, side, side) each."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        phase, period = torch.rand(2, generator=generator).tolist()
        wave = torch.sin(2 * torch.pi * (torch.arange(side) / (4 + 4 * period) + phase))
        made.append((0.5 + 0.4 * wave.expand(3, side, side)).to(dtype))
    return made
