"""Stand-ins with the methods of deepinv's physics."""

from __future__ import annotations

from torch import Tensor


class Squaring:
    """Like a nonlinear `deepinv.physics.Physics`."""

    def A(self, x: Tensor) -> Tensor:
        return x[..., ::2] ** 2

    def __call__(self, x: Tensor) -> Tensor:
        raise AssertionError("physics(x) adds noise; only A(x) is wanted")


class Halving:
    """Like a `deepinv.physics.LinearPhysics` without a pseudo-inverse: every second column."""

    def A(self, x: Tensor) -> Tensor:
        return 2 * x[..., ::2]

    def A_adjoint(self, y: Tensor) -> Tensor:
        x = y.new_zeros(*y.shape[:-1], 2 * y.shape[-1])
        x[..., ::2] = 2 * y
        return x


class Doubling(Halving):
    """Like a `deepinv.physics.DecomposablePhysics`, which has one."""

    def A_dagger(self, y: Tensor) -> Tensor:
        return self.A_adjoint(y) / 4
