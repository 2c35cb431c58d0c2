"""Tiles give what the whole picture gives, count once, keep derivatives, and leave no seam."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from pellucid.account import counting
from pellucid.errors import CompatibilityError
from pellucid.nn.edm import EDMDenoiser
from pellucid.nn.unet import UNet
from pellucid.prior.base import State
from pellucid.prior.diffusion import DiffusionPrior
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
