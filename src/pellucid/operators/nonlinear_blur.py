"""Motion blur as it happens: in linear light, before the camera's response."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pellucid.errors import OperatorError
from pellucid.operators.base import Operator
from pellucid.operators.convolution import kernel_blur
from pellucid.operators.kernels import Boundary
from pellucid.operators.motion import motion_kernel
from pellucid.operators.response import camera_response
from pellucid.typing import Shape


class NonlinearBlur(Operator):
    """y = f(K * f^-1(x)): highlights smear further than they would by blurring the picture itself.

    Args:
        image_shape: (c, h, w).
        seed: of the camera path (`motion_kernel`), frozen; a list for one an image.
        kernel: K itself, (kh, kw) or (b, kh, kw), instead of a seed.
        size: of the kernel drawn from the seed, in pixels.
        intensity: of the shaking.
        response: f, one of `RESPONSES`.
        gamma: of the response "gamma".
        boundary: "reflect", "zero" or "circular".

    Raises:
        OperatorError: gamma is below 1.
        UnknownNameError: there is no such response.
    """

    def __init__(
        self,
        image_shape: Shape,
        seed: int | Sequence[int] = 0,
        *,
        kernel: Tensor | None = None,
        size: int = 61,
        intensity: float = 0.5,
        response: str = "gamma",
        gamma: float = 2.2,
        boundary: Boundary = "reflect",
    ) -> None:
        if not 1 <= gamma <= 10:
            raise OperatorError(f"gamma is between 1 and 10, not {gamma:g}")
        blur = kernel_blur(image_shape, motion_kernel(seed, size, intensity) if kernel is None else kernel, boundary)
        super().__init__(image_shape, batch=blur.batch)
        self.blur, self.response = blur, camera_response(response, gamma)

    def _forward(self, x: Tensor) -> Tensor:
        return self.response.to_picture(self.blur._forward(self.response.to_light(x)))
