"""The DDNM authors' code, 10 steps with time travel: the composed methods go the same way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from torch import Tensor

from pellucid import methods
from pellucid.consistency.spectral import DDNMPlusUpdate
from pellucid.loop import reconstruct
from pellucid.method import Method
from pellucid.noise import Noise, RecordedNoise
from pellucid.operators.base import LinearOperator
from pellucid.prior.base import Estimate, Prior, State
from pellucid.problem import Observation, Problem
from pellucid.step import Step
from tests.golden.data import draws, load, meta, tensor, worst
from tests.golden.stored import DDNMPlusBasis, StoredBlockAverage, StoredBlur, StoredSpectral
from tests.golden.test_operators import plus_basis
from tests.reference import ddnm as paper
from tests.reference.symbols import Svd
from tests.toys import ABAR, NetworkUnits, at_timestep, toy_eps, toy_prior

OPERATORS = ["sr4", "deblur_uni", "deblur_gauss"]
TRACES = [*(f"ddnm_{name}" for name in OPERATORS), *(f"ddnmplus_{name}" for name in OPERATORS)]


@dataclass(frozen=True)
class InAnotherBasis(DDNMPlusUpdate):
    """DDNM+'s update where its code makes it: weights in a basis of their own, z and eps taken for spectra already."""

    basis: DDNMPlusBasis | None = None

    def weighing(self, observation: Observation) -> Observation:
        """The observation y = 0 of the basis: what the update then takes away from x0 is weighed x0 itself."""
        assert self.basis is not None
        return replace(observation, y=observation.y.new_zeros(len(observation.y), 768), operator=self.basis)

    def refine(self, estimate: Estimate, state: State, s: Tensor, observation: Observation, prior: Prior) -> Estimate:
        assert isinstance(observation.operator, LinearOperator)
        error = observation.operator.pinv(-observation.residual(estimate.x0))
        left = super().refine(replace(estimate, x0=error), state, s, self.weighing(observation), prior).x0
        return replace(estimate, x0=estimate.x0 - (error - left))

    def correct(self, step: Step, observation: Observation, prior: Prior, noise: Noise) -> Tensor:
        assert self.basis is not None
        turned = replace(step.estimate, eps=self.basis.from_spectrum(step.estimate.eps))
        step = replace(step, z=self.basis.from_spectrum(step.z), estimate=turned)
        return super().correct(step, self.weighing(observation), prior, noise)


def operator(name: str) -> StoredSpectral:
    """DDNM's, which has DDRM's factors."""
    arrays = load("ops_ddrm_svd")
    return StoredBlockAverage(arrays) if name == "sr4" else StoredBlur(arrays, name)


def times(trace: dict[str, np.ndarray]) -> list[int]:
    """The visited timesteps; the trace holds indices into 0, 100, ..., 900."""
    return [100 * int(i) if i >= 0 else -1 for i in trace["times"]]


def method(kind: str, op: str) -> Method:
    """DDNM as its authors run it."""
    if kind == "ddnm":
        return methods.ddnm(nfe=10, travel_length=2, travel_repeat=2)
    plus = methods.ddnm_plus(nfe=10, travel_length=2, travel_repeat=2)
    return replace(plus, consistency=InAnotherBasis(basis=plus_basis(op)))


@pytest.mark.parametrize("name", TRACES)
def test_composed(name: str) -> None:
    trace = load(f"trace_{name}")
    kind, op = name.split("_", 1)
    path = times(trace)
    recorded: dict[tuple[int, str], Tensor] = {(0, "start"): tensor(trace["x_init"]) / (1 - ABAR[900]) ** 0.5}
    for k, (i, j, z) in enumerate(zip(path[:-1], path[1:], draws(trace), strict=True)):
        recorded[k, "climb" if j > i else "step"] = z
    problem = Problem(tensor(trace["y"]), operator(op), float(meta(trace)["sigma_y"]))  # type: ignore[arg-type]
    prior = toy_prior(codec=NetworkUnits())
    result = reconstruct(problem, prior, method(kind, op), seeds=RecordedNoise(recorded), trace=True)
    assert worst(result.image, trace["x_final"]) < 1e-5
    assert result.trace is not None
    down = [step for step in result.trace if bool((step.s < step.state.t).all())]
    assert [int(step.state.t[0]) - 1 for step in down] == trace["model_t"][:, 0].tolist()
    for step, x in zip(down, trace["model_x"], strict=True):
        assert worst(step.state.x, x) < 1e-5
    assert result.nfe.tolist() == [18, 18]


@pytest.mark.parametrize("name", TRACES)
def test_transcription(name: str) -> None:
    trace = load(f"trace_{name}")
    kind, op = name.split("_", 1)
    A, noise = operator(op), draws(trace)
    given = (at_timestep(toy_eps), ABAR, times(trace), tensor(trace["x_init"]), tensor(trace["y"]), A, A.pinv)
    if kind == "ddnm":
        found = paper.ddnm(*given, lambda k, purpose, like: noise[k])
    else:
        B, sigma_y = plus_basis(op), float(meta(trace)["sigma_y"])  # type: ignore[arg-type]
        svd = Svd(B.s, B.to_spectrum, B.from_spectrum, B.measured_to_spectrum, B.spectrum_to_measured)
        found = paper.ddnm_plus(*given, svd, sigma_y, lambda k, purpose, like: noise[k], released=True)
    assert worst(found, trace["x_final"]) < 1e-5
