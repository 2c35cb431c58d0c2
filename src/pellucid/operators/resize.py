"""Low resolution: every `factor`-th pixel of a filtered picture."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.errors import OperatorError, ShapeError
from pellucid.operators.parameters import picture_shape
from pellucid.operators.separable import Separable
from pellucid.typing import Shape


class Bicubic(Separable):
    """Antialiased bicubic downsampling by an integer factor: Keys' kernel with a = -1/2, stretched by the factor.

    Y[m] = sum_j k((j - p_m) / factor) X[j] / sum_j k(...), with p_m = factor m + (factor - 1) / 2, and pixels beyond
    the edge mirrored with the edge repeated; DDRM, DDNM, SSD and DPS use the same. A size that the factor does not
    divide gives ceil(size / factor) pixels around the same centre.

    Args:
        image_shape: (c, h, w).
        factor: 2, 3, 4, ...; 1 is the identity.
        rcond: `pinv` leaves out singular values of at most this times the largest; none in practice.

    Raises:
        ShapeError: the picture is smaller than the factor.
    """

    def __init__(self, image_shape: Shape, factor: int = 4, *, rcond: float = 3e-2) -> None:
        _, h, w = _require_factor(image_shape, factor)
        super().__init__(image_shape, _cubic_matrix(h, factor), _cubic_matrix(w, factor), rcond=rcond)


class BlockAverage(Separable):
    """Y[m] = the mean of block m of factor x factor pixels; its pseudo-inverse repeats every pixel.

    Args:
        image_shape: (c, h, w); the factor must divide h and w.
        factor: 2, 3, 4, ...
        rcond: all singular values are equal (1 / factor), so nothing is left out.

    Raises:
        ShapeError: the factor does not divide the size; the text names the nearest that fits.
    """

    def __init__(self, image_shape: Shape, factor: int = 4, *, rcond: float = 3e-2) -> None:
        _, h, w = _require_factor(image_shape, factor)
        if h % factor or w % factor:
            fit = " x ".join(str(max(1, round(n / factor)) * factor) for n in (h, w))
            raise ShapeError(f"blocks of {factor} do not divide a picture of {h} x {w}; the nearest that fits is {fit}")
        super().__init__(image_shape, _mean_matrix(h, factor), _mean_matrix(w, factor), rcond=rcond)


def cubic(u: Tensor, a: float = -0.5) -> Tensor:
    """Keys' cubic convolution kernel: support [-2, 2], k(0) = 1, reproduces quadratics for a = -1/2."""
    u = u.abs()
    near = (a + 2) * u**3 - (a + 3) * u**2 + 1
    far = a * u**3 - 5 * a * u**2 + 8 * a * u - 4 * a
    return torch.where(u <= 1, near, torch.where(u < 2, far, 0))


def _cubic_matrix(n: int, factor: int) -> Tensor:
    """(ceil(n / factor), n), rows of sum 1."""
    m = -(-n // factor)
    centre = (n - 1) / 2 + (torch.arange(m, dtype=torch.float64) - (m - 1) / 2) * factor
    tap = centre.floor()[:, None] + torch.arange(-2 * factor, 2 * factor + 1)
    weight = cubic((tap - centre[:, None]) / factor)
    folded = tap.long() % (2 * n)
    index = torch.minimum(folded, 2 * n - 1 - folded)
    matrix = torch.zeros(m, n, dtype=torch.float64).scatter_add_(1, index, weight)
    return matrix / matrix.sum(1, keepdim=True)


def _mean_matrix(n: int, factor: int) -> Tensor:
    return torch.eye(n // factor, dtype=torch.float64).repeat_interleave(factor, 1) / factor


def _require_factor(image_shape: Shape, factor: int) -> tuple[int, int, int]:
    c, h, w = picture_shape(image_shape)
    if factor < 1:
        raise OperatorError(f"a factor is a whole number from 1, not {factor}")
    if factor > min(h, w):
        raise ShapeError(f"a picture of {h} x {w} is too small for the factor {factor}")
    return c, h, w
