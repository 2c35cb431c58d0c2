"""The average of the weights that is shipped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class PowerEMA:
    """Average of the weights over the last `share` of the steps, whatever their number.

    beta_k = (1 - 1/k)^(gamma + 1), with gamma from the relative width `share` (Karras et al., CVPR 2024, eq. 2 and
    121).
    """

    def __init__(self, parameters: Sequence[Tensor], share: float) -> None:
        self.values = [p.detach().clone() for p in parameters]
        # Width of the power-law profile, sigma_rel^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)), solved for gamma.
        roots = np.roots([1, 7, 16 - share**-2, 12 - share**-2])
        self.gamma = float(roots.real.max())

    def update(self, parameters: Sequence[Tensor], step: int) -> None:
        beta = (1 - 1 / step) ** (self.gamma + 1)
        torch._foreach_lerp_(self.values, [p.detach() for p in parameters], 1 - beta)
