"""A small head on a severity encoder's features that tells an operator's parameters from the measurement."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ParameterHead(nn.Module):
    """u = sigmoid(W_2 silu(W_1 n(m, s))): features (b, c, h, w) of any size -> parameters scaled to [0, 1], (b, k).

    m and s are mean and standard deviation of every feature over the positions, n normalises the 2 c of them. What an
    operator does everywhere in a picture, a blur or missing pixels, shows in them, where it does it does not.

    Args:
        features: c.
        parameters: k.
        width: of the hidden layer.

    Attributes:
        config: its arguments.
    """

    def __init__(self, features: int, parameters: int = 1, width: int = 128) -> None:
        super().__init__()
        self.config = {"features": features, "parameters": parameters, "width": width}
        self.norm = nn.LayerNorm(2 * features)
        self.hidden = nn.Linear(2 * features, width)
        self.out = nn.Linear(width, parameters)

    def forward(self, features: Tensor) -> Tensor:
        flat = features.float().flatten(2)
        mean = flat.mean(2)
        spread = (flat.var(2, unbiased=False) + 1e-8).sqrt()  # a root without slope at 0 has no gradient there
        hidden = nn.functional.silu(self.hidden(self.norm(torch.cat([mean, spread], 1))))
        return torch.sigmoid(self.out(hidden))
