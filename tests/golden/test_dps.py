"""The DPS authors' code, 1000 steps respaced to 10: the composed method goes the same way."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pellucid import methods
from pellucid.loop import Result, reconstruct
from pellucid.method import Method
from pellucid.noise import RecordedNoise
from pellucid.operators.base import LinearOperator, Operator
from pellucid.operators.mask import Mask
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.problem import Problem
from pellucid.transition import FixedLarge
from tests.golden.data import draws, load, meta, tensor, worst
from tests.reference import dps as paper
from tests.toys import ABAR, NetworkUnits, PhaseAmplitude, at_timestep, toy_eps, toy_eps_and_variance, toy_prior

SHAPE = (3, 32, 32)


class StoredKernel(LinearOperator):
    """Cross-correlation with the stored 61 x 61 kernel, on pictures reflected at the edge."""

    def __init__(self, kernel: Tensor) -> None:
        super().__init__(SHAPE)
        self.register_buffer("kernel", kernel)

    def _forward(self, x: Tensor) -> Tensor:
        kernel = self.constant("kernel", x).expand(3, 1, -1, -1)
        padded = torch.nn.functional.pad(x, (kernel.shape[-1] // 2,) * 4, mode="reflect")
        return torch.nn.functional.conv2d(padded, kernel, groups=3)

    def _adjoint(self, y: Tensor) -> Tensor:
        with torch.enable_grad():
            x = torch.zeros_like(y).requires_grad_()
            (back,) = torch.autograd.grad((self._forward(x) * y).sum(), x)
        return back


def operator(task: str, trace: dict) -> Operator:
    """The operator of the trace."""
    if task == "gblur":
        return StoredKernel(tensor(load("ops_dps")["gaussian_kernel"]))
    if task == "inpaint":
        return Mask(SHAPE, tensor(load("trace_dps_ddpm_inpaint_mask")["mask"]).reshape(-1, 32, 32)[:1])
    return PhaseAmplitude(SHAPE)


def prior(task: str) -> DiffusionPrior:
    """The toy network in its own range, with learned variance as in the trace."""
    return toy_prior(learned_variance=task != "phase", codec=NetworkUnits())


def method(task: str, scale: float) -> Method:
    """DPS as its authors run it."""
    released = methods.dps(nfe=10, rule="released", scale=scale, learned_variance=task != "phase")
    return replace(released, transition=FixedLarge()) if task == "phase" else released


@pytest.mark.parametrize("task", ["gblur", "phase"])
def test_composed(task: str) -> None:
    trace = load(f"trace_dps_ddpm_{task}")
    recorded = {(k, "step"): z for k, z in enumerate(draws(trace)[0::2])}
    recorded[0, "start"] = tensor(trace["x_T"]) / (1 - ABAR[-1]) ** 0.5
    problem = Problem(tensor(trace["y"]), operator(task, trace), 0.05)
    scale = float(meta(trace)["scale"])  # type: ignore[arg-type]
    result = reconstruct(problem, prior(task), method(task, scale), seeds=RecordedNoise(recorded), trace=True)
    assert worst(result.image, trace["final"]) < 1e-5
    follows(result, trace)


def follows(result: Result, trace: dict) -> None:
    """Every step is the recorded one; recording in float32 leaves an error of 1e-6 / sqrt(abar) in x0."""
    assert result.trace is not None
    for k, step in enumerate(result.trace):
        assert step.state.t.tolist() == [trace["timestep_map"][-1 - k] + 1]
        assert worst(step.state.x, trace["x_prev"][k]) < 1e-5
        assert worst(step.raw.x0, trace["x0_hat"][k]) < 1e-6 / float(ABAR[trace["timestep_map"][-1 - k]]) ** 0.5
        assert worst(step.x_s, trace["x_next"][k]) < 1e-5


@pytest.mark.parametrize("task", ["gblur", "phase"])
def test_transcription(task: str) -> None:
    trace = load(f"trace_dps_ddpm_{task}")
    noise, A = draws(trace), operator(task, trace)
    found = paper.dps(
        at_timestep(toy_eps if task == "phase" else toy_eps_and_variance),
        ABAR,
        trace["timestep_map"].tolist(),
        tensor(trace["x_T"]),
        tensor(trace["y"]),
        A,
        lambda k, purpose, like: noise[2 * k],
        scale=float(meta(trace)["scale"]),  # type: ignore[arg-type]
        large=task == "phase",
    )
    assert worst(found, trace["final"]) < 1e-5
