"""DnCNN and DRUNet: exact, complete, and denoisers of pictures in [-1, 1] once imported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pellucid.checkpoints import convert, dncnn, drunet
from pellucid.checkpoints.folder import load
from pellucid.loop import reconstruct
from pellucid.methods.admm import pnp_admm
from pellucid.nn.dncnn import DnCNN
from pellucid.nn.drunet import STRONGEST, DRUNet
from pellucid.nn.picture_denoiser import PictureDenoiser
from pellucid.operators import GaussianBlur
from pellucid.prior.base import State
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.problem import Problem
from tests.nn.golden import EXACT, published, recorded, relative
from tests.nn.importing import fits, through


def test_dncnn_computes_what_the_published_code_computes() -> None:
    weights, io, options = recorded("dncnn_reduced")
    network, plan = through("dncnn", weights)
    assert relative(network(io["x"]), io["out"]) < EXACT
    assert plan.parts[0].config == {"channels": 3, "width": options["nc"], "depth": options["nb"]}


def test_drunet_computes_what_the_published_code_computes() -> None:
    weights, io, options = recorded("drunet_color_reduced")
    network, plan = through("drunet", weights)
    assert isinstance(network, DRUNet)
    picture, level = io["x"][:, :3], io["x"][:, 3, 0, 0]
    assert relative(network.with_level(io["x"]), io["out"]) < EXACT
    assert relative(network(picture, level), io["out"]) < EXACT
    assert plan.parts[0].config == {"channels": 3, "widths": options["nc"], "blocks": options["nb"]}


@pytest.mark.parametrize("name", ["dncnn_15_25_50", "dncnn_color_blind", "dncnn_gray_blind"])
def test_dncnn_has_a_place_for_every_published_weight(name: str) -> None:
    assert fits("dncnn", published(name)) == published(name)
    assert dncnn.configuration(published(name))["depth"] == (17 if name == "dncnn_15_25_50" else 20)


@pytest.mark.parametrize("name", ["drunet_color", "drunet_gray"])
def test_drunet_has_a_place_for_every_published_weight(name: str) -> None:
    assert fits("drunet", published(name)) == published(name)
    wanted = {"channels": 3 if name == "drunet_color" else 1, "widths": [64, 128, 256, 512], "blocks": 4}
    assert drunet.configuration(published(name)) == wanted


def small() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"dncnn": DnCNN(3, 8, 5).requires_grad_(False), "drunet": DRUNet(3, (4, 6, 8, 10), 1).requires_grad_(False)}


def test_any_size_and_every_image_alone() -> None:
    x, sigma = torch.rand(3, 3, 11, 5), torch.tensor([0.02, 0.1, 0.2])
    for name, network in small().items():
        out = network(x) if name == "dncnn" else network(x, sigma)
        alone = network(x[1:2]) if name == "dncnn" else network(x[1:2], sigma[1:2])
        assert out.shape == x.shape
        torch.testing.assert_close(out[1:2], alone, rtol=0, atol=1e-6)


def test_drunet_is_homogeneous() -> None:
    network, x = small()["drunet"], torch.rand(1, 3, 16, 8)
    torch.testing.assert_close(network(3 * x, 0.3), 3 * network(x, 0.1))


def test_a_sequence_of_other_convolutions_is_no_dncnn() -> None:
    shapes = {f"model.{i}.weight": (8, 8, 3, 3) for i in range(0, 10, 2)}
    assert not dncnn.recognise(shapes)  # from features, not from a picture
    ends = {"model.0.weight": (8, 4, 3, 3), "model.8.weight": (3, 8, 3, 3)}
    assert not dncnn.recognise(shapes | ends)  # it is shown a noise level
    assert not dncnn.recognise(shapes | {"model.1.weight": (8,)}) and not dncnn.recognise({})


@pytest.mark.parametrize("kind", ["dncnn", "drunet"])
def test_an_imported_denoiser_is_a_prior_in_the_range_of_priors(kind: str, tmp_path: Path) -> None:
    network = small()[kind]
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    convert.import_file(tmp_path / "weights.safetensors", tmp_path / "made")
    prior = load(tmp_path / "made", role="prior")
    assert isinstance(prior, DiffusionPrior) and prior.channels == 3
    picture, sigma = torch.rand(2, 3, 9, 10), torch.tensor([0.2, 1.5], dtype=torch.float64)
    t = prior.process.time_at_ratio(sigma)
    alpha = prior.process.alpha(t).float()[:, None, None, None]
    x0 = prior.estimate(State(alpha * (2 * picture - 1), t)).x0
    told = torch.tensor([0.1, STRONGEST])  # in units of [0, 1], and no more than was trained on
    wanted = network(picture) if kind == "dncnn" else network(picture, told)
    torch.testing.assert_close((x0 + 1) / 2, wanted, rtol=1e-3, atol=1e-4)


def test_a_picture_denoiser_changes_range_and_level() -> None:
    def shrink(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return x * (1 - sigma[:, None, None, None])

    denoiser = PictureDenoiser(_Called(shrink), 0.25)
    x = torch.tensor([0.5, -0.5]).view(2, 1, 1, 1)
    out = denoiser(x, torch.tensor([0.4, 2.0])).flatten()
    torch.testing.assert_close(out, torch.tensor([2 * 0.75 * 0.8 - 1, 2 * 0.25 * 0.75 - 1]))


class _Called(nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, *arguments: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.function(*arguments)  # type: ignore[operator]
        return out


@pytest.mark.parametrize("kind", ["dncnn", "drunet"])
def test_plug_and_play_takes_it_and_keeps_images_apart(kind: str) -> None:
    strongest = None if kind == "dncnn" else STRONGEST
    prior = DiffusionPrior(PictureDenoiser(small()[kind], strongest), predicts="denoiser", channels=3)
    operator = GaussianBlur((3, 11, 9), 1.0)
    y = operator(torch.rand(2, 3, 11, 9))
    both = reconstruct(Problem(y, operator, 0.05), prior, pnp_admm(4)).image
    alone = reconstruct(Problem(y[1:], operator, 0.05), prior, pnp_admm(4), seeds=[1]).image
    assert both.shape == y.shape and torch.isfinite(both).all()
    torch.testing.assert_close(both[1:], alone, rtol=0, atol=1e-4)
