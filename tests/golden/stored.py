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
    """The arrays `name.basis.*`, floating ones as float64, bases made orthonormal again after their rounding.

    SSD's are kept as they are: they are rebuilt, rounding included, and nothing was lost in storing them.
    """
    found = {key.split(".basis.")[1]: stored[key] for key in stored if key.startswith(f"{name}.basis.")}
    arrays = {k: torch.from_numpy(v.astype(np.float64) if v.dtype.kind == "f" else v) for k, v in found.items()}
    return {
        k: nearest_orthonormal(v) if name != "ssd" and k[0] in "UV" and v.ndim == 2 else v for k, v in arrays.items()
    }


def nearest_orthonormal(basis: Tensor) -> Tensor:
    """The orthonormal matrix nearest to a basis that was stored in float32."""
    left, _, right = torch.linalg.svd(basis, full_matrices=False)
    return left @ right


class StoredSpectral(Spectral):
    """Spectra are the codes' vectors (those with a singular value first) in the picture's shape."""

    def __init__(self, singular_values: Tensor, rcond: float) -> None:
        n = CHANNELS * SIDE**2
        super().__init__((CHANNELS, SIDE, SIDE), (len(singular_values),), rcond=rcond)
        s = torch.cat([singular_values, singular_values.new_zeros(n - len(singular_values))])
        self.register_buffer("s", s.reshape(1, CHANNELS, SIDE, SIDE))

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

    def _to_spectrum(self, x: Tensor) -> Tensor:
        b, r, m = len(x), self.factor, self.side
        patches = x.reshape(b, CHANNELS, m, r, m, r).permute(0, 1, 2, 4, 3, 5).reshape(b, self.blocks, r * r)
        c = patches @ self.constant("v", x)
        return torch.cat([c[..., 0], c[..., 1:].flatten(1)], dim=1).reshape(x.shape)

    def _from_spectrum(self, c: Tensor) -> Tensor:
        b, r, m = len(c), self.factor, self.side
        c = c.flatten(1)
        parts = torch.cat([c[:, : self.blocks, None], c[:, self.blocks :].reshape(b, self.blocks, r * r - 1)], dim=2)
        patches = (parts @ self.constant("v", c).T).reshape(b, CHANNELS, m, m, r, r)
        return patches.permute(0, 1, 2, 4, 3, 5).reshape(b, CHANNELS, SIDE, SIDE)

    def _measured_to_spectrum(self, y: Tensor) -> Tensor:
        null = y.new_zeros(len(y), CHANNELS * SIDE**2 - self.blocks)
        return torch.cat([y * self.constant("u", y)[0, 0], null], dim=1).reshape(-1, *self.image_shape)

    def _spectrum_to_measured(self, c: Tensor) -> Tensor:
        return c.flatten(1)[:, : self.blocks] * self.constant("u", c)[0, 0]


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
        return c.flatten(2)[..., self.constant("order", x)].transpose(1, 2).reshape(x.shape)

    def _synthesise(self, letter: str, c: Tensor) -> Tensor:
        sorted_ = c.reshape(len(c), SIDE**2, CHANNELS).transpose(1, 2)
        image = torch.zeros_like(sorted_)
        image[..., self.constant("order", c)] = sorted_
        image = image.reshape(len(c), CHANNELS, SIDE, SIDE)
        return self.constant(f"{letter}_down", c) @ image @ self.constant(f"{letter}_right", c).T

    def _to_spectrum(self, x: Tensor) -> Tensor:
        return self._analyse("V", x)

    def _from_spectrum(self, c: Tensor) -> Tensor:
        return self._synthesise("V", c)

    def _measured_to_spectrum(self, y: Tensor) -> Tensor:
        return self._analyse("U", y.reshape(len(y), CHANNELS, SIDE, SIDE))

    def _spectrum_to_measured(self, c: Tensor) -> Tensor:
        return self._synthesise("U", c).flatten(1)


class DDNMPlusBasis(StoredSpectral):
    """Where DDNM+'s code weighs errors and noise: spectra laid out as pictures, and no singular value set to 0.

    Its singular values are not tiled, so for deblurring this is another operator than its A.
    """

    def __init__(self, s: Tensor) -> None:
        super().__init__(s.flatten(), rcond=0.0)

    def _measured_to_spectrum(self, y: Tensor) -> Tensor:
        return y.reshape(-1, *self.image_shape)

    def _spectrum_to_measured(self, c: Tensor) -> Tensor:
        return c.flatten(1)


class BlockBasis(DDNMPlusBasis):
    """Super-resolution: the mean of a block stands at its first pixel."""

    def __init__(self, stored: Mapping[str, np.ndarray], name: str = "sr4", factor: int = 4) -> None:
        f = factors(stored, name)
        s = torch.zeros(CHANNELS, SIDE, SIDE, dtype=torch.float64)
        s[:, ::factor, ::factor] = f["singulars_small"]
        super().__init__(s)
        self.factor = factor
        self.register_buffer("v", f["V_small"])

    def _blockwise(self, matrix: Tensor, x: Tensor) -> Tensor:
        r, m = self.factor, SIDE // self.factor
        blocks = x.reshape(-1, CHANNELS, m, r, m, r).transpose(3, 4).flatten(-2) @ matrix
        return blocks.unflatten(-1, (r, r)).transpose(3, 4).reshape(x.shape)

    def _to_spectrum(self, x: Tensor) -> Tensor:
        return self._blockwise(self.constant("v", x), x)

    def _from_spectrum(self, c: Tensor) -> Tensor:
        return self._blockwise(self.constant("v", c).T, c)


class BlurBasis(DDNMPlusBasis):
    """Deblurring: the singular values as they were before small ones were set to 0, each in its own place."""

    def __init__(self, stored: Mapping[str, np.ndarray], name: str) -> None:
        s = torch.linalg.svdvals(published_blur(name))
        super().__init__(torch.outer(s, s).expand(CHANNELS, -1, -1))
        self.register_buffer("v", factors(stored, name)["V_small"])

    def _to_spectrum(self, x: Tensor) -> Tensor:
        return self.constant("v", x).T @ x @ self.constant("v", x)

    def _from_spectrum(self, c: Tensor) -> Tensor:
        return self.constant("v", c) @ c @ self.constant("v", c).T


def published_blur(name: str, dtype: torch.dtype = torch.float64) -> Tensor:
    """The codes' one-dimensional blur: zeros beyond the edge, and the last tap of the kernel forgotten."""
    n, std = {"deblur_uni": (9, 1e6), "deblur_gauss": (5, 10.0), "ssd": (9, 15.0)}[name]
    taps = gaussian_taps(n, std, dtype)
    reach, matrix = n // 2, torch.zeros(SIDE, SIDE, dtype=dtype)
    for k in range(-reach, reach):
        matrix += torch.diag(taps[reach + k].expand(SIDE - abs(k)), k)
    return matrix


def gaussian_taps(n: int, std: float, dtype: torch.dtype) -> Tensor:
    """exp(-i^2 / (2 std^2)), normalised."""
    taps = torch.exp(-0.5 * ((torch.arange(n, dtype=dtype) - n // 2) / std) ** 2)
    return taps / taps.sum()


def ssd_factors(x: Tensor, y: Tensor) -> dict[str, np.ndarray]:
    """SSD's deblurring as `StoredBlur` takes it: not stored, but it follows from the rule, in float32, and one y = A x.

    Equal singular values are in an arbitrary order in the code's spectra, and tiling makes that order part of the
    operator: it is read off the recorded y.
    """
    u, s, vt = (factor.double() for factor in torch.linalg.svd(published_blur("ssd", torch.float32)))
    s = torch.where(s < 3e-2, 0, s)
    grid = torch.outer(s, s).flatten()
    values = grid.sort(descending=True).values
    c_x, c_y = (vt @ x[0] @ vt.T).flatten(1), (u.T @ y[0] @ u).flatten(1)
    order, free = torch.zeros(SIDE**2, dtype=torch.long), list(range(SIDE**2))
    for pixel in range(SIDE**2):
        tied = [p for p in free if abs(float(values[p] - grid[pixel])) < 1e-9]
        found = [values[(CHANNELS * p + torch.arange(CHANNELS)) % SIDE**2] for p in tied]
        misfit = [float((t * c_x[:, pixel] - c_y[:, pixel]).abs().sum()) for t in found]
        place = tied[misfit.index(min(misfit))]
        free.remove(place)
        order[place] = pixel
    arrays = {"singulars": values.repeat(CHANNELS), "basis.U_small": u, "basis.V_small": vt.T, "basis._perm": order}
    return {f"ssd.{key}": value.numpy() for key, value in arrays.items()}
