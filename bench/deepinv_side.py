"""deepinv's samplers, given our priors, operators and measurements."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pellucid.operators import LinearOperator, Mask
from pellucid.prior.base import Prior
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.process import VE

# deepinv imports torchvision, whose Python part asks for two compiled operators that a CPU build of torch may lack.
# They are never called here; declaring them is enough.
_ops = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _ops.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import deepinv  # noqa: E402
from deepinv.sampling import (  # noqa: E402
    DDRM,
    DPS,
    DDPMSolver,
    DiffPIR,
    PiGDMDataFidelity,
    PosteriorDiffusion,
    VariancePreservingDiffusion,
)

VERSION = deepinv.__version__
LOWEST = 0.01  # noise level on [-1, 1] that networks have seen; DDRM there asks for 0 in its last call


class Denoiser(deepinv.models.Denoiser):
    """Our prior as deepinv wants it: E[x_0 | x_0 + sigma n] on [0, 1]; counts its calls.

    Args:
        prior: a network that predicts as "denoiser", or an exact Gaussian.
    """

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior, self.calls = with_noise_level_as_time(prior), 0
        self.lowest = LOWEST if isinstance(prior, DiffusionPrior) else 0.0

    def forward(self, x: Tensor, sigma: Tensor | float, *args: object, **kwargs: object) -> Tensor:
        self.calls += 1
        z = self.prior.codec.encode(x)
        level = 2 * torch.as_tensor(sigma, dtype=torch.float64).flatten().expand(len(x))
        level = level.clamp(min=self.lowest)
        return self.prior.codec.decode(self.prior._denoise(z, level)[0])


def with_noise_level_as_time(prior: Prior) -> Prior:
    """The same prior for x_0 + sigma n with any sigma."""
    twin = copy.copy(prior)
    twin.process = VE(sigma_max=1e4)
    return twin


def physics(operator: LinearOperator, noise_std: float) -> deepinv.physics.DecomposablePhysics:
    """The same operator there; checked on a random picture."""
    assert isinstance(operator, Mask)
    mask = operator.singular_values(torch.zeros(1))[0].expand(operator.image_shape)
    noise = deepinv.physics.GaussianNoise(noise_std)
    there = deepinv.physics.Inpainting(img_size=operator.image_shape, mask=mask.clone(), noise_model=noise)
    x = torch.rand(1, *operator.image_shape)
    assert torch.allclose(there.A(x), operator(x))
    return there


def dps(denoiser: Denoiser, y: Tensor, there: deepinv.physics.Physics, steps: int) -> Tensor:
    return DPS(denoiser, num_steps=steps)(y, there)


def ddrm(denoiser: Denoiser, y: Tensor, there: deepinv.physics.Physics, steps: int) -> Tensor:
    return DDRM(denoiser, sigmas=np.linspace(1, 0, steps))(y, there)


def diffpir(denoiser: Denoiser, y: Tensor, there: deepinv.physics.Physics, steps: int) -> Tensor:
    return DiffPIR(denoiser, deepinv.optim.data_fidelity.L2(), max_iter=steps)(y, there)


def pigdm(denoiser: Denoiser, y: Tensor, there: deepinv.physics.Physics, steps: int) -> Tensor:
    solver = DDPMSolver(timesteps=torch.linspace(1, 0, steps, dtype=torch.float64))
    sde, likelihood = VariancePreservingDiffusion(alpha=1.0), PiGDMDataFidelity(denoiser)
    return PosteriorDiffusion(data_fidelity=likelihood, denoiser=denoiser, sde=sde, solver=solver)(y, there)


Sampler = Callable[[Denoiser, Tensor, deepinv.physics.Physics, int], Tensor]
SAMPLERS: dict[str, tuple[Sampler, int]] = {
    "dps": (dps, 1000),
    "ddrm": (ddrm, 100),
    "pigdm": (pigdm, 1000),
    "diffpir": (diffpir, 100),
}
"""Sampler and its default number of steps there."""
