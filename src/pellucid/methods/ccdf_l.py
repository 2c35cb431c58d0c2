"""Come-closer-diffuse-faster with a latent prior."""

from __future__ import annotations

from pellucid.consistency.latent import LatentGuidance, LatentRule
from pellucid.grid import Uniform
from pellucid.method import Method
from pellucid.methods.supervised import initial_estimate
from pellucid.start.admm import TotalVariation
from pellucid.start.base import Start
from pellucid.start.encoded import NoisedCode
from pellucid.transition import DDPM


def ccdf_l(
    nfe: int = 200,
    fraction: float = 0.3,
    scale: float = 1.0,
    rule: LatentRule = "likelihood",
    initial: str | Start | None = None,
) -> Method:
    """CCDF-L: start from the noised code of an initial estimate, then Latent-DPS.

    Reference: Fabian, Tinaz and Soltanolkotabi, Adapt and Diffuse, ICML 2024 (as a baseline).

    Equations: z_t0 = alpha_t0 E(x_init) + sigma_t0 n in `NoisedCode`, step as `ldps`. The estimate is made on pictures,
    whatever the prior's space; with a pixel prior this is CCDF-DPS. The paper starts from SwinIR at timestep 100 with
    eta = 1 (Gaussian blur) or at 200 with 1.5 (nonlinear blur).

    Limits: errors of the estimate, and of the autoencoder, that noise of time `fraction` does not drown stay.

    Args:
        nfe: network calls, each with one vector-Jacobian product and a pass through the decoder and back.
        fraction: where to start, as a share of all time; the better the estimate, the smaller.
        scale, rule: see `ldps`.
        initial: the estimate: a start, "pinv", "tv" (the default), or a supervised network's name or folder.
    """
    start = NoisedCode(initial_estimate(initial, TotalVariation()), fraction)
    guidance = LatentGuidance(scale, rule)
    return Method(Uniform(nfe), DDPM(), start=start, consistency=guidance, clip="recompute", name="ccdf-l")
