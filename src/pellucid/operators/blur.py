"""Blurs that are separable, with an exact singular value decomposition for every boundary."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.errors import OperatorError
from pellucid.operators.kernels import MAX_RADIUS, Boundary, band_matrix, gaussian_taps, require_boundary
from pellucid.operators.parameters import PerImage, common_batch, per_image, picture_shape
from pellucid.operators.separable import Separable
from pellucid.typing import Shape


class AnisotropicBlur(Separable):
    """Blur by a Gaussian of its own width along each axis: DDRM's has std_y = 20, std_x = 1 and 9 taps.

    Args:
        image_shape: (c, h, w).
        std_y: down the columns, in pixels; 0 leaves them alone; a list for one an image.
        std_x: along the rows.
        kernel_size: cuts the kernel to that many taps (odd); it always sums to 1.
        truncate: cuts it at int(truncate std + 1/2) pixels, as scipy does: 4 in DPS and ReSample, 6 in Dirac and Flash.
        boundary: "reflect", "zero" or "circular".
        rcond: `pinv` leaves out singular values of at most this times the largest: 3e-2 as in SSD and DDNM, where
            without it a std of 3 would divide by 1e-20.
    """

    def __init__(
        self,
        image_shape: Shape,
        std_y: PerImage = 20.0,
        std_x: PerImage = 1.0,
        *,
        kernel_size: int | None = None,
        truncate: float = 4.0,
        boundary: Boundary = "reflect",
        rcond: float = 3e-2,
    ) -> None:
        _, h, w = picture_shape(image_shape)
        if not truncate > 0:
            raise OperatorError(f"truncate must be positive, not {truncate:g}")
        rows, columns = (
            gaussian_taps(per_image(std, "std", at_least=0), truncate, kernel_size) for std in (std_y, std_x)
        )
        shared = common_batch(std_y, std_x) is None
        super().__init__(image_shape, *_matrices(rows, columns, h, w, boundary, shared), rcond=rcond)


class GaussianBlur(AnisotropicBlur):
    """Blur by a Gaussian of sum 1, K[k] ~ exp(-|k|^2 / (2 std^2)): scipy's gaussian_filter of a delta.

    Args:
        image_shape: (c, h, w).
        std: in pixels; 0 is the identity; a list for one an image.
        kernel_size: cuts the kernel to that many taps (odd).
        truncate: cuts it at int(truncate std + 1/2) pixels: 4 in DPS and ReSample, 6 in Dirac and Flash.
        boundary: "reflect", "zero" or "circular".
        rcond: `pinv` leaves out singular values of at most this times the largest (3e-2 as in SSD and DDNM).
    """

    def __init__(
        self,
        image_shape: Shape,
        std: PerImage = 3.0,
        *,
        kernel_size: int | None = None,
        truncate: float = 4.0,
        boundary: Boundary = "reflect",
        rcond: float = 3e-2,
    ) -> None:
        super().__init__(
            image_shape, std, std, kernel_size=kernel_size, truncate=truncate, boundary=boundary, rcond=rcond
        )
        self.hold("std", per_image(std, "std", at_least=0))


class UniformBlur(Separable):
    """Blur by a box of `size` x `size` equal weights: 9 in DDRM, 5 in ADIR.

    Args:
        image_shape: (c, h, w).
        size: in pixels; an even box reaches one pixel further up and left.
        boundary: "reflect", "zero" or "circular".
        rcond: `pinv` leaves out singular values of at most this times the largest.
    """

    def __init__(
        self, image_shape: Shape, size: int = 9, *, boundary: Boundary = "reflect", rcond: float = 3e-2
    ) -> None:
        _, h, w = picture_shape(image_shape)
        if not 1 <= size <= 2 * MAX_RADIUS:
            raise OperatorError(f"the size of a uniform blur is 1 to {2 * MAX_RADIUS}, not {size}")
        taps = torch.full((1, size), 1 / size, dtype=torch.float64)
        super().__init__(image_shape, *_matrices(taps, taps, h, w, boundary, shared=True), rcond=rcond)


def _matrices(rows: Tensor, columns: Tensor, h: int, w: int, boundary: str, shared: bool) -> tuple[Tensor, Tensor]:
    require_boundary(boundary)
    matrices = band_matrix(rows, h, boundary), band_matrix(columns, w, boundary)
    return (matrices[0][0], matrices[1][0]) if shared else matrices
