"""A supervised network as a start: it sees the measurement of pictures in [0, 1], whatever the prior's range."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pellucid.codec import AffineCodec
from pellucid.errors import CompatibilityError, NeedsCapability, ShapeError
from pellucid.loop import reconstruct
from pellucid.methods.ccdf import ccdf
from pellucid.nn.swinir import SwinIR
from pellucid.noise import SeededNoise
from pellucid.operators import HDR, Bicubic, GaussianBlur, Grey, Mask, Operator, PhaseRetrieval
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.problem import Problem
from pellucid.start.initial import Noised
from pellucid.start.network import Restored, Shown, restore

SHAPE = (3, 8, 12)


class Remembering(nn.Module):
    """Keeps what it was shown and gives back its double size."""

    def __init__(self, scale: int = 1) -> None:
        super().__init__()
        self.scale = scale
        self.seen = torch.empty(0)

    def forward(self, v: Tensor) -> Tensor:
        self.seen = v
        return 0.5 * v.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)


def prior() -> DiffusionPrior:
    return DiffusionPrior(lambda x, t: 0.1 * x)


def started(operator: Operator, network: nn.Module, y: Tensor, shown: Shown = "auto") -> Tensor:
    """The start's picture in [0, 1]."""
    model = prior()
    observation = model.codec.observe(Problem(y, operator, 0.02))
    top = torch.ones(len(y), dtype=torch.float64)
    state = Restored(network, shown)(observation, model, SeededNoise([1, 2]), top)
    assert not state.t.any()
    return model.codec.decode(state.x)


@pytest.mark.parametrize(
    "make", [lambda: GaussianBlur(SHAPE, 1.0), lambda: Mask.random(SHAPE, 0.5), lambda: HDR(SHAPE)]
)
def test_it_sees_the_measurement_in_units_of_pictures(make: object) -> None:
    operator = make()  # type: ignore[operator]
    network = Remembering()
    y = operator(torch.rand(2, *SHAPE))
    image = started(operator, network, y)
    torch.testing.assert_close(network.seen, y)
    torch.testing.assert_close(image, 0.5 * y)


def test_it_enlarges_and_falls_back_on_the_pseudo_inverse() -> None:
    x = torch.rand(2, *SHAPE)
    small = Bicubic(SHAPE, 2)
    network = Remembering(2)
    assert started(small, network, small(x)).shape == x.shape and network.seen.shape == (2, 3, 4, 6)
    with pytest.raises(ShapeError, match="enlarges"):
        started(small, Remembering(1), small(x))
    same = Remembering()
    started(small, same, small(x), "pinv")
    torch.testing.assert_close(same.seen, small.pinv(small(x)))
    grey = Grey(SHAPE)
    started(grey, same, grey(x))
    torch.testing.assert_close(same.seen, grey.pinv(grey(x)))


def test_it_starts_ccdf_from_its_answer_noised() -> None:
    operator, x = GaussianBlur(SHAPE, 1.0), torch.rand(2, *SHAPE)
    y, model, start = operator(x), prior(), Noised(Restored(Remembering()), 0.3)
    top = torch.ones(2, dtype=torch.float64)
    state = start(model.codec.observe(Problem(y, operator)), model, SeededNoise([1, 2]), top)
    alpha, sigma = (float(f(state.t)[0]) for f in (model.process.alpha, model.process.sigma))
    z = SeededNoise([1, 2]).normal(y, 0, "start")
    torch.testing.assert_close(state.x, alpha * (y - 1) + sigma * z)
    method = ccdf(5, 0.3, Restored(Remembering()))
    both = reconstruct(Problem(y, operator), model, method, seeds=[1, 2]).image
    alone = reconstruct(Problem(y[1:], operator), model, method, seeds=[2]).image
    torch.testing.assert_close(both[1:], alone, rtol=0, atol=1e-4)


def test_a_colour_network_takes_grey_pictures() -> None:
    network = SwinIR(width=8, depths=(1,), heads=2, window=4).eval()
    v = torch.rand(1, 1, 5, 6)
    out = restore(network, v)
    assert out.shape == v.shape and not out.requires_grad
    torch.testing.assert_close(out, network(v.expand(-1, 3, -1, -1)).detach().mean(1, keepdim=True))
    assert restore(network, v.double()).dtype == torch.float32


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(CompatibilityError, match="auto, y or pinv"):
        Restored(Remembering(), "x")  # type: ignore[arg-type]
    x = torch.rand(2, *SHAPE)
    with pytest.raises(NeedsCapability, match="linear"):
        started(HDR(SHAPE), Remembering(), x, "pinv")
    phase = PhaseRetrieval(SHAPE)
    with pytest.raises(NeedsCapability, match="no picture"):
        started(phase, Remembering(), phase(x))


def test_other_ranges_are_undone_too() -> None:
    operator, y = GaussianBlur(SHAPE, 1.0), torch.rand(1, *SHAPE)
    network, model = Remembering(), prior()
    model.codec = AffineCodec(5.0, 0.3)
    observation = model.codec.observe(Problem(y, operator))
    Restored(network)(observation, model, SeededNoise([1]), torch.ones(1, dtype=torch.float64))
    torch.testing.assert_close(network.seen, y)
