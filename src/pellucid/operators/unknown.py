"""The operator of a measurement of which nothing else is known."""

from __future__ import annotations

from torch import Tensor

from pellucid.errors import NeedsCapability
from pellucid.operators.base import Operator


class Unknown(Operator):
    """A forward model that nobody knows: y has the picture's shape, or the one given, and that is all.

    For methods that never ask for it (`needs_operator`); any other ends with `NeedsCapability`.
    """

    def _forward(self, x: Tensor) -> Tensor:
        raise NeedsCapability(
            "the operator is unknown, and this method asks what it does to a picture: say which it is, leave a number "
            "of it to be estimated (gaussian-blur:std=?), or take flash with inner=none or dirac, which need none"
        )
