"""Photons that pass through: the measurement before the logarithm."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.errors import OperatorError
from pellucid.operators.base import LinearOperator, Operator
from pellucid.operators.parameters import PerImage, common_batch, per_image
from pellucid.typing import expand


class Transmission(Operator):
    """y = exp(-density A x): the share of the photons that arrives, by the law of Beer and Lambert; nonlinear.

    With `Problem(y, transmission, gain=1 / photons)`, photons being those sent to a cell, the measurement's variance is
    gain exp(-density A x): Poisson counting statistics, exactly. With `ParallelBeam` as A (lengths in picture widths),
    pictures that show -1000 to 1000 HU as 0 to 1 have density = 2 mu_water W, mu_water about 0.019 / mm, W the
    picture's width in mm: 13.3 for 350 mm, and 4 for 105 mm.

    Args:
        operator: A, linear.
        density: attenuation of a white picture per unit of A; a list for one an image.

    Raises:
        OperatorError: the operator is not linear, or the density not positive and at most 1000.
    """

    operator: LinearOperator

    def __init__(self, operator: LinearOperator, density: PerImage = 4.0) -> None:
        if not isinstance(operator, LinearOperator):
            raise OperatorError(f"transmission takes a linear operator, and {type(operator).__name__} is not one")
        batch = common_batch(density)
        if None not in (batch, operator.batch) and batch != operator.batch:
            raise OperatorError(f"the density is for {batch} images, the operator for {operator.batch}")
        super().__init__(operator.image_shape, operator.measurement_shape, batch or operator.batch)
        self.operator = operator
        self.hold("density", per_image(density, "density", at_least=1e-6, at_most=1000))

    def _forward(self, x: Tensor) -> Tensor:
        a_x = self.operator._forward(x)
        return torch.exp(-expand(self.constant("density", x), a_x) * a_x)

    def linearise(self, y: Tensor, gain: float | Tensor = 0.0) -> Tensor:
        """The measurement of A itself, -log(max(y, floor)) / density: what linear methods and `fbp` take.

        Shares below the floor, gain / 2 (half a photon) and at least 1e-6, are clipped to it: cells that no photon
        reached would be infinite, and so read -log(floor) / density, too little. The noise is no longer the same
        everywhere: its std is about sqrt(gain / y) / density.

        Args:
            y: (b, *measurement_shape), shares of the photons.
            gain: 1 / photons, one number or (b,).

        Raises:
            ShapeError: y is no measurement of this operator.
        """
        self.require(y, self.measurement_shape, "measurement")
        floor = expand((torch.as_tensor(gain, dtype=torch.float64) / 2).clamp(min=1e-6), y)
        return -torch.maximum(y, floor).log() / expand(self.constant("density", y), y)
