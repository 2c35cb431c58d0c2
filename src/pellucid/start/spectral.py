"""DDRM's start: directions that the measurement knows better than the first noise level begin there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pellucid.consistency.spectral import Spectrum, spectral
from pellucid.noise import Noise
from pellucid.operators.base import Operator, Spectral
from pellucid.prior.base import Prior, State
from pellucid.problem import Observation
from pellucid.start.base import Start
from pellucid.typing import expand


@dataclass(frozen=True)
class SpectralNoise(Start):
    """xbar_T = ybar + sqrt(S^2 - sigma_y^2 / s^2) z where s S > sigma_y, S z elsewhere; x_T = alpha_T V xbar_T.

    Kawar et al., Denoising Diffusion Restoration Models, NeurIPS 2022, eq. (6); S = sigma_T / alpha_T.

    Args:
        released: divide by S instead of multiplying by alpha_T, as the code does: x_T is then larger by 1 / sigma_T.
    """

    released: bool = False
    needs: ClassVar[type[Operator]] = Spectral

    def __call__(self, observation: Observation, prior: Prior, noise: Noise, top: Tensor) -> State:
        operator = spectral(observation)
        like = observation.y.new_empty((len(observation.y), *operator.image_shape))
        z = operator.to_spectrum(noise.normal(like, 0, "start"))
        m = Spectrum.of(observation, like)
        ratio = prior.process.ratio(top)
        level = expand(ratio, m.s)
        spread = (level**2 - (m.noise * m.inverse) ** 2).clamp(min=0).sqrt()
        xbar = torch.where(m.s * level > m.noise, m.inverse * m.y + spread * z, level * z)
        scale = 1 / ratio if self.released else prior.process.alpha(top)
        return State(expand(scale, like) * operator.from_spectrum(xbar), top)
