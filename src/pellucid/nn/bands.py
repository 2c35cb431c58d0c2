"""A small head that tells how degraded a picture is, from the energy of its bands and from where it is dark."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 4
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
GRID = 6
SMALL = 1e-8  # energies below it are none
TYPICAL, SPREAD = -9.0, 3.0  # of the logarithm of an energy


class SeverityHead(nn.Module):
    """t from y, (b, c, h, w) in [0, 1] -> (b,) in [0, 1]: a perceptron of what is known of blurs, holes and streaks.

    It is shown, of each of four bands of a Laplacian pyramid, the logarithm of the energy, its quantiles over small
    blocks, and the correlation of neighbours; and the picture's mean on a grid of 6 x 6. Noise fills the finest band,
    a blur empties the next ones, a hole is dark. It looks at A_t(x_0) under noise of any level in the process's range,
    not the one that goes with t: a measurement may be noisier or quieter than the path.

    Args:
        width: of the two hidden layers.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        features = LEVELS * (2 + len(SHARES)) + GRID**2
        self.mlp = nn.Sequential(
            nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)
        )

    def forward(self, y: Tensor) -> Tensor:
        """t."""
        weight = next(self.mlp.parameters())
        out: Tensor = torch.sigmoid(self.mlp(band_features(y).to(weight)).float())
        return out[:, 0]


def band_features(y: Tensor) -> Tensor:
    """What `SeverityHead` is shown, (b, features) in float32 or float64."""
    h = y if y.dtype == torch.float64 else y.float()
    shares = torch.tensor(SHARES, dtype=h.dtype, device=h.device)
    found = [2 * F.adaptive_avg_pool2d(h.mean(1, keepdim=True), GRID).flatten(1) - 1]
    for _ in range(LEVELS):
        low = _low(h)
        band = h - low
        energy = band.square()
        mean = energy.flatten(1).mean(1, keepdim=True)
        side = min(4, *band.shape[-2:])
        blocks = F.avg_pool2d(energy.mean(1, keepdim=True), side).flatten(1)
        logs = torch.cat([mean, torch.quantile(blocks, shares, dim=1).T], dim=1)
        pairs = (band[..., 1:] * band[..., :-1]).flatten(1)
        neighbours = pairs.sum(1, keepdim=True) / max(pairs.shape[1], 1) / (mean + SMALL)
        found += [(torch.log(logs + SMALL) - TYPICAL) / SPREAD, 4 * neighbours]
        h = F.avg_pool2d(low, 2) if min(low.shape[-2:]) >= 16 else low
    return torch.cat(found, dim=1)


def _low(h: Tensor) -> Tensor:
    """Binomial smoothing, taps (1, 4, 6, 4, 1) / 16."""
    taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=h.dtype, device=h.device) / 16
    kernel = (taps[:, None] * taps).expand(h.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(h, (2, 2, 2, 2), mode="replicate"), kernel, groups=h.shape[1])
