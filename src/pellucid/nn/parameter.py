"""A small head on a severity encoder's features that tells an operator's parameters from the measurement."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ParameterHead(nn.Module):
    """u = sigmoid(W_2 silu(W_1 (q - c) / s)): features (b, f, h, w) of any size -> parameters in [0, 1], (b, k).

    q holds mean and standard deviation of every feature over the positions, (b, 2 f). What an operator does everywhere
    in a picture, a blur or missing pixels, shows in them; where it does it, does not. The encoder's last normalisation
    leaves little room to these numbers: c and s bring them to mean 0 and standard deviation 1 (`standardise`).

    Args:
        features: f.
        parameters: k.
        width: of the hidden layer.

    Attributes:
        config: its arguments.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, features: int, parameters: int = 1, width: int = 128) -> None:
        super().__init__()
        self.config = {"features": features, "parameters": parameters, "width": width}
        self.register_buffer("centre", torch.zeros(2 * features))
        self.register_buffer("scale", torch.ones(2 * features))
        self.hidden = nn.Linear(2 * features, width)
        self.out = nn.Linear(width, parameters)

    def forward(self, features: Tensor) -> Tensor:
        hidden = nn.functional.silu(self.hidden((moments(features) - self.centre) / self.scale))
        return torch.sigmoid(self.out(hidden))

    def standardise(self, seen: Tensor) -> None:
        """c and s from the moments (n, 2 f) of typical measurements, as float16 holds them, in which it is shipped."""
        with torch.no_grad():
            self.centre.copy_(seen.mean(0).half())
            self.scale.copy_(seen.std(0).clamp(min=1e-3).half())


def moments(features: Tensor) -> Tensor:
    """Mean and standard deviation over the positions: (b, f, h, w) -> (b, 2 f), in float32."""
    flat = features.float().flatten(2)
    spread = (flat.var(2, unbiased=False) + 1e-8).sqrt()  # a root without slope at 0 would have no gradient there
    return torch.cat([flat.mean(2), spread], 1)
