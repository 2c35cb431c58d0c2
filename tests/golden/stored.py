"""The published operators, built from the stored factors of their decompositions.

Their deblurring is not the stated blur: its singular values are tiled where the spectra are interleaved. That, and the
order of their spectra, lives here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from pellucid.operators.base import Spectral

SIDE, CHANNELS = 16, 3
TINY = 1e-30


def factors(stored: Mapping[str, np.ndarray], name: str) -> dict[str, Tensor]:
    """The arrays `name.basis.*`, floating ones as float64."""
    found = {key.split(".basis.")[1]: stored[key] for key in stored if key.startswith(f"{name}.basis.")}
    return {k: torch.from_numpy(v.astype(np.float64) if v.dtype.kind == "f" else v) for k, v in found.items()}


class StoredSpectral(Spectral):
    """Spectra are vectors (b, n): as many entries as the picture has, those with a singular value first."""

    def __init__(self, singular_values: Tensor, rcond: float) -> None:
        n = CHANNELS * SIDE**2
        super().__init__((CHANNELS, SIDE, SIDE), (len(singular_values),), rcond=rcond)
        self.register_buffer("s", torch.cat([singular_values, singular_values.new_zeros(n - len(singular_values))])[None])

    def singular_values(self, like: Tensor) -> Tensor:
        return self.constant("s", like)


class StoredBlockAverage(StoredSpectral):
    """Super-resolution by block means: all means first (times sign and 1/4), then 15 null components a block."""

    def __init__(self, stored: Mapping[str, np.ndarray], name: str = "sr4", factor: int = 4) -> None:
        f = factors(stored, name)
        blocks = CHANNELS * (SIDE // factor) ** 2
        super().__init__(f["singulars_small"].expand(blocks).clone(), rcond=1e-6)
        self.factor, self.side, self.blocks = factor, SIDE // factor, blocks
        self.register_buffer("v", f["V_small"])
        self.register_buffer("u", f["U_small"])

    def to_spectrum(self, x: Tensor) -> Tensor:
        b, r, m = len(x), self.factor, self.side
        patches = x.reshape(b, CHANNELS, m, r, m, r).permute(0, 1, 2, 4, 3, 5).reshape(b, self.blocks, r * r)
        c = patches @ self.constant("v", x)
        return torch.cat([c[..., 0], c[..., 1:].flatten(1)], dim=1)

    def from_spectrum(self, c: Tensor) -> Tensor:
        b, r, m = len(c), self.factor, self.side
        parts = torch.cat([c[:, : self.blocks, None], c[:, self.blocks :].reshape(b, self.blocks, r * r - 1)], dim=2)
        patches = (parts @ self.constant("v", c).T).reshape(b, CHANNELS, m, m, r, r)
        return patches.permute(0, 1, 2, 4, 3, 5).reshape(b, CHANNELS, SIDE, SIDE)

    def measured_to_spectrum(self, y: Tensor) -> Tensor:
        null = y.new_zeros(len(y), CHANNELS * SIDE**2 - self.blocks)
        return torch.cat([y * self.constant("u", y)[0, 0], null], dim=1)

    def spectrum_to_measured(self, c: Tensor) -> Tensor:
        return c[:, : self.blocks] * self.constant("u", c)[0, 0]


class StoredBlur(StoredSpectral):
    """Separable deblurring: spectra sorted by singular value, channels interleaved, singular values tiled.

    Args:
        vanishing: DDRM's code treats a singular value that was set to 0 as one that is small, not as one that is not
            there: then it is TINY here, and kept.
    """

    def __init__(self, stored: Mapping[str, np.ndarray], name: str, *, vanishing: bool = False) -> None:
        s = torch.from_numpy(stored[f"{name}.singulars"].astype(np.float64))
        super().__init__(s.clamp(min=TINY) if vanishing else s, rcond=0.0 if vanishing else 1e-6)
        f = factors(stored, name)
        for side, suffix in (("down", "1"), ("right", "2")):
            for letter in "UV":
                key = f"{letter}_small{suffix}"
                self.register_buffer(f"{letter}_{side}", f[key] if key in f else f[f"{letter}_small"])
        self.register_buffer("order", f["_perm"])

    def _analyse(self, letter: str, x: Tensor) -> Tensor:
        c = self.constant(f"{letter}_down", x).T @ x @ self.constant(f"{letter}_right", x)
        return c.flatten(2)[..., self.constant("order", x)].transpose(1, 2).flatten(1)

    def _synthesise(self, letter: str, c: Tensor) -> Tensor:
        sorted_ = c.reshape(len(c), SIDE**2, CHANNELS).transpose(1, 2)
        image = torch.zeros_like(sorted_)
        image[..., self.constant("order", c)] = sorted_
        image = image.reshape(len(c), CHANNELS, SIDE, SIDE)
        return self.constant(f"{letter}_down", c) @ image @ self.constant(f"{letter}_right", c).T

    def to_spectrum(self, x: Tensor) -> Tensor:
        return self._analyse("V", x)

    def from_spectrum(self, c: Tensor) -> Tensor:
        return self._synthesise("V", c)

    def measured_to_spectrum(self, y: Tensor) -> Tensor:
        return self._analyse("U", y.reshape(len(y), CHANNELS, SIDE, SIDE))

    def spectrum_to_measured(self, c: Tensor) -> Tensor:
        return self._synthesise("U", c).flatten(1)
