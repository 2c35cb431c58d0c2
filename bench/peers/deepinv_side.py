"""deepinv's samplers, given our priors, operators and measurements."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.peers.network import Network
from bench.peers.peer import Inexpressible, Peer, Sampler
from pellucid.operators import LinearOperator, Operator, Spectral
from pellucid.problem import Problem

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
    MomentMatchingDataFidelity,
    NoisyDataFidelity,
    PiGDMDataFidelity,
    PosteriorDiffusion,
    VariancePreservingDiffusion,
)


class Denoiser(deepinv.models.Denoiser):
    """The network as deepinv wants it: E[x_0 | x_0 + sigma n] on [0, 1]."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, sigma: Tensor | float, *args: object, **kwargs: object) -> Tensor:
        codec = self.network.codec
        return codec.decode(self.network(codec.encode(x), 2 * torch.as_tensor(sigma, dtype=torch.float64)))


def physics(problem: Problem) -> deepinv.physics.Physics:
    """The problem's operator and noise level there: with its singular values where they are known."""
    operator: Operator = problem.operator
    noise = deepinv.physics.GaussianNoise(float(problem.std[0]))
    if isinstance(operator, Spectral):
        shape = operator.image_shape
        there = deepinv.physics.DecomposablePhysics(
            U=operator.spectrum_to_measured,
            U_adjoint=operator.measured_to_spectrum,
            V=operator.from_spectrum,
            V_adjoint=operator.to_spectrum,
            img_size=shape,
            mask=operator.singular_values(problem.y)[:1].expand(1, *shape).clone(),
            noise_model=noise,
        )
    elif isinstance(operator, LinearOperator):
        there = deepinv.physics.LinearPhysics(
            A=lambda x, **_: operator(x),
            A_adjoint=lambda y, **_: operator.adjoint(y),
            img_size=operator.image_shape,
            noise_model=noise,
        )
    else:
        there = deepinv.physics.Physics(A=lambda x, **_: operator(x), noise_model=noise)
    x = torch.rand(1, *operator.image_shape, generator=torch.Generator().manual_seed(0))
    if not torch.allclose(there.A(x), operator(x), atol=1e-5):
        raise Inexpressible(f"deepinv's version of {type(operator).__name__} does not measure the same")
    return there


def linear(problem: Problem) -> deepinv.physics.LinearPhysics:
    """As `physics`. Raises `Inexpressible` for what is not linear."""
    if not isinstance(problem.operator, LinearOperator):
        raise Inexpressible("deepinv's sampler takes a linear operator")
    return physics(problem)


def dps(network: Network, problem: Problem, nfe: int) -> Tensor:
    return DPS(Denoiser(network), num_steps=nfe + 1)(problem.y.clone(), physics(problem), x_init=_shape(problem))


def ddrm(network: Network, problem: Problem, nfe: int) -> Tensor:
    if not isinstance(problem.operator, Spectral):
        raise Inexpressible("deepinv's DDRM takes an operator with known singular values")
    return DDRM(Denoiser(network), sigmas=np.linspace(1, 0, nfe))(problem.y.clone(), physics(problem))


def diffpir(network: Network, problem: Problem, nfe: int) -> Tensor:
    data = deepinv.optim.data_fidelity.L2()
    std = float(problem.std[0])
    return DiffPIR(Denoiser(network), data, sigma=std, max_iter=nfe)(problem.y.clone(), linear(problem))


def pigdm(network: Network, problem: Problem, nfe: int) -> Tensor:
    return _posterior(PiGDMDataFidelity(), network, problem, nfe)


def moment_matching(network: Network, problem: Problem, nfe: int) -> Tensor:
    return _posterior(MomentMatchingDataFidelity(), network, problem, nfe)


def _posterior(data: NoisyDataFidelity, network: Network, problem: Problem, nfe: int) -> Tensor:
    solver = DDPMSolver(timesteps=torch.linspace(1, 0, nfe + 1, dtype=torch.float64))
    sde = VariancePreservingDiffusion(alpha=1.0)
    sampler = PosteriorDiffusion(data_fidelity=data, denoiser=Denoiser(network), sde=sde, solver=solver)
    return sampler(problem.y.clone(), linear(problem), x_init=_shape(problem))


def _shape(problem: Problem) -> tuple[int, ...]:
    return (len(problem.y), *problem.operator.image_shape)


def _peer(name: str, ours: str, sample: Sampler, defaults: str, nfe: int, same: bool = True) -> Peer:
    return Peer("deepinv", deepinv.__version__, name, ours, sample, defaults, nfe, same)


_VP = "VP, beta 0.1 to 20, ancestral steps with the small variance, even in time"
PEERS = (
    _peer("DPS", "dps", dps, f"{_VP}; guidance='norm', weight=1, clip=[-1, 1]", 1000),
    _peer("PiGDM", "pigdm", pigdm, f"DDPMSolver on {_VP}; weight=1, no clip; 3 CG iterations without an SVD", 1000),
    _peer(
        "MomentMatching",
        "pigdm",
        moment_matching,
        f"DDPMSolver on {_VP}; weight=1, no clip; 3 CG iterations",
        1000,
        same=False,
    ),
    _peer("DDRM", "ddrm", ddrm, "sigmas evenly from 1 to 0, eta=0.85, etab=1", 100),
    _peer("DiffPIR", "diffpir", diffpir, "lambda_=7, zeta=0.1, L2 data term", 100),
)
"""deepinv's samplers that have a relative here. A solver on the times 1, ..., 0 calls the network once a step."""
