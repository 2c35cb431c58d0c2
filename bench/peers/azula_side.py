"""azula's guidance, given our priors, operators and measurements. Its vectors are flat, so that its solvers are right.

azula's `cg` and `gmres` treat the last dimension of a tensor as the vector and all others as a batch: pictures given
as (b, c, h, w) would be solved row by row. Here pictures and measurements are (b, n).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.metadata import version

import torch
from azula.denoise import Denoiser, DiracPosterior
from azula.guidance import (
    DiffPIRDenoiser,
    DPSSampler,
    JFPSDenoiser,
    MMPSDenoiser,
    PGDMSampler,
    RePaintSampler,
    TMPDenoiser,
)
from azula.linalg.covariance import IsotropicCovariance
from azula.noise import Schedule, VPSchedule
from azula.sample import DDIMSampler, Sampler
from torch import Tensor

from bench.peers.network import Network
from bench.peers.peer import Inexpressible, Peer
from bench.peers.peer import Sampler as Sampling
from pellucid.operators import LinearOperator, Mask
from pellucid.problem import Observation, Problem

STD_LOWEST = 2e-3  # on [-1, 1]: azula divides by the noise's variance, which a noiseless measurement has none of
DATA_VARIANCE = 0.25  # of pixels on [-1, 1], as our pigdm and diffpir take it


class Flat(Denoiser):
    """The network as azula wants it: E[x_0 | x_t] for x_t = alpha_t x_0 + sigma_t n, pictures as rows."""

    def __init__(self, network: Network, shape: tuple[int, ...], schedule: Schedule | None = None) -> None:
        super().__init__()
        self.network, self.shape, self.schedule = network, shape, schedule or VPSchedule()

    def forward(self, x_t: Tensor, t: Tensor, **kwargs: object) -> DiracPosterior:
        alpha, sigma = self.schedule(t)
        mean = self.network((x_t / alpha).reshape(-1, *self.shape), sigma / alpha)
        return DiracPosterior(mean=mean.reshape(x_t.shape))


class Task:
    """A problem in azula's terms: y and A on [-1, 1], flat.

    Args:
        network: the prior.
        problem: in units of [0, 1].
    """

    def __init__(self, network: Network, problem: Problem) -> None:
        self.network, self.shape = network, problem.operator.image_shape
        self.observation: Observation = network.codec.observe(problem)
        self.operator = self.observation.operator
        self.y = self.observation.y.flatten(1)
        self.std = max(float(self.observation.noise_std[0]), STD_LOWEST)
        self.denoiser = Flat(network, self.shape)
        self.A(torch.zeros(len(self.y), math.prod(self.shape)))  # constants are made outside of azula's transforms

    def A(self, x: Tensor) -> Tensor:
        return self.operator(x.reshape(-1, *self.shape)).flatten(1)

    def A_inv(self, y: Tensor) -> Tensor:
        assert isinstance(self.operator, LinearOperator)
        return self.operator.pinv(y.reshape(-1, *self.operator.measurement_shape)).flatten(1)

    def run(self, sampler: Sampler) -> Tensor:
        """The sampler from noise to a picture in the units of [0, 1]."""
        x = sampler(sampler.init((len(self.y), math.prod(self.shape))))
        return self.network.codec.decode(x.reshape(-1, *self.shape))


def dps(network: Network, problem: Problem, nfe: int) -> Tensor:
    task = Task(network, problem)
    return task.run(DPSSampler(task.denoiser, task.y, task.A, steps=nfe, silent=True))


def pgdm(network: Network, problem: Problem, nfe: int) -> Tensor:
    task = _linear(network, problem)
    return task.run(PGDMSampler(task.denoiser, task.y, task.A, task.A_inv, steps=nfe, silent=True))


def repaint(network: Network, problem: Problem, steps: int) -> Tensor:
    operator = problem.operator
    if not isinstance(operator, Mask):
        raise Inexpressible("azula's RePaint takes a mask")
    task = Task(network, problem)
    mask = operator(torch.ones(len(problem.y), *task.shape)).flatten(1) > 0.5
    return task.run(RePaintSampler(task.denoiser, task.y, mask, steps=steps, silent=True))


def mmps(network: Network, problem: Problem, nfe: int) -> Tensor:
    return _guided(network, problem, nfe, lambda t: MMPSDenoiser(t.denoiser, t.y, t.A, _noise(t)))


def jfps(network: Network, problem: Problem, nfe: int) -> Tensor:
    signal = IsotropicCovariance(torch.tensor(DATA_VARIANCE))
    return _guided(network, problem, nfe, lambda t: JFPSDenoiser(t.denoiser, t.y, t.A, _noise(t), signal))


def tmpd(network: Network, problem: Problem, nfe: int) -> Tensor:
    return _guided(network, problem, nfe, lambda t: TMPDenoiser(t.denoiser, t.y, t.A, t.std**2))


def diffpir(network: Network, problem: Problem, nfe: int) -> Tensor:
    return _guided(network, problem, nfe, lambda t: DiffPIRDenoiser(t.denoiser, t.y, t.A, t.std**2))


def _guided(network: Network, problem: Problem, nfe: int, guide: Callable[[Task], Denoiser]) -> Tensor:
    task = _linear(network, problem)
    return task.run(DDIMSampler(guide(task), steps=nfe, silent=True))


def _linear(network: Network, problem: Problem) -> Task:
    if not isinstance(problem.operator, LinearOperator):
        raise Inexpressible("azula's sampler takes a linear operator")
    return Task(network, problem)


def _noise(task: Task) -> IsotropicCovariance:
    return IsotropicCovariance(torch.tensor(task.std**2))


def _peer(
    name: str, ours: str, sample: Sampling, defaults: str, nfe: int = 64, same: bool = True, mixes: bool = False
) -> Peer:
    return Peer("azula", version("azula"), name, ours, sample, defaults, nfe, same, mixes)


_VP = "VPSchedule (alpha_min=0.001, sigma_min=0.001), even in time"
_DDIM = f"DDIMSampler, eta=0, {_VP}"
PEERS = (
    _peer("DPS", "dps", dps, f"DDPM steps, {_VP}; zeta=1", mixes=True),
    _peer("PGDM", "pigdm", pgdm, f"eta=0, {_VP}"),
    _peer("MMPS", "pigdm", mmps, f"{_DDIM}; solver='gmres', iterations=1", same=False),
    _peer("TMPD", "pigdm", tmpd, _DDIM, same=False),
    _peer("JFPS", "pigdm", jfps, f"{_DDIM}; solver='cg', iterations=1; cov_x=0.25 I, which has no default", same=False),
    _peer("DiffPIR", "diffpir", diffpir, f"{_DDIM}; lmbda=10, solver='gmres', iterations=1"),
    _peer("RePaint", "repaint", repaint, f"eta=0, {_VP}; iterations=3"),
)
"""azula's posterior samplers. TDS is left out: it resamples several particles, and is no sampler of one picture."""
