"""Stochastic resampling: a consistent estimate is mapped back to the noisy manifold without forgetting x_s.

Song, Kwon, Zhang, Hu, Qu and Shen, Solving Inverse Problems with Latent Diffusion Models via Hard Data Consistency,
ICLR 2024, eq. (12) and (13). With z0(y) the consistent estimate and z'_s = alpha_s z_0 + sigma_s n where the sampler
stands,

    z_s ~ N( (v alpha_s z0(y) + sigma_s^2 z'_s) / (v + sigma_s^2),  v sigma_s^2 / (v + sigma_s^2) I )
        = w alpha_s z0(y) + (1 - w) z'_s + sigma_s sqrt(w) n',        w = q / (1 + q),  q = v / sigma_s^2:

the product of N(z'_s, v) and N(alpha_s z0(y), sigma_s^2). v = 0 (w = 0) keeps z'_s, v = infinity (w = 1) forgets it:
stochastic encoding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pellucid.errors import CompatibilityError, require_range
from pellucid.process import Process
from pellucid.transition import beta
from pellucid.typing import expand

Form = Literal["paper", "released", "encoding"]


@dataclass(frozen=True)
class Resampling:
    """How much of z'_s is forgotten: q = v / sigma_s^2 of the step from t to s, with beta its added variance.

        "paper"     v = gamma (sigma_s^2 / alpha_t^2) beta                  the appendix's sigma_t^2
        "released"  v = gamma (sigma_s^2 / sigma_t^2) beta                  gamma times DDPM's posterior variance
        "encoding"  v = infinity                                            eq. (12)

    beta grows with the step, and with it v. Where `per` is a number, beta is that of a step of 1 / per of the way, so
    that the number of steps changes nothing; gamma = 40 was chosen at 500 steps. None takes the step as it is.

    Args:
        gamma: see above; 40 in paper and code.
        form: see above.
        per: see above.
    """

    gamma: float = 40.0
    form: Form = "paper"
    per: int | None = 500

    def __post_init__(self) -> None:
        require_range("gamma", self.gamma, 0)
        if self.form not in ("paper", "released", "encoding"):
            raise CompatibilityError(f"form must be paper, released or encoding, not {self.form!r}")
        if self.per is not None:
            require_range("per", self.per, 1)

    def variance(self, process: Process, t: Tensor, s: Tensor) -> Tensor:
        """v, (b,)."""
        return self._strength(process, t, s) * process.sigma(s) ** 2

    def weight(self, process: Process, t: Tensor, s: Tensor) -> Tensor:
        """w, (b,): the share of z0(y)."""
        q = self._strength(process, t, s)
        return torch.where(q.isinf(), 1.0, q / (1 + q))

    def _strength(self, process: Process, t: Tensor, s: Tensor) -> Tensor:
        if self.form == "encoding":
            return torch.full_like(s, torch.inf)
        size = process.alpha(t) if self.form == "paper" else process.sigma(t)
        share = 1.0 if self.per is None else 1 / self.per / (process.pace(t) - process.pace(s))
        return self.gamma * share * beta(process, t, s) / size**2

    def __call__(
        self, process: Process, t: Tensor, s: Tensor, consistent: Tensor, current: Tensor, noise: Tensor
    ) -> Tensor:
        """z_s from z0(y), z'_s and a standard normal draw, all (b, ...)."""
        return resample(consistent, current, process.alpha(s), process.sigma(s), self.weight(process, t, s), noise)


def resample(z0: Tensor, current: Tensor, alpha: Tensor, sigma: Tensor, weight: Tensor, noise: Tensor) -> Tensor:
    """w alpha z0 + (1 - w) z' + sigma sqrt(w) n; alpha, sigma and w are (b,)."""
    w = expand(weight, z0)
    return w * expand(alpha, z0) * z0 + (1 - w) * current + expand(sigma * weight.sqrt(), z0) * noise
