"""Tomography as linear operators: picture -> sinogram."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor

from pellucid.account import count_operator
from pellucid.errors import CompatibilityError, OperatorError
from pellucid.operators.base import LinearOperator
from pellucid.operators.parameters import picture_shape
from pellucid.operators.tomography.backprojection import fan_backprojection, view_shares
from pellucid.operators.tomography.filters import filtered, require_filter
from pellucid.operators.tomography.geometry import Fan, Geometry, Parallel
from pellucid.operators.tomography.matrix import Scan, product, scan
from pellucid.typing import Shape

UNITS = ("width", "pixel")
MAX_ENTRIES = 2**31 - 1  # of a sparse matrix with 32-bit indices
MAX_DETECTORS = 2**15 - 1  # cells are sorted as 16-bit numbers

Count = int | Literal["auto"]


class Tomograph(LinearOperator):
    """y[c, i, j] = the mean over cell j of view i's line integrals of channel c: (c, h, w) -> (c, angles, detectors).

    The pixels are squares of constant value and the cells have a width: a reading is the sum of the pixels' values,
    each times the area that the beam of the cell shares with the pixel, divided by the beam's width. So every bit of
    a picture is seen in every view, and with parallel rays, sum_j y[i, j] spacing = sum of the pixels (in pixels),
    exactly. The adjoint is the same matrix transposed, and it is what gradients are made with.

    Units: with `unit="width"` lengths are in widths of the picture. A white picture then reads 1 along its middle
    row, readings are 0 to about 1.4 for square pictures, and `noise_std` is in widths of white. In CT, with a picture
    x that shows -1000 to 1000 HU as 0 to 1, the attenuation is mu = 2 mu_water x with mu_water about 0.019 / mm, so
    that a line integral is p = (2 mu_water W) y and its noise (2 mu_water W) noise_std, W being the picture's width in
    mm: 13.3 y for 350 mm. With `unit="pixel"` readings are `width` times as large.

    The pseudo-inverse is the least-squares solution by conjugate gradients (CGLS); it amplifies noise. `fbp` is
    filtered back-projection, fast and approximate.

    Args:
        geometry: where the rays run.
        channels: of the picture.
        unit: "width" or "pixel".

    Raises:
        OperatorError: the scan is larger than 2^31 matrix entries, or the unit is unknown.
    """

    def __init__(self, geometry: Geometry, channels: int, unit: str) -> None:
        height, width = geometry.height, geometry.width
        if unit not in UNITS:
            raise OperatorError(f"the unit of lengths is one of {', '.join(UNITS)}, not {unit!r}")
        if geometry.angles * height * width * (2 + 1.5 / geometry.spacing) > MAX_ENTRIES:
            raise OperatorError(
                f"{geometry.angles} views of {height} x {width} pixels are too many for one matrix; take fewer views, "
                f"or stack operators with a start each"
            )
        super().__init__((channels, height, width), (channels, geometry.angles, geometry.detectors))
        self.geometry, self.unit = geometry, unit
        self.length = 1 / width if unit == "width" else 1.0
        self._scans: dict[tuple[torch.dtype, torch.device], Scan] = {}

    def fbp(self, y: Tensor, filter: str = "ramp") -> Tensor:
        """The picture by filtered back-projection, approximate: (b, *measurement_shape) -> (b, *image_shape).

        Every view is filtered along the detector with |f|, times the window that `filter` names, and spread back over
        the picture. The error falls with the number of views; too few leave streaks, what a limited span does not
        see is missing, and a detector that does not see the whole picture makes cups. Kak and Slaney, Principles of
        Computerized Tomographic Imaging, 1988, sections 3.3 (parallel) and 3.4.2 (fan); the ramp is the band-limited
        one of Ramachandran and Lakshminarayanan, PNAS 1971, sampled in space, so that the mean is right.

        Args:
            y: the sinogram.
            filter: one of `FILTERS`; "none" spreads y itself back, blurred and out of scale.

        Raises:
            ShapeError: y is not a sinogram of this scan.
            UnknownNameError: there is no such filter.
            CompatibilityError: fan beams that do not run around the picture once.
        """
        self.require(y, self.measurement_shape, "measurement")
        require_filter(filter)
        count_operator()
        return self._fbp(y / self.length, filter)

    def __getstate__(self) -> dict[str, Any]:
        """Without the matrices: whoever copies the operator makes or finds them again."""
        return {**self.__dict__, "_scans": {}}

    @abstractmethod
    def _fbp(self, y: Tensor, filter: str) -> Tensor:
        """`fbp` of readings in pixels."""

    def _scan(self, like: Tensor) -> Scan:
        dtype = like.dtype if like.dtype == torch.float64 else torch.float32
        key = (dtype, like.device)
        if key not in self._scans:
            self._scans[key] = scan(self.geometry, dtype, like.device)
        return self._scans[key]

    def _multiply(self, x: Tensor, shape: Shape, *, back: bool = False) -> Tensor:
        if x.is_meta:
            return x.new_empty(len(x), *shape)
        pair = self._scan(x)
        matrices = (pair.transposed, pair.forward) if back else (pair.forward, pair.transposed)
        vectors = x.flatten(2).flatten(0, 1).to(pair.forward.dtype)
        return product(*matrices, vectors).reshape(len(x), *shape).to(x.dtype)

    def _forward(self, x: Tensor) -> Tensor:
        return self.length * self._multiply(x, self.measurement_shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._multiply(self.length * y, self.image_shape, back=True)  # as differentiating `_forward` does


class ParallelBeam(Tomograph):
    """Parallel-beam tomography, as in `skimage.transform.radon`: line (theta, s) holds X cos theta + Y sin theta = s.

    X points right and Y up from the picture's centre, s runs over the detector. At 0 degrees the columns are summed,
    read from left to right; at 90 degrees the rows, from the bottom up. (skimage puts the centre on pixel size // 2,
    half a pixel away from this one for even sizes; its sinograms are transposed and in pixels.) Few angles are sparse
    views, a span below 180 is a limited angle. `Tomograph` says what the units are.

    Args:
        image_shape: (c, h, w), of any proportions.
        angles: number of views, theta_i = start + span i / angles.
        span: in degrees, above 0 and at most 360.
        start: the first view's angle, in degrees.
        detectors: number of cells; "auto": the smallest odd number that sees the whole picture in every view. The
            middle of the cells is opposite the picture's centre.
        spacing: of the cells, in pixels.
        unit: "width" or "pixel", of the readings.

    Raises:
        OperatorError: a number is out of its range.
    """

    geometry: Parallel

    def __init__(
        self,
        image_shape: Shape,
        angles: int = 25,
        *,
        span: float = 180.0,
        start: float = 0.0,
        detectors: Count = "auto",
        spacing: float = 1.0,
        unit: str = "width",
    ) -> None:
        c, h, w = picture_shape(image_shape)
        _require_scan(angles, span, start, spacing)
        cells = _cells(detectors, math.hypot(h, w) / spacing)
        super().__init__(Parallel(h, w, angles, float(span), float(start), cells, float(spacing)), c, unit)

    def _fbp(self, y: Tensor, filter: str) -> Tensor:
        scan = self.geometry
        shares = torch.from_numpy(view_shares(scan)).to(y).reshape(-1, 1)
        views = filtered(y, scan.spacing, filter) * shares * scan.spacing
        return self._multiply(views, self.image_shape, back=True)


class FanBeam(Tomograph):
    """Fan-beam tomography: rays from a point that circles the picture, to a straight detector opposite.

    At view theta the source is at source (sin theta, -cos theta), X right and Y up from the picture's centre, and the
    detector lies along (cos theta, sin theta): far away it is `ParallelBeam`. `Tomograph` says what the units are.

    Args:
        image_shape: (c, h, w), of any proportions.
        angles: number of views, theta_i = start + span i / angles.
        span: in degrees, above 0 and at most 360; `fbp` takes 360 only.
        start: the first view's angle, in degrees.
        source: its distance from the picture's centre, in widths of the picture.
        detector: its distance from the picture's centre, in widths of the picture.
        detectors: number of cells; "auto": the smallest odd number that sees the whole picture in every view.
        spacing: of the cells, in pixels, on the detector, where the picture appears (source + detector) / source times
            as large; None: one pixel at the picture's centre.
        unit: "width" or "pixel", of the readings.

    Raises:
        OperatorError: a number is out of its range, or the source is inside the picture.
    """

    geometry: Fan

    def __init__(
        self,
        image_shape: Shape,
        angles: int = 90,
        *,
        span: float = 360.0,
        start: float = 0.0,
        source: float = 2.0,
        detector: float = 1.0,
        detectors: Count = "auto",
        spacing: float | None = None,
        unit: str = "width",
    ) -> None:
        c, h, w = picture_shape(image_shape)
        radius = math.hypot(h, w) / 2
        if not (radius < source * w < math.inf and 0 <= detector < math.inf):
            raise OperatorError(
                f"the source must be outside the picture, more than {radius / w:.3g} widths from its centre, and the "
                f"detector at least 0; not {source:g} and {detector:g}"
            )
        magnification = (source + detector) / source
        virtual = 1.0 if spacing is None else spacing / magnification
        _require_scan(angles, span, start, virtual)
        seen = 2 * source * w * radius / math.sqrt((source * w) ** 2 - radius**2)
        cells = _cells(detectors, seen / virtual)
        super().__init__(Fan(h, w, angles, float(span), float(start), cells, float(virtual), source * w), c, unit)

    def _fbp(self, y: Tensor, filter: str) -> Tensor:
        if self.geometry.span != 360:
            raise CompatibilityError(
                f"filtered back-projection of fan beams needs span=360, once around the picture, not "
                f"{self.geometry.span:g}; pinv and cgls take any span"
            )
        return fan_backprojection(self.geometry, y, filter)


def _require_scan(angles: int, span: float, start: float, spacing: float) -> None:
    if angles < 1:
        raise OperatorError(f"angles is a whole number from 1, not {angles}")
    if not 0 < span <= 360:
        raise OperatorError(f"span is above 0 and at most 360 degrees, not {span:g}")
    if not math.isfinite(start):
        raise OperatorError(f"start is an angle in degrees, not {start:g}")
    if not 0.01 <= spacing <= 1e4:
        raise OperatorError(f"the detector's cells are 0.01 to 10000 pixels apart at the picture, not {spacing:g}")


def _cells(detectors: Count, wanted: float) -> int:
    """The number of cells: that given, or the next odd number from `wanted`."""
    number = 2 * math.ceil((wanted - 1) / 2 - 1e-9) + 1 if detectors == "auto" else detectors
    if not 1 <= number <= MAX_DETECTORS:
        raise OperatorError(f"detectors is auto or a whole number from 1 to {MAX_DETECTORS}, not {number}")
    return number
