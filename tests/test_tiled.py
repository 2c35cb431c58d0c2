"""Tiles give what the whole picture gives, count once, keep derivatives, and leave no seam."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from pellucid import Problem, reconstruct
from pellucid.account import counting
from pellucid.degradation import Degradation
from pellucid.errors import CompatibilityError
from pellucid.methods.dirac import dirac
from pellucid.nn.edm import EDMDenoiser
from pellucid.nn.unet import UNet
from pellucid.operators.families.blur import BlurFamily
from pellucid.operators.families.masks import MaskFamily
from pellucid.prior.base import State
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.prior.dirac import DiracPrior
from pellucid.prior.tiled import TiledPrior, spans, tiled, window


def local_network(x: Tensor, sigma: Tensor) -> Tensor:
    """A smoothing by 7 x 7 pixels, nonlinear, aware of the noise level."""
    kernel = torch.ones(x.shape[1], 1, 7, 7, dtype=x.dtype) / 49
    smooth = conv2d(pad(x, (3, 3, 3, 3), mode="reflect"), kernel, groups=x.shape[1])
    return torch.tanh(smooth) / (1 + sigma.to(x)[:, None, None, None])


def local_prior() -> DiffusionPrior:
    return DiffusionPrior(local_network, predicts="denoiser")


def state(*shape: int, dtype: torch.dtype = torch.float64) -> State:
    x = torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    return State(x, torch.linspace(100, 700, shape[0], dtype=torch.float64))


@pytest.mark.parametrize("align", [1, 8])
@pytest.mark.parametrize("side", [*range(1, 200, 7), 64, 65, 1000])
def test_spans_cover_and_overlap(side: int, align: int) -> None:
    cut = spans(side, 64, 16, align)
    assert cut[0][0] == 0 and cut[-1][1] == side
    assert all(begin % align == 0 for begin, _ in cut)
    assert all(a[1] - b[0] >= 16 and a[0] < b[0] for a, b in pairwise(cut))


@pytest.mark.parametrize("side", [65, 100, 131, 200])
def test_windows_add_up_to_something_everywhere(side: int) -> None:
    total = torch.zeros(side, dtype=torch.float64)
    for begin, end in spans(side, 64, 16):
        weight = window((begin, end), side, 16)
        assert begin == 0 or weight[:4].eq(0).all()
        total[begin:end] += weight
    assert (total >= 1 - 1e-12).all()


@pytest.mark.parametrize("shape", [(2, 3, 100, 131), (1, 1, 64, 200), (3, 3, 30, 50)])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_local_denoiser_cannot_tell(shape: tuple[int, ...], batch: int) -> None:
    whole, at = local_prior(), state(*shape)
    in_tiles = TiledPrior(whole, tile=64, overlap=16, batch=batch)
    assert (in_tiles.estimate(at).x0 - whole.estimate(at).x0).abs().max() < 1e-6


def test_one_call_an_image_and_one_vjp() -> None:
    prior, at = TiledPrior(local_prior(), 64, 16), state(2, 3, 100, 131)
    with counting(2) as account:
        estimate = prior.estimate(at, differentiable=True)
        assert estimate.vjp is not None
        estimate.vjp(estimate.x0)
    assert account.nfe.tolist() == [1, 1] and account.vjp.tolist() == [1, 1]


def test_derivatives_go_through_tiles() -> None:
    at, v = state(2, 3, 90, 100), state(2, 3, 90, 100).x.flip(0)
    tile_vjp = TiledPrior(local_prior(), 64, 16).estimate(at, differentiable=True).vjp
    whole_vjp = local_prior().estimate(at, differentiable=True).vjp
    assert tile_vjp is not None and whole_vjp is not None
    assert (tile_vjp(v) - whole_vjp(v)).abs().max() < 1e-6
    assert (tile_vjp(v) - whole_vjp(v)).abs().max() < 1e-6  # a second product of the same estimate


def test_learned_variance_is_tiled_too() -> None:
    network = lambda x, i: torch.cat([0.5 * x, torch.tanh(x)], 1)  # noqa: E731
    whole, at = DiffusionPrior(network, learned_variance=True), state(1, 3, 90, 100)
    mix = TiledPrior(whole, 64, 16).estimate(at).mix
    assert mix is not None
    torch.testing.assert_close(mix, whole.estimate(at).mix)


def test_image_alone_equals_image_in_a_batch() -> None:
    prior, at = TiledPrior(local_prior(), 64, 16, batch=3), state(3, 3, 90, 100)
    together = prior.estimate(at).x0
    for i in range(3):
        alone = prior.estimate(State(at.x[i : i + 1], at.t[i : i + 1])).x0
        torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-10)


def convolutional_prior() -> DiffusionPrior:
    """A U-Net whose random weights make a strong, structured output: worse for seams than a trained network."""
    torch.manual_seed(0)
    network = UNet(widths=[16, 24, 32], blocks=[1, 1, 1], heads=2, embedding=32)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    denoiser = EDMDenoiser(network).eval().requires_grad_(False)
    return DiffusionPrior(denoiser, predicts="denoiser", multiple=network.multiple)


def seam(x0: Tensor, whole: Tensor, prior: TiledPrior) -> float:
    """How much more the tiles' error jumps across their inner edges than from pixel to pixel elsewhere."""
    error = x0 - whole
    boxes = prior.boxes(*x0.shape[-2:])
    ratios = []
    for dim in (0, 1):
        edges = sorted({edge for box in boxes for edge in box[dim] if 0 < edge < x0.shape[dim - 2]})
        jumps = error.diff(dim=dim - 2).abs()
        ratios.append(float(jumps.index_select(dim - 2, torch.tensor(edges) - 1).mean() / jumps.mean()))
    return max(ratios)


def test_no_seam_is_visible() -> None:
    prior = convolutional_prior()
    picture = torch.linspace(-1, 1, 200).expand(1, 3, 180, 200)  # smooth: nothing hides a seam
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(1))
    at = State(picture + 0.1 * noise, torch.tensor([60.0], dtype=torch.float64))
    in_tiles, whole = TiledPrior(prior, tile=96, overlap=32), prior.estimate(at).x0
    abrupt = torch.zeros_like(whole)
    for rows, columns in in_tiles.boxes(180, 200):
        part = prior.estimate(State(at.x[..., slice(*rows), slice(*columns)], at.t)).x0
        abrupt[..., slice(*rows), slice(*columns)] = part
    assert seam(in_tiles.estimate(at).x0, whole, in_tiles) < 1.3
    assert seam(abrupt, whole, in_tiles) > 2  # the measure sees a seam where there is one


def test_only_large_pictures_are_tiled() -> None:
    prior = local_prior()
    assert tiled(prior, (3, 1000, 1000)) is prior
    assert isinstance(tiled(prior, (3, 1000, 1001)), TiledPrior)
    with pytest.raises(CompatibilityError):
        TiledPrior(prior, tile=64, overlap=32)


def clearing(y: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """A restoration of every pixel by itself, and the rate that it clears up with."""
    level = sigma.to(y)[:, None, None, None]
    return y + 3 * level * (y - 0.5), 2 * (y - 0.4) * (1 + level)


def rating(direct: bool, channels: int = 3) -> tuple[DiracPrior, Degradation]:
    process = Degradation(lambda shape: BlurFamily(shape, (0.3, 2.0), identity_below=0.0))
    return DiracPrior(clearing, process, direct=direct, rates=True, channels=channels), process


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 90, 100), (2, 1, 90, 70)])
def test_tiles_of_a_network_that_tells_rates(direct: bool, shape: tuple[int, ...]) -> None:
    whole, process = rating(direct)
    x = torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    at = State(x, torch.tensor([0.3, 0.9], dtype=torch.float64))
    parts = TiledPrior(whole, tile=64, overlap=16, batch=2)
    assert parts.rates and parts.direct is direct and not TiledPrior(local_prior(), 64, 16).rates
    for differentiable in (False, True):
        wanted, found = (prior.estimate(at, differentiable=differentiable) for prior in (whole, parts))
        assert wanted.rate is not None and found.rate is not None and found.mix is None
        for a, b in ((wanted.x0, found.x0), (wanted.eps, found.eps), (wanted.rate, found.rate)):
            assert a.shape == b.shape == x.shape and float((a - b).abs().max()) < 1e-9
    # eps is that of A_t(x_0) as the network has it, which is not that of x0 under the family's operator.
    own = process.eps(x, found.x0, at.t)
    assert direct == torch.allclose(own, found.eps, atol=1e-3)


@pytest.mark.parametrize("direct", [True, False])
def test_steps_by_the_network_s_rates_are_the_same_in_tiles(direct: bool) -> None:
    whole, process = rating(direct)
    operator = process.family((3, 80, 72)).at(0.8)
    y = operator(torch.rand(1, 3, 80, 72, dtype=torch.float64, generator=torch.Generator().manual_seed(3)))
    problem = Problem(y, operator, 0.03)
    method = dirac(6, increments="network")
    wanted, found = (
        reconstruct(problem, prior, method, seeds=1) for prior in (whole, TiledPrior(whole, tile=48, overlap=12))
    )
    assert wanted.nfe.tolist() == found.nfe.tolist() and float((wanted.image - y).abs().max()) > 0.01
    assert torch.allclose(wanted.image, found.image, atol=1e-9)


def test_a_network_that_is_shown_the_whole_picture_s_hole_takes_no_tiles() -> None:
    lifted = DiracPrior(lambda y, sigma: (y[:, :3], None), Degradation(MaskFamily), lifted=True, channels=3)
    parts = TiledPrior(lifted, tile=32, overlap=8)
    parts.check((3, 32, 30))
    with pytest.raises(CompatibilityError, match="whole picture"):
        parts.check((3, 32, 40))
