"""Dirac's reverse process, as the published code runs it on a toy network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pellucid.degradation import Degradation, Geometric
from pellucid.loop import reconstruct
from pellucid.methods import dirac
from pellucid.noise import RecordedNoise
from pellucid.operators.families import BlurFamily, MaskFamily
from pellucid.prior.dirac import DiracPrior
from pellucid.problem import Problem
from tests.golden.data import load, meta, tensor, worst

WORDS = {"look_ahead": "look-ahead", "small_look_ahead": "small-look-ahead", "look_back": "look-back"}
TRACES = (
    "blur_lookahead",
    "blur_dcrel_smalllook",
    "blur_lookback",
    "blur_dc",
    "inpaint_dc",
    "inpaint_lookahead",
)


def toy(y: Tensor, c: Tensor) -> tuple[Tensor, None]:
    return y + 0.2 * torch.sin(4 * y) * (1 + 5 * c[:, None, None, None]) - 0.1 * y.roll(1, dims=3), None


@pytest.mark.parametrize("name", TRACES)
def test_trace(name: str) -> None:
    """Every iterate and the result, with the code's own noise.

    The code computes in float32, and a small look-ahead divides the difference of two blurs by d / D.
    """
    trace = load(f"trace_dirac_{name}")
    words: Any = meta(trace)["config"]
    update, guidance = words["degr_update_method"], words["dc_corr"]
    x = tensor(trace["x"])
    shape = tuple(x.shape[1:])
    family = MaskFamily(shape) if "inpaint" in name else BlurFamily.dirac(shape)
    prior = DiracPrior(toy, Degradation(family, Geometric(0.01, 0.05)))
    steps, tolerance = len(trace["ts"]), 1e-4 if "small" in update["type"] else 1e-5
    draws = [tensor(trace[key]) for key in sorted(trace) if key.startswith("noise_0") and trace[key].ndim == 4]
    method = dirac(
        steps,
        output="x0" if words["x0_pred_in_last_step"] else "state",
        increments=WORDS[update["type"]],
        small=update.get("del_t", 0.01),
        eta=guidance["step"] if guidance["use"] else 0.0,
        scaling="error" if guidance.get("scale_relative") else "std",
        as_released=True,
    )
    problem = Problem(tensor(trace["y"]), family.at(1.0), 0.05)
    noise = RecordedNoise({(k, "step"): z for k, z in enumerate(draws)})
    result = reconstruct(problem, prior, method, seeds=noise, trace=True)
    assert result.trace is not None and len(result.trace) == steps
    for step, iterate, level in zip(result.trace, trace["model_y"], trace["model_cond"], strict=True):
        assert worst(prior.process.sigma(step.state.t), level) < 1e-6
        assert worst(step.state.x, iterate) < tolerance
    assert worst(result.image, trace["recon"]) < tolerance
