"""Blur kernels, and what a boundary makes of them.

A blur is a cross-correlation, y[i] = sum_k K[k] x[i + k - len(K) // 2], as in every paper's code; beyond the edge,
"reflect" mirrors without repeating the edge pixel (torch's ReflectionPad2d, here for any size), "zero" is black, and
"circular" wraps around.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from pellucid.errors import OperatorError

MAX_RADIUS = 2048
Boundary = Literal["reflect", "zero", "circular"]


def require_boundary(boundary: str) -> None:
    """Raises `OperatorError` unless it is one of the three."""
    if boundary not in get_args(Boundary):
        raise OperatorError(f"a boundary is one of {', '.join(get_args(Boundary))}, not {boundary!r}")


def gaussian_radius(std: float, truncate: float) -> int:
    """Where scipy.ndimage cuts a Gaussian: int(truncate std + 1/2) pixels from its centre."""
    return int(truncate * std + 0.5)


def gaussian_taps(std: Tensor, truncate: float, size: int | None = None) -> Tensor:
    """Gaussians of sum 1, one a std: (b,) -> (b, taps); std = 0 is a single 1.

    Each is cut at its own `gaussian_radius`, as scipy.ndimage.gaussian_filter1d cuts it, and at `size` taps if given.
    """
    radii = torch.tensor([gaussian_radius(float(s), truncate) for s in std], dtype=torch.float64)
    if size is not None:
        if size < 1 or size % 2 == 0:
            raise OperatorError(f"the kernel size of a Gaussian is odd, not {size}")
        radii = radii.clamp(max=size // 2)
    radius = int(radii.max())
    if radius > MAX_RADIUS:
        raise OperatorError(
            f"a Gaussian reaches at most {MAX_RADIUS} pixels, not {radius}; lower std, truncate or size"
        )
    offset = torch.arange(-radius, radius + 1, dtype=torch.float64)
    width = torch.where(std > 0, std, 1)[:, None]
    taps = torch.where(offset.abs() <= radii[:, None], torch.exp(-(offset**2) / (2 * width**2)), 0)
    return taps / taps.sum(1, keepdim=True)


def reach(n: int, before: int, after: int, boundary: str) -> tuple[Tensor, Tensor]:
    """Which pixel of n stands at each place of a line padded by `before` and `after`: its index, and if it counts."""
    place = torch.arange(-before, n + after)
    if boundary == "circular":
        return place % n, torch.ones_like(place, dtype=torch.bool)
    if boundary == "zero":
        return place.clamp(0, n - 1), (place >= 0) & (place < n)
    period = max(2 * (n - 1), 1)
    folded = place % period
    return torch.minimum(folded, period - folded) % n, torch.ones_like(place, dtype=torch.bool)


def band_matrix(taps: Tensor, n: int, boundary: str) -> Tensor:
    """The n x n matrix of a blur along one axis: (b, taps) -> (b, n, n), float64."""
    length = taps.shape[1]
    before = length // 2
    index, counts = reach(n, before, length - 1 - before, boundary)
    window = torch.arange(n)[:, None] + torch.arange(length)
    weight = taps[:, None] * counts[window]
    return torch.zeros(len(taps), n, n, dtype=torch.float64).scatter_add_(
        2, index[window].expand(len(taps), -1, -1), weight
    )


def prepared_kernel(kernel: Tensor, normalise: bool) -> Tensor:
    """A kernel (kh, kw) or (b, kh, kw) as (1 or b, 1, kh, kw) in float64, divided by its sum if asked.

    Raises:
        OperatorError: it has another shape, is not finite, or is to be divided by a sum of zero.
    """
    if kernel.ndim not in (2, 3) or kernel.numel() == 0:
        raise OperatorError(f"a kernel is (height, width), or (b, height, width), not {tuple(kernel.shape)}")
    kernel = kernel.detach().to("cpu", torch.float64).reshape(-1, 1, *kernel.shape[-2:])
    total = kernel.sum((1, 2, 3), keepdim=True)
    if not kernel.isfinite().all() or (normalise and (total.abs() <= 1e-12 * kernel.abs().amax()).any()):
        raise OperatorError("a kernel must be finite and, to be normalised, must not sum to zero")
    return kernel / total if normalise else kernel
