"""The DDRM authors' code, 10 steps: the composed method goes the same way, through their stored factors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pellucid import methods
from pellucid.loop import reconstruct
from pellucid.noise import RecordedNoise
from pellucid.problem import Problem
from tests.golden.data import draws, load, meta, tensor, worst
from tests.golden.stored import StoredBlockAverage, StoredBlur, StoredSpectral
from tests.reference import ddrm as paper
from tests.reference.symbols import Svd
from tests.toys import ABAR, NetworkUnits, at_timestep, toy_eps, toy_prior

TRACES = ["sr4_s0.0", "sr4_s0.1", "deblur_uni_s0.1", "deblur_aniso_s0.1"]


def operator(name: str) -> StoredSpectral:
    """DDRM's: singular values set to 0 count as small ones there."""
    arrays = load("ops_ddrm_svd")
    return StoredBlockAverage(arrays) if name == "sr4" else StoredBlur(arrays, name, vanishing=True)


def pictures_drawn(trace: dict[str, np.ndarray], A: StoredSpectral) -> list[Tensor]:
    """Pictures n with z = V^T n, one a step, put together from the three draws that the code makes in each.

    z is the first draw where there is no singular value, the second where s sigma' < sigma_0 (those columns only), and
    the third where s sigma' > sigma_0.
    """
    sequence, sigma_0, s = meta(trace)["seq"], meta(trace)["sigma_0"], A.s.flatten()  # type: ignore[index]
    levels = [((1 - a) / a) ** 0.5 for a in (float(ABAR[i]) for i in sequence[-2::-1])] + [0.0]
    known, noise, pictures = A.measurement_shape[0], draws(trace), []
    for k, sigma in enumerate(levels):
        z = noise[3 * k].clone()
        weak = (s[:known] * sigma < sigma_0).nonzero().flatten()
        strong = (s[:known] * sigma > sigma_0).nonzero().flatten()
        z[:, weak] = noise[3 * k + 1]
        z[:, strong] = noise[3 * k + 2][:, strong]
        pictures.append(A.from_spectrum(z.reshape(-1, *A.image_shape)))
    return pictures


@pytest.mark.parametrize("name", TRACES)
def test_composed(name: str) -> None:
    trace = load(f"trace_ddrm_{name}")
    A = operator(name.rsplit("_", 1)[0])
    recorded = {(k, "step"): n for k, n in enumerate(pictures_drawn(trace, A))}
    recorded[0, "start"] = A.from_spectrum(tensor(trace["x_init"]))
    problem = Problem(tensor(trace["y_0"]), A, float(meta(trace)["sigma_0"]))  # type: ignore[arg-type]
    method = methods.ddrm(nfe=10, released=True)
    result = reconstruct(problem, toy_prior(codec=NetworkUnits()), method, seeds=RecordedNoise(recorded), trace=True)
    assert result.trace is not None and len(result.trace) == 10
    assert worst(result.trace[0].state.x, trace["xs"][0]) < 1e-5
    for step, x, x0 in zip(result.trace, trace["xs"][1:], trace["x0_preds"], strict=True):
        rounding = max(1e-5, 1e-6 / float(ABAR[int(step.state.t[0]) - 1]) ** 0.5)  # of the recording in float32
        assert worst(step.raw.x0, x0) < rounding
        assert worst(step.x_s, x) < 1e-5


@pytest.mark.parametrize("name", TRACES)
def test_transcription(name: str) -> None:
    trace = load(f"trace_ddrm_{name}")
    A = operator(name.rsplit("_", 1)[0])
    pictures, start = pictures_drawn(trace, A), A.from_spectrum(tensor(trace["x_init"]))
    svd = Svd(A.s, A.to_spectrum, A.from_spectrum, A.measured_to_spectrum, A.spectrum_to_measured)
    found = paper.ddrm(
        at_timestep(toy_eps),
        ABAR,
        meta(trace)["seq"],  # type: ignore[arg-type]
        tensor(trace["y_0"]),
        svd,
        float(meta(trace)["sigma_0"]),  # type: ignore[arg-type]
        lambda k, purpose, like: start if purpose == "start" else pictures[k],
        torch.zeros_like(start),
        released=True,
    )
    assert worst(found, trace["xs"][-1]) < 1e-5
