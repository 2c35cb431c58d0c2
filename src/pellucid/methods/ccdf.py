"""Come-closer-diffuse-faster."""

from __future__ import annotations

from pellucid.consistency.backprojection import Replacement
from pellucid.consistency.guidance import PosteriorGuidance, Rule
from pellucid.grid import Uniform
from pellucid.method import Method
from pellucid.methods.supervised import initial_estimate
from pellucid.start.admm import TotalVariation
from pellucid.start.base import Start
from pellucid.start.initial import Noised, PseudoInverse
from pellucid.transition import DDPM


def ccdf(nfe: int = 100, fraction: float = 0.3, initial: str | Start | None = None) -> Method:
    """CCDF: start from a noised initial estimate instead of from noise, then project. For noiseless measurements.

    Reference: Chung, Sim and Ye, Come-Closer-Diffuse-Faster, CVPR 2022.

    Equations: start of eq. (10) in `Noised`; projection of eq. (14) in `Replacement`.

    Limits: what is wrong in the estimate at scales that noise of time `fraction` does not drown stays wrong: holes
    filled with grey lose even without noise (`docs/verify.md`). Noise in y itself ends up in the result.

    Args:
        nfe: network calls.
        fraction: where to start, as a share of all time; the better the estimate, the smaller.
        initial: the estimate: a start, "pinv" (A^+ y, the default), "tv", or a supervised network's name or folder.
    """
    start = Noised(initial_estimate(initial, PseudoInverse()), fraction)
    return Method(Uniform(nfe), DDPM(), start=start, consistency=Replacement(), name="ccdf")


def ccdf_dps(
    nfe: int = 200,
    fraction: float = 0.3,
    scale: float = 1.0,
    rule: Rule = "likelihood",
    initial: str | Start | None = None,
) -> Method:
    """CCDF-DPS: start from a noised initial estimate, then DPS.

    Reference: Fabian, Tinaz and Soltanolkotabi, Adapt and Diffuse, ICML 2024 (as a baseline).

    Equations: start as `ccdf`, step as `dps`. The paper starts from SwinIR at timestep 20 with zeta' = 5 (Gaussian
    blur) or at 100 with 3 (nonlinear blur).

    Args:
        nfe: network calls, each with one vector-Jacobian product.
        fraction: where to start.
        scale, rule: see `dps`.
        initial: the estimate: a start, "pinv", "tv" (the default), or a supervised network's name or folder.
    """
    start = Noised(initial_estimate(initial, TotalVariation()), fraction)
    guidance = PosteriorGuidance(scale, rule)
    return Method(Uniform(nfe), DDPM(), start=start, consistency=guidance, clip="recompute", name="ccdf-dps")
