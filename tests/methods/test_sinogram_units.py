"""A sinogram in pixels or in widths of the picture is the same measurement: the answer must not depend on the unit."""

from __future__ import annotations

import pytest
import torch

from pellucid import GaussianPrior, Method, Problem, methods, reconstruct
from pellucid.operators import ParallelBeam
from pellucid.operators.tomography import Tomograph

SHAPE = (1, 16, 16)

METHODS: dict[str, Method] = {
    "fbp": methods.fbp(),
    "cgls": methods.cgls(),
    "admm-tv": methods.admm_tv(iterations=20),
    "admm-tv, lam": methods.admm_tv(iterations=20, lam=0.01),
    "pnp-admm": methods.pnp_admm(nfe=4),
    "dps": methods.dps(4),
    "mcg": methods.mcg(4),
    "pigdm": methods.pigdm(4),
    "ddnm": methods.ddnm(4),
    "diffpir": methods.diffpir(4),
    "ldps": methods.ldps(4),
    "gml-dps": methods.gml_dps(4),
    "psld": methods.psld(4),
    "latent-ddnm": methods.latent_ddnm(4),
    "daps": methods.daps(4, langevin_steps=5),
    "red-diff": methods.red_diff(20),
    "resample": methods.resample(4),
}


def picture() -> torch.Tensor:
    v, u = torch.meshgrid(*2 * [torch.linspace(-1, 1, 16, dtype=torch.float64)], indexing="ij")
    return (0.8 * (u**2 + v**2 < 0.7) - 0.4 * ((u - 0.2) ** 2 + v**2 < 0.1)).double()[None, None]


def problem(unit: str, noise: float) -> Problem:
    pixels = ParallelBeam(SHAPE, 7, unit="pixel")
    n = torch.randn(1, *pixels.measurement_shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    operator: Tomograph = ParallelBeam(SHAPE, 7, unit=unit)
    return Problem((pixels(picture()) + noise * n) * operator.length, operator, noise * operator.length)


@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize("name", METHODS)
def test_the_unit_of_a_sinogram_changes_nothing(name: str, noise: float) -> None:
    prior = GaussianPrior(torch.full(SHAPE, 0.25, dtype=torch.float64), 0.1)
    a, b = (reconstruct(problem(unit, noise), prior, METHODS[name]).image for unit in ("pixel", "width"))
    assert (a - a.mean()).abs().max() > 0.1
    torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
