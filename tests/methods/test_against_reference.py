"""Every composed method equals the straight transcription of its paper's algorithm, with the same noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from pellucid import methods
from pellucid.method import Method
from pellucid.operators.mask import Mask
from pellucid.operators.tomography import ParallelBeam
from pellucid.start.initial import PseudoInverse
from tests.methods.setting import Setting
from tests.reference import (
    adir,
    admm,
    ccdf,
    daps,
    ddnm,
    ddrm,
    diffpir,
    dmps,
    dps,
    fbp,
    flash,
    latent_ddnm,
    ldps,
    mcg,
    pigdm,
    red_diff,
    repaint,
    resample,
    ssd,
    unconditional,
)
from tests.reference.symbols import f0
from tests.toys import ABAR, ToySeverity

N = 10
TRAILING = [round(1000 * k / N) - 1 for k in range(1, N + 1)]  # pellucid's Uniform
FINE = list(range(9, 1000, 10))  # DMPS, whose guidance is stable for small steps only
LEADING = [100 * k for k in range(N)]  # DDRM, DDNM
RESPACED = [round(999 * k / (N - 1)) for k in range(N)]  # guided-diffusion
NEAR = [round(300 * k / N) - 1 for k in range(1, N + 1)]  # CCDF, up to t0 = 300
QUADRATIC = [round(1000 * (k / N) ** 2) - 1 for k in range(1, N + 1)]  # DiffPIR, dense near 0
RHO_STEP = 200  # the timestep whose noise level PnP-ADMM's denoiser works at

Transcription = Callable[[Setting], Tensor]


@dataclass(frozen=True)
class Case:
    """A method with the paper's constants, its transcription, and operators to compare them on."""

    preset: str
    method: Method
    transcription: Transcription
    operators: tuple[str, ...] = ("mask", "blur", "bicubic")
    learned_variance: bool = False


def _noiseward(q: Setting, timesteps: list[int]) -> tuple[Callable[[Tensor, int], Tensor], Tensor, list[int], Tensor]:
    return q.eps, ABAR, timesteps, q.x_T(timesteps[-1])


def _guided(q: Setting) -> tuple[Any, ...]:
    return *_noiseward(q, TRAILING), q.y, q.operator, lambda z: z, q.draw


def _travel(timesteps: list[int], length: int, repeat: int) -> list[int]:
    return [timesteps[i] if i >= 0 else -1 for i in repaint.schedule(len(timesteps), length, repeat)]


def _mask(q: Setting) -> Tensor:
    assert isinstance(q.operator, Mask)
    return q.operator(torch.ones_like(q.like))


def _pnp(q: Setting) -> Tensor:
    a, svd = float(ABAR[RHO_STEP]), q.svd(kept=False)
    rho = q.sigma**2 * a / (1 - a)

    def solve(r: Tensor) -> Tensor:
        return svd.V(svd.Vt(r) / (svd.s**2 + rho.reshape(-1, *(1,) * (svd.Vt(r).ndim - 1))))

    def denoise(v: Tensor) -> Tensor:
        return f0(a**0.5 * v, q.eps(a**0.5 * v, RHO_STEP), a)

    return admm.pnp_admm(denoise, solve, q.operator.adjoint(q.y), q.operator.pinv(q.y), rho, 8)


def _tv(q: Setting) -> Tensor:
    A, At = q.operator, q.operator.adjoint
    alone = [admm.admm_tv(A, At, y[None], A.pinv(y[None]), 0.05, 0.5, 15, 20, 1e-3) for y in q.y]
    return torch.cat(alone)


def _fbp(q: Setting, window: str) -> Tensor:
    a = q.operator
    assert isinstance(a, ParallelBeam)
    span, tau = math.radians(a.geometry.span), a.geometry.spacing
    unit = 1.0 if a.unit == "pixel" else 1 / a.image_shape[2]
    return 2 * fbp.fbp(_above_black(q), a.adjoint, span, tau, unit, window) - 1


def _cgls(q: Setting, iterations: int) -> Tensor:
    alone = [fbp.cgls(q.operator, q.operator.adjoint, y[None], iterations) for y in _above_black(q)]
    return 2 * torch.cat(alone) - 1


def _above_black(q: Setting) -> Tensor:
    """The measurement in the units of pictures in [0, 1]."""
    return (q.y + q.operator(torch.ones_like(q.like))) / 2


def _flash(q: Setting) -> Tensor:
    """The noise levels are those that ToySeverity takes for severities."""
    z_hat = 2 * q.operator.pinv((q.y + q.operator(torch.ones_like(q.like))) / 2) - 1

    def one(k: int) -> Tensor:
        def draw(step: int, purpose: str, like: Tensor) -> Tensor:
            return q.draw(step, purpose, like.expand(2, *like.shape[1:]))[k : k + 1]

        s2 = 0.02 + float(q.sigma[k]) / 2
        operator = q.operator.select(torch.tensor([k]))
        return flash.flash(
            q.eps, ABAR, z_hat[k : k + 1], s2, q.y[k : k + 1], operator, lambda z: z, draw, eta=0.4, c=None, clip=True
        )

    return torch.cat([one(0), one(1)])


def _estimate(q: Setting) -> Tensor:
    return 2 * q.operator.pinv(_above_black(q)) - 1


SIGMA_D = float((1 - ABAR[RHO_STEP]) ** 0.5 / ABAR[RHO_STEP] ** 0.5)

CASES: dict[str, Case] = {
    "ddim": Case(
        "unconditional",
        methods.unconditional(nfe=N, eta=0.0),
        lambda q: unconditional.ddim(*_noiseward(q, TRAILING), q.draw),
        ("mask",),
    ),
    "ddpm": Case(
        "unconditional",
        methods.unconditional(nfe=N, eta=1.0),
        lambda q: unconditional.ddpm(*_noiseward(q, TRAILING), q.draw),
        ("mask",),
    ),
    "dps-paper": Case(
        "dps",
        methods.dps(nfe=N, rule="paper", scale=0.7),
        lambda q: dps.dps(*_noiseward(q, RESPACED), q.y, q.operator, q.draw, scale=1.4),
        ("mask", "blur", "bicubic", "grey"),
    ),
    "dps-released": Case(
        "dps",
        methods.dps(nfe=N, rule="released", scale=0.3, learned_variance=True),
        lambda q: dps.dps(*_noiseward(q, RESPACED), q.y, q.operator, q.draw, scale=0.3),
        learned_variance=True,
    ),
    "adir": Case(
        "adir",
        methods.adir(nfe=N),
        lambda q: adir.adir(
            *_noiseward(q, TRAILING),
            q.y,
            q.operator,
            q.operator.adjoint,
            q.draw,
            s=None,
            norm=q.operator.norm(q.like),
            sigma=q.sigma,
            own_noise=True,
        ),
        ("mask", "blur", "bicubic", "grey"),
    ),
    "adir-paper": Case(
        "adir",
        methods.adir(nfe=N, rule="paper", carried="paper", learned_variance=True),
        lambda q: adir.adir(*_noiseward(q, RESPACED), q.y, q.operator, q.operator.adjoint, q.draw),
        ("mask", "blur", "bicubic", "grey"),
        learned_variance=True,
    ),
    "mcg": Case(
        "mcg",
        methods.mcg(nfe=N, rule="released"),
        lambda q: mcg.mcg(*_noiseward(q, TRAILING), q.y, q.operator, q.operator.pinv, q.draw),
    ),
    "mcg-released": Case(
        "mcg",
        methods.mcg(nfe=N, rule="released", level="t"),
        lambda q: mcg.mcg(*_noiseward(q, TRAILING), q.y, q.operator, q.operator.pinv, q.draw, released=True),
        ("mask", "box"),
    ),
    "ddrm": Case(
        "ddrm",
        methods.ddrm(nfe=N),
        lambda q: ddrm.ddrm(q.eps, ABAR, LEADING, q.y, q.svd(), q.sigma, q.draw, q.like),
        ("mask", "blur", "bicubic", "grey"),
    ),
    "ddrm-released": Case(
        "ddrm",
        methods.ddrm(nfe=N, eta=0.6, eta_b=0.9, released=True),
        lambda q: ddrm.ddrm(
            q.eps, ABAR, LEADING, q.y, q.svd(), q.sigma, q.draw, q.like, eta=0.6, eta_b=0.9, released=True
        ),
    ),
    "ddnm": Case(
        "ddnm",
        methods.ddnm(nfe=N),
        lambda q: ddnm.ddnm(
            q.eps, ABAR, [*LEADING[::-1], -1], q.x_T(LEADING[-1]), q.y, q.operator, q.operator.pinv, q.draw
        ),
        ("mask", "blur", "bicubic", "average", "grey"),
    ),
    "ddnm-travel": Case(
        "ddnm",
        methods.ddnm(nfe=N, travel_length=2, travel_repeat=3),
        lambda q: ddnm.ddnm(
            q.eps, ABAR, _travel(LEADING, 2, 3), q.x_T(LEADING[-1]), q.y, q.operator, q.operator.pinv, q.draw
        ),
    ),
    "ddnm-plus": Case(
        "ddnm+",
        methods.ddnm_plus(nfe=N, travel_length=3, travel_repeat=2),
        lambda q: ddnm.ddnm_plus(
            q.eps,
            ABAR,
            _travel(LEADING, 3, 2),
            q.x_T(LEADING[-1]),
            q.y,
            q.operator,
            q.operator.pinv,
            q.svd(),
            q.sigma,
            q.draw,
        ),
        ("mask", "blur", "bicubic", "average", "grey"),
    ),
    "dmps": Case(
        "dmps",
        methods.dmps(nfe=100),
        lambda q: dmps.dmps(*_noiseward(q, FINE), q.y, q.svd(kept=False), q.sigma, q.draw, clip=False),
        ("mask", "blur", "bicubic", "grey"),
    ),
    "pigdm": Case(
        "pigdm",
        methods.pigdm(nfe=N, data_std=1.0, bounded=False),
        lambda q: pigdm.pigdm(*_noiseward(q, TRAILING), q.y, q.svd(kept=False), q.sigma, q.draw),
    ),
    "diffpir": Case(
        "diffpir",
        methods.diffpir(nfe=N, lam=7.0, zeta=0.3, data_std=None, power=2.0),
        lambda q: diffpir.diffpir(*_noiseward(q, QUADRATIC), q.y, q.svd(kept=False), q.sigma, q.draw),
    ),
    "ccdf": Case(
        "ccdf",
        methods.ccdf(nfe=N, fraction=0.3),
        lambda q: ccdf.ccdf(
            q.eps, ABAR, NEAR, q.operator.pinv(q.y), q.y, q.operator, q.operator.pinv, q.draw, clip=False
        ),
    ),
    "ccdf-dps": Case(
        "ccdf-dps",
        methods.ccdf_dps(nfe=N, fraction=0.3, rule="paper", scale=0.5, initial=PseudoInverse()),
        lambda q: ccdf.ccdf_dps(q.eps, ABAR, NEAR, q.operator.pinv(q.y), q.y, q.operator, q.draw, scale=1.0),
    ),
    "resample": Case(
        "resample",
        methods.resample(nfe=N, every=2, solver="adamw", pixel_steps=20, latent_steps=20),
        lambda q: resample.algorithm_1(
            *_noiseward(q, TRAILING),
            q.y,
            q.operator,
            lambda z: z,
            lambda x: x,
            q.draw,
            sigma=q.sigma,
            every=2,
            gamma=40 * N / 500,  # the paper's 40 is for 500 steps
            steps=(20, 20),
        ),
    ),
    "ldps": Case(
        "ldps",
        methods.ldps(nfe=N, rule="released", scale=0.4),
        lambda q: ldps.ldps(*_guided(q), eta=0.4, clip=True),
    ),
    "flash": Case(
        "flash",
        methods.flash("ldps:rule=released,scale=0.4", ToySeverity(), match=True),
        _flash,
        ("blur", "average"),
    ),
    "ae": Case("ae", methods.ae(ToySeverity()), _estimate, ("mask", "blur", "average")),
    "gml-dps": Case(
        "gml-dps",
        methods.gml_dps(nfe=N, rule="released", scale=0.4, weight=0.2),
        lambda q: ldps.ldps(*_guided(q), eta=0.4, clip=True),  # D and E undo each other: no second term
    ),
    "psld": Case(
        "psld",
        methods.psld(nfe=N, rule="released", scale=0.4, weight=0.2, eta=0.0),
        lambda q: ldps.psld(
            *_noiseward(q, TRAILING),
            q.y,
            q.operator,
            q.operator.adjoint,
            lambda z: z,
            lambda x: x,
            q.draw,
            omega=0.4,
            gamma=0.2,
            clip=True,
        ),
    ),
    "ccdf-l": Case(
        "ccdf-l",
        methods.ccdf_l(nfe=N, fraction=0.3, rule="paper", scale=0.5, initial="pinv"),
        lambda q: ccdf.ccdf_dps(q.eps, ABAR, NEAR, q.operator.pinv(q.y), q.y, q.operator, q.draw, scale=1.0),
    ),
    "latent-ddnm": Case(
        "latent-ddnm",
        methods.latent_ddnm(nfe=N),
        lambda q: latent_ddnm.latent_ddnm(
            *_noiseward(q, TRAILING), q.y, q.svd(), q.sigma, lambda z: z, lambda x: x, q.draw
        ),
        ("mask", "blur", "bicubic", "grey"),
    ),
    "daps": Case(
        "daps",
        methods.daps(nfe=3 * N, ode_steps=3, langevin_steps=6, data_std=None, power=1.0),
        lambda q: daps.daps(
            *_noiseward(q, TRAILING),
            q.y,
            q.operator,
            q.operator.adjoint,
            q.operator.norm(q.like),
            q.sigma,
            q.draw,
            ode_steps=3,
            langevin_steps=6,
            clip=True,
        ),
        ("mask", "blur", "bicubic", "grey"),
    ),
    "red-diff": Case(
        "red-diff",
        methods.red_diff(nfe=N, rule="paper", weight=0.25, decay=False, adam_eps=None, memory=0.999),
        lambda q: red_diff.red_diff(q.eps, ABAR, TRAILING, 0 * q.like, q.y, q.operator, q.sigma, q.draw, clip=True),
        ("mask", "blur", "bicubic", "grey"),
    ),
    "ssd": Case(
        "ssd",
        methods.ssd(nfe=14, n_inv=5),
        lambda q: ssd.ssd(q.eps, ABAR, 550, 5, 9, q.y, q.operator, q.operator.pinv, q.draw),
        ("mask", "blur", "bicubic", "average", "grey"),
    ),
    "ssd-learned": Case(
        "ssd",
        methods.ssd(nfe=30, t0=0.75, eta=0.8),
        lambda q: ssd.ssd(q.eps, ABAR, 750, 5, 25, q.y, q.operator, q.operator.pinv, q.draw, eta=0.8),
        ("grey",),
        learned_variance=True,
    ),
    "ssd-plus": Case(
        "ssd+",
        methods.ssd_plus(nfe=30, t_stop=0.2),
        lambda q: ssd.ssd(q.eps, ABAR, 550, 5, 25, q.y, q.operator, q.operator.pinv, q.draw, t_stop=200),
    ),
    "repaint": Case(
        "repaint",
        methods.repaint(nfe=N, travel_length=2, travel_repeat=3),
        lambda q: repaint.repaint(
            q.eps, ABAR, _travel(TRAILING, 2, 3), q.x_T(TRAILING[-1]), q.y, _mask(q), q.draw, clip=False
        ),
        ("mask", "box"),
    ),
    "pinv": Case("pinv", methods.pinv(), lambda q: q.operator.pinv(q.y)),
    "fbp": Case("fbp", methods.fbp(), lambda q: _fbp(q, "ramp"), ("tomography", "limited")),
    "fbp-hann": Case("fbp", methods.fbp("hann"), lambda q: _fbp(q, "hann"), ("tomography",)),
    "cgls": Case("cgls", methods.cgls(iterations=7), lambda q: _cgls(q, 7), ("tomography", "blur")),
    "pnp-admm": Case("pnp-admm", methods.pnp_admm(nfe=8, sigma_d=SIGMA_D, sigma_first=SIGMA_D), _pnp),
    "admm-tv": Case(
        "admm-tv", methods.admm_tv(iterations=15, lam=0.05, rho=10.0), _tv, ("mask", "blur", "bicubic", "grey")
    ),
}


@pytest.mark.parametrize(("name", "operator"), [(n, o) for n, case in CASES.items() for o in case.operators])
def test_composed_method_equals_its_transcription(name: str, operator: str) -> None:
    case = CASES[name]
    setting = Setting.of(operator, learned_variance=case.learned_variance)
    found, wanted = setting.run(case.method), case.transcription(setting)
    assert torch.isfinite(wanted).all()
    assert float((found - wanted).abs().max()) < 1e-10 * max(1.0, float(wanted.abs().max()))


def test_every_method_has_a_transcription() -> None:
    """Dirac, whose prior is one of a degradation, is held against its own in tests/methods/test_dirac.py."""
    assert {case.preset for case in CASES.values()} == set(methods.METHODS) - {"dirac"}
