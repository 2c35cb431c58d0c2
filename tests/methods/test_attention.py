"""SSD's attention injection."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from pellucid.errors import CompatibilityError
from pellucid.grid import Inclusive, Through
from pellucid.loop import reconstruct
from pellucid.methods import ssd
from pellucid.nn.edm import EDMDenoiser
from pellucid.nn.unet import UNet
from pellucid.operators import Mask
from pellucid.prior.attention import AttentionInjection
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Problem
from pellucid.process import DiscreteVP


def network() -> EDMDenoiser:
    torch.manual_seed(0)
    net = UNet(widths=(8, 16), blocks=(1, 2), heads=2, embedding=16)
    for parameter in net.parameters():  # the zero-initialised head would hide everything
        torch.nn.init.normal_(parameter, std=0.08)
    return EDMDenoiser(net).double().eval()


def test_the_way_down_passes_through_the_recorded_times() -> None:
    process, start = DiscreteVP.linear(), torch.tensor([550.0], dtype=torch.float64)
    times = Through(Inclusive(25), Inclusive(5), (2, 3)).times(process, start)
    assert {275.0, 413.0} <= set(times.flatten().tolist()) and times.shape == (26, 1)
    assert (times.diff(dim=0) < 0).all()


def test_maps_are_replayed_at_the_shared_times_and_change_the_result() -> None:
    prior = DiffusionPrior(network(), predicts="denoiser", multiple=4)
    wrapped: list[AttentionInjection] = []
    method = ssd(30, attention=True)
    assert method.wrap is not None

    def spy(given: DiffusionPrior) -> AttentionInjection:
        wrapped.append(method.wrap(given))  # type: ignore[misc, arg-type]
        return wrapped[-1]

    problem = Problem(torch.rand(2, 3, 16, 16, dtype=torch.float64), Mask.random((3, 16, 16)), 0.0)
    injected = reconstruct(problem, prior, dataclasses.replace(method, wrap=spy))
    plain = reconstruct(problem, prior, dataclasses.replace(method, wrap=None))
    assert sorted(key[0] for key in wrapped[-1].replays) == [275.0, 413.0]
    assert (injected.image - plain.image).abs().max() > 1e-9
    assert torch.equal(injected.nfe, torch.tensor([29, 29]))
    assert all(layer.tap is None for layer in wrapped[-1].layers)


def test_the_tapped_path_equals_the_fast_one() -> None:
    net = network()
    x, sigma = torch.randn(2, 3, 16, 16, dtype=torch.float64), torch.tensor([0.3, 1.0], dtype=torch.float64)
    fast = net(x, sigma)
    (layer,) = [m for m in net.modules() if hasattr(m, "tap")]
    layer.tap = lambda maps: maps  # type: ignore[assignment]
    assert torch.allclose(net(x, sigma), fast, atol=1e-12)


def test_a_prior_without_attention_is_refused() -> None:
    problem = Problem(torch.rand(1, 3, 8, 8, dtype=torch.float64), Mask.random((3, 8, 8)))
    with pytest.raises(CompatibilityError, match="attention=False"):
        reconstruct(problem, GaussianPrior.natural(8), ssd(attention=True))
