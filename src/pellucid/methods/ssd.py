"""Shortcut sampling for diffusion."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import ceil

from pellucid.consistency.backprojection import BackProjection, QuietBackProjection
from pellucid.consistency.base import Consistency
from pellucid.consistency.when import During
from pellucid.errors import CompatibilityError, require_range
from pellucid.grid import Inclusive, Through
from pellucid.method import Method
from pellucid.prior.attention import AttentionInjection
from pellucid.start.initial import PseudoInverse
from pellucid.start.inversion import Ascend
from pellucid.transition import Mixed


def ssd(
    nfe: int = 30,
    t0: float = 0.55,
    eta: float = 0.4,
    ddim_eta: float = 0.8,
    n_inv: int | None = None,
    project: bool = True,
    attention: bool = False,
) -> Method:
    """SSD: carry A^+ y up by distortion-adaptive inversion, come down with back-projection. For noiseless measurements.

    Reference: Liu et al., Accelerating Diffusion Models for Inverse Problems through Shortcut Sampling, IJCAI 2024.

    Equations: inversion of eq. (11) in `Ascend`, back-projection of eq. (17) in `BackProjection`, eps kept; x0
    clipped to the prior's bounds first, as in the code; generation as DDNM's step with eta = `ddim_eta`.

    Defaults: 30 calls are 5 points up and 25 down, 100 are 15 and 85; t0 = 0.55 and eta = 0.4, for grey pictures 0.75
    and 0.8. The first inversion point costs no call, so 30 are really 29.

    Args:
        nfe: points of the two grids together.
        t0: the top, as a share of all time.
        eta: share of fresh noise on the way up: 0 is DDIM inversion, 1 the forward process.
        ddim_eta: share of fresh noise on the way down.
        n_inv: points on the way up; 15 % of nfe, rounded up, if not given.
        project: False leaves back-projection out, for the paper's ablation: what comes out is the inversion's alone,
            DDIM's at eta = 0, DDPM's at eta = 1.
        attention: inject the attention maps of the upper half of the way up into the way down, as the first version of
            the paper did; needs a network with attention.
    """
    held = BackProjection() if project else Consistency()
    method = _shortcut("ssd", held, nfe, t0, eta, ddim_eta, n_inv)
    return _with_attention(method) if attention else method


def ssd_plus(
    nfe: int = 30,
    t0: float = 0.55,
    t_stop: float | None = None,
    eta: float = 0.4,
    ddim_eta: float = 0.8,
    n_inv: int | None = None,
) -> Method:
    """SSD+: SSD that lets go of the measurement on the way down, for noisy measurements and inexact operators.

    Reference: Liu et al., Accelerating Diffusion Models for Inverse Problems through Shortcut Sampling, IJCAI 2024.

    Equations: as `ssd`, back-projection in the first generation steps only (`During`, `QuietBackProjection`).

    Differences: the paper's t_stop = 0.2 lets go of a clean measurement far too early and of a very noisy one too
    late; by default each singular direction is let go once the process is quieter than the measurement is there.

    Args:
        nfe, t0, eta, ddim_eta, n_inv: see `ssd`.
        t_stop: back-project in the first (t0 - t_stop) / t0 of the generation steps; 0.2 is the paper's. None: by the
            noise.
    """
    held: Consistency = QuietBackProjection()
    if t_stop is not None:
        require_range("t_stop", t_stop, 0, t0)
        held = During(BackProjection(), last=int((t0 - t_stop) / t0 * (nfe - _inversion_points(nfe, n_inv))))
    return _shortcut("ssd+", held, nfe, t0, eta, ddim_eta, n_inv)


def _inversion_points(nfe: int, n_inv: int | None) -> int:
    return n_inv if n_inv is not None else max(2, ceil(0.15 * nfe))


def _shortcut(
    name: str, consistency: Consistency, nfe: int, t0: float, eta: float, ddim_eta: float, n_inv: int | None
) -> Method:
    up = _inversion_points(nfe, n_inv)
    if not 1 <= up < nfe:
        raise CompatibilityError(f"{name} needs 3 calls or more, with points up and down: not {nfe}, {up} of them up")
    start = Ascend(PseudoInverse(), Inclusive(up), t0, eta)
    return Method(Inclusive(nfe - up), Mixed(ddim_eta), start=start, consistency=consistency, clip="keep", name=name)


def _with_attention(method: Method) -> Method:
    """Points 6 .. n - 2 of 15 on the way up, 2 and 3 of 5: the upper half without the top itself."""
    assert isinstance(method.start, Ascend) and isinstance(method.start.grid, Inclusive)
    up = method.start.grid
    points = tuple(range(max(1, round(0.4 * up.steps)), up.steps - 1))
    return replace(method, grid=Through(method.grid, up, points), wrap=partial(AttentionInjection, points=len(points)))
