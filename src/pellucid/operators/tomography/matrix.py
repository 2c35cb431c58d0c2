"""The matrix of a scan, and its transpose: one set of numbers in two orders, so that the adjoint is exact.

Weight of a pixel in a reading: the area that the beam of the cell shares with the pixel, divided by the beam's width
there. For parallel rays that is exactly the mean over the cell of the lengths inside the pixel; for a fan it is so up
to the pixel's extent over its distance from the source.
"""

from __future__ import annotations

import warnings
from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from pellucid.operators.tomography.geometry import Geometry

if TYPE_CHECKING:
    from numpy.typing import NDArray

DUST = 1e-12  # areas of pixels that a beam only touches


@dataclass(frozen=True, eq=False)
class Scan:
    """A and A^T as sparse matrices of one dtype on one device.

    Attributes:
        forward: (angles detectors, height width).
        transposed: its transpose, stored row by row.
    """

    forward: Tensor
    transposed: Tensor


# Operators of one geometry share their matrices while they live; the last ones stay for those built anew for every
# picture of a batch.
_alive: WeakValueDictionary[tuple[Geometry, torch.dtype, torch.device], Scan] = WeakValueDictionary()
_recent: deque[Scan] = deque(maxlen=2)


def scan(geometry: Geometry, dtype: torch.dtype, device: torch.device) -> Scan:
    """The matrices of a geometry, lengths in pixels; built in float64, rounded to the dtype, and shared."""
    key = (geometry, dtype, device)
    found = _alive.get(key)
    if found is None:
        with torch.inference_mode(False):
            found = _alive[key] = _build(geometry, dtype, device)
        _recent.append(found)
    return found


def product(matrix: Tensor, transposed: Tensor, x: Tensor) -> Tensor:
    """`matrix` applied to every vector of a batch, (b, n) -> (b, m); differentiable any number of times."""
    y: Tensor = _Product.apply(x, matrix, transposed)  # type: ignore[no-untyped-call]
    return y


class _Product(torch.autograd.Function):
    """x -> M x, whose derivative is the product with M^T that is there already."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, transposed: Tensor) -> Tensor:
        ctx.matrix, ctx.transposed = matrix, transposed
        if len(x) == 1:
            return (matrix @ x[0])[None]
        return (matrix @ x.T).T

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return product(ctx.transposed, ctx.matrix, gradients[0]), None, None


@dataclass(frozen=True)
class _View:
    """The entries of one view, pixel by pixel.

    Attributes:
        pixel, cell, weight: of every entry.
        rank: which of its pixel's entries it is.
        count: how many entries every pixel has.
    """

    pixel: NDArray[np.int32]
    cell: NDArray[np.int16]
    weight: NDArray[np.floating[Any]]
    rank: NDArray[np.int32]
    count: NDArray[np.int32]


def _build(geometry: Geometry, dtype: torch.dtype, device: torch.device) -> Scan:
    kind = np.float32 if dtype == torch.float32 else np.float64
    views = [_view(geometry, float(theta), kind) for theta in geometry.theta]
    size, rows = geometry.height * geometry.width, geometry.angles * geometry.detectors
    forward = _csr(*_by_cell(views, geometry.detectors), (rows, size), device)
    return Scan(forward, _csr(*_by_pixel(views, geometry.detectors), (size, rows), device))


def _view(geometry: Geometry, theta: float, kind: type[np.floating[Any]]) -> _View:
    x, y = geometry.pixels
    corners = [geometry.position(theta, x + i, y + j) for i in (-0.5, 0.5) for j in (-0.5, 0.5)]
    first, last = np.floor(np.minimum.reduce(corners)), np.floor(np.maximum.reduce(corners))
    count, parts = np.zeros(len(x), np.int32), []
    low, cell = geometry.below(theta, first, x, y), first
    for _ in range(int((last - first).max()) + 1):  # cell by cell: arrays that fit the processor's cache
        high = geometry.below(theta, cell + 1, x, y)
        area = high - low
        pixel = np.flatnonzero((area > DUST) & (cell >= 0) & (cell < geometry.detectors))
        weight = (area / geometry.thickness(theta, cell, x, y))[pixel]
        parts.append((pixel.astype(np.int32), cell[pixel].astype(np.int16), weight.astype(kind), count[pixel]))
        count[pixel] += 1
        low, cell = high, cell + 1
    pixels, cells, weights, ranks = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.empty(len(pixels), np.int32)
    order[_offsets(count)[pixels] + ranks] = np.arange(len(pixels), dtype=np.int32)
    return _View(pixels[order], cells[order], weights[order], ranks[order], count)


Csr: TypeAlias = "tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.floating[Any]]]"


def _by_cell(views: list[_View], detectors: int) -> Csr:
    """Rows are readings; numpy sorts 16-bit numbers in linear time."""
    orders = [np.argsort(view.cell, kind="stable") for view in views]
    column = np.concatenate([view.pixel[order] for view, order in zip(views, orders, strict=True)])
    value = np.concatenate([view.weight[order] for view, order in zip(views, orders, strict=True)])
    counts = np.concatenate([np.bincount(view.cell, minlength=detectors) for view in views])
    return _offsets(counts), column, value


def _by_pixel(views: list[_View], detectors: int) -> Csr:
    """Rows are pixels."""
    offset = _offsets(np.sum([view.count for view in views], axis=0))
    column = np.empty(offset[-1], np.int32)
    value = np.empty(offset[-1], views[0].weight.dtype)
    starts = accumulate([view.count for view in views], np.add, initial=offset[:-1].copy())
    for number, (view, start) in enumerate(zip(views, starts, strict=False)):
        place = start[view.pixel] + view.rank
        column[place] = number * detectors + view.cell.astype(np.int32)
        value[place] = view.weight
    return offset, column, value


def _offsets(counts: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int32)


def _csr(
    offset: NDArray[np.int32],
    column: NDArray[np.int32],
    value: NDArray[np.floating[Any]],
    shape: tuple[int, int],
    device: torch.device,
) -> Tensor:
    parts = [torch.from_numpy(part).to(device) for part in (offset, column, value)]
    with warnings.catch_warnings():
        # Only products are used of what torch calls a beta state.
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state", UserWarning)
        warnings.filterwarnings("ignore", "Sparse invariant checks are implicitly disabled", UserWarning)
        return torch.sparse_csr_tensor(parts[0], parts[1], parts[2], shape, check_invariants=True)
