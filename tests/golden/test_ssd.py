"""The SSD authors' code, 6 points up and 9 down: the composed methods go the same way, SSD+ through stored factors."""

from __future__ import annotations

import pytest
from torch import Tensor

from pellucid import methods
from pellucid.loop import reconstruct
from pellucid.noise import RecordedNoise
from pellucid.operators.base import LinearOperator
from pellucid.operators.resize import Bicubic
from pellucid.problem import Problem
from tests.golden.data import draws, load, tensor, worst
from tests.golden.stored import StoredBlur, ssd_factors
from tests.reference import ssd as paper
from tests.toys import ABAR, SHAPE, NetworkUnits, at_timestep, toy_eps, toy_prior


def test_bicubic_is_the_published_one() -> None:
    arrays = load("ops_ssd")
    A, x, z = Bicubic(SHAPE, 4), tensor(arrays["x"]), tensor(arrays["z"])
    assert worst(A(x), arrays["sr_bicubic4.forward"]) < 1e-5
    assert worst(A.pinv(A(x)), arrays["sr_bicubic4.transpose"]) < 1e-5
    assert worst(z - A.pinv(A(z)) + A.pinv(A(x)), arrays["sr_bicubic4.project_z_y"]) < 1e-5


def deblurring() -> StoredBlur:
    """SSD's: nine taps, std 15."""
    arrays = load("ops_ssd")
    return StoredBlur(ssd_factors(tensor(arrays["x"]), tensor(arrays["deblur_gauss.forward"])), "ssd")


def test_deblurring_is_the_published_one() -> None:
    arrays = load("ops_ssd")
    A, x, z = deblurring(), tensor(arrays["x"]), tensor(arrays["z"])
    assert worst(A(x).reshape(x.shape), arrays["deblur_gauss.forward"]) < 1e-5
    assert worst(A.pinv(A(x)), arrays["deblur_gauss.transpose"]) < 1e-5
    assert worst(z - A.pinv(A(z)) + A.pinv(A(x)), arrays["deblur_gauss.project_z_y"]) < 1e-5


def problem(name: str) -> tuple[dict, LinearOperator, Tensor]:
    """The trace, its operator, and its measurement."""
    trace = load(f"trace_{name}")
    A: LinearOperator = Bicubic(SHAPE, 4) if name == "ssd_sr4" else deblurring()
    return trace, A, tensor(trace["lq"]).reshape(1, *A.measurement_shape)


@pytest.mark.parametrize("name", ["ssd_sr4", "ssdplus_deblur"])
def test_composed(name: str) -> None:
    trace, A, y = problem(name)
    noise = draws(trace)
    recorded = {(k, "ascend"): z for k, z in enumerate(noise[:5])} | {(k, "step"): z for k, z in enumerate(noise[5:])}
    released = {
        "ssd_sr4": methods.ssd(nfe=15, n_inv=6),
        "ssdplus_deblur": methods.ssd_plus(nfe=15, n_inv=6, t_stop=0.2),
    }
    prior, method = toy_prior(codec=NetworkUnits()), released[name]
    result = reconstruct(Problem(y, A), prior, method, seeds=RecordedNoise(recorded), trace=True)
    assert result.trace is not None
    assert [int(step.state.t) - 1 for step in result.trace] == trace["model_t"][5:, 0].tolist()
    for step, x in zip(result.trace, trace["model_x"][5:], strict=True):
        assert worst(step.state.x, x) < 1e-5
    assert worst(result.image / 2 + 0.5, trace["out01"]) < 1e-5
    assert result.nfe.tolist() == [14]


@pytest.mark.parametrize("name", ["ssd_sr4", "ssdplus_deblur"])
def test_transcription(name: str) -> None:
    trace, A, y = problem(name)
    noise = draws(trace)
    found = paper.ssd(
        at_timestep(toy_eps),
        ABAR,
        550,
        6,
        9,
        y,
        A,
        A.pinv,
        lambda k, purpose, like: noise[k if purpose == "ascend" else 5 + k],
        t_stop=None if name == "ssd_sr4" else 200,
    )
    assert worst(found / 2 + 0.5, trace["out01"]) < 1e-5
