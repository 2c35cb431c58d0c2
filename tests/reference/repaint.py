"""RePaint: Lugmayr et al., CVPR 2022, Algorithm 1, equations (8a) to (8c), with the schedule of its appendix."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from tests.reference.symbols import Draw, Eps, f0, level
from tests.reference.unconditional import ancestral


def schedule(n: int, length: int, repeat: int) -> list[int]:
    """Indices n - 1 .. -1 into the timesteps; from every length-th one back up by `length`, repeat - 1 times."""
    jumps = dict.fromkeys(range(0, n - length, length), repeat - 1)
    t, order = n, []
    while t >= 1:
        t -= 1
        order.append(t)
        if jumps.get(t, 0) > 0:
            jumps[t] -= 1
            for _ in range(length):
                t += 1
                order.append(t)
    return [*order, -1]


def repaint(
    eps: Eps, abar: Tensor, times: Sequence[int], x: Tensor, y: Tensor, m: Tensor, draw: Draw, *, clip: bool = True
) -> Tensor:
    """`times` ends in -1; where it rises, x is noised one step up: sqrt(1 - beta) x + sqrt(beta) z (line 8)."""
    for k, (i, j) in enumerate(pairwise(times)):
        a, a_next = level(abar, i), level(abar, j)
        if j > i:
            beta = 1 - a_next / a
            x = (1 - beta) ** 0.5 * x + beta**0.5 * draw(k, "climb", x)
            continue
        x0 = f0(x, eps(x, i), a)
        x0 = x0.clamp(-1, 1) if clip else x0
        unknown = ancestral(x0, x, a, a_next, draw(k, "step", x), None, large=False)
        known = a_next**0.5 * y + (1 - a_next) ** 0.5 * draw(k, "measurement", x)
        x = m * known + (1 - m) * unknown
    return x
