"""Diffusion posterior sampling: Chung et al., ICLR 2023, Algorithm 1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.reference.symbols import Draw, Eps, Map, descending, f0, level, norms, per_image
from tests.reference.unconditional import ancestral


def dps(
    eps: Eps,
    abar: Tensor,
    timesteps: Sequence[int],
    x: Tensor,
    y: Tensor,
    A: Map,
    draw: Draw,
    *,
    scale: float | Tensor = 1.0,
    clip: bool = True,
    large: bool = False,
) -> Tensor:
    """Lines 3 to 8. Line 7 is x' - zeta_i grad ||y - A(x0)||^2 with zeta_i = zeta' / ||y - A(x0)||.

    As the gradient of a norm is that of its square over twice the norm, this is x' - scale grad ||y - A(x0)|| with
    scale = 2 zeta'; the authors' code takes `scale` itself. One norm an image.
    """
    for k, (i, j) in enumerate(descending(timesteps)):
        x_t = x.detach().requires_grad_()
        out = eps(x_t, i)
        e, v = out.chunk(2, dim=1) if out.shape[1] == 2 * x.shape[1] else (out, None)
        x0 = f0(x_t, e, level(abar, i))
        x0 = x0.clamp(-1, 1) if clip else x0
        moved = ancestral(x0, x_t, level(abar, i), level(abar, j), draw(k, "step", x), v, large)
        distance = norms(y - A(x0))
        (gradient,) = torch.autograd.grad(distance.sum(), x_t)
        x = moved.detach() - per_image(scale, x) * gradient
    return x
