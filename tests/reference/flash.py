"""Flash-Diffusion (Fabian et al., ICML 2024), sec. 3.3 and its published sampler, one image at a time."""

from __future__ import annotations

from torch import Tensor

from tests.reference.ldps import ldps
from tests.reference.symbols import Draw, Eps, Map


def matched(abar: Tensor, s2: float) -> int:
    """argmin_i |abar_i / (1 - abar_i) - 1 / s2|, the first of equals."""
    return int((abar / (1 - abar) - 1 / s2).abs().argmin())


def flash(
    eps: Eps,
    abar: Tensor,
    z_hat: Tensor,
    s2: float,
    y: Tensor,
    A: Map,
    D: Map,
    draw: Draw,
    *,
    eta: float,
    c: float | None,
    clip: bool = False,
) -> Tensor:
    """LDPS from the matched index k on. `c`: the published sampler, whose first call is at k - 1; None: at k.

    Draws are numbered by the steps of all 1000.
    """
    k = matched(abar, s2)
    if c is None:
        z, calls = abar[k] ** 0.5 * z_hat, k + 1
    else:
        z, calls = (1 - c * s2) ** 0.5 * z_hat + (c * s2) ** 0.5 * draw(0, "start", z_hat), k
    first = len(abar) - calls

    def later(step: int, purpose: str, like: Tensor) -> Tensor:
        return draw(first + step, purpose, like)

    return ldps(eps, abar, range(calls), z, y, A, D, later, eta=eta, clip=clip)
