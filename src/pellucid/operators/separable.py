"""Linear operators that treat rows and columns on their own, the same in every channel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from pellucid.operators.base import Spectral
from pellucid.operators.parameters import picture_shape
from pellucid.typing import Shape


class Separable(Spectral):
    """Y = R X C^T for every channel; with R = U_R S_R V_R^T and C likewise, the SVD is their Kronecker product.

    So the singular values are outer(S_R, S_C), and a basis change is two small matrix products. The two small
    decompositions are computed in float64 when first needed: `forward` and `adjoint` never need them.

    Args:
        image_shape: (c, h, w).
        rows: R, (m, h), or (b, m, h) for one an image, m <= h.
        columns: C, (n, w), or (b, n, w) for one an image, n <= w.
        rcond: `pinv` leaves out singular values of at most `rcond` times the largest.
    """

    def __init__(self, image_shape: Shape, rows: Tensor, columns: Tensor, *, rcond: float = 3e-2) -> None:
        c, _, _ = picture_shape(image_shape)
        batch = max((len(m) for m in (rows, columns) if m.ndim == 3), default=None)
        super().__init__(image_shape, (c, rows.shape[-2], columns.shape[-2]), batch, rcond)
        for name, matrix in (("rows", rows), ("columns", columns)):
            self.hold(name, matrix if matrix.ndim == 3 else matrix[None])

    def _derive(self) -> None:
        rows, columns = self.get_buffer("rows"), self.get_buffer("columns")
        u_r, s_r, v_r = torch.linalg.svd(rows)
        u_c, s_c, v_c = (u_r, s_r, v_r) if torch.equal(rows, columns) else torch.linalg.svd(columns)
        s_r, s_c = (pad(s, (0, v.shape[-1] - s.shape[-1])) for s, v in ((s_r, v_r), (s_c, v_c)))
        self.hold("singular", (s_r[:, None, :, None] * s_c[:, None, None, :]), derived=True)
        for name, basis in {"u_rows": u_r.mT, "v_rows": v_r, "u_columns": u_c.mT, "v_columns": v_c}.items():
            self.hold(name, basis.contiguous(), derived=True)

    def _between(self, x: Tensor, kind: str, *, transpose: bool = False) -> Tensor:
        """R x C^T with the factors of that kind, or R^T x C."""
        rows, columns = (self.constant(kind + name, x)[:, None] for name in ("rows", "columns"))
        return rows.mT @ x @ columns if transpose else rows @ x @ columns.mT

    def _forward(self, x: Tensor) -> Tensor:
        return self._between(x, "")

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._between(y, "", transpose=True)

    def singular_values(self, like: Tensor) -> Tensor:
        """outer(S_R, S_C), zero-filled to (1 or b, 1, h, w)."""
        return self.constant("singular", like)

    def _to_spectrum(self, x: Tensor) -> Tensor:
        return self._between(x, "v_")

    def _from_spectrum(self, c: Tensor) -> Tensor:
        return self._between(c, "v_", transpose=True)

    def _measured_to_spectrum(self, y: Tensor) -> Tensor:
        _, m, n = self.measurement_shape
        _, h, w = self.image_shape
        return pad(self._between(y, "u_"), (0, w - n, 0, h - m))

    def _spectrum_to_measured(self, c: Tensor) -> Tensor:
        _, m, n = self.measurement_shape
        return self._between(c[..., :m, :n], "u_", transpose=True)
