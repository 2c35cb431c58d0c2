"""Priors from networks: every parametrisation, any size, grey pictures, diffusers folders, precisions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pellucid.errors import CompatibilityError, PriorError, UnknownNameError
from pellucid.loop import reconstruct
from pellucid.methods import METHODS
from pellucid.nn.edm import EDMDenoiser
from pellucid.nn.unet import UNet
from pellucid.operators import Mask
from pellucid.prior.base import State
from pellucid.prior.diffusion import DiffusionPrior, Prediction, pad_to_multiple
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Problem
from pellucid.process import VE, DiscreteVP, Flow, Process
from pellucid.zoo import load


def tiny(seed: int = 0) -> EDMDenoiser:
    torch.manual_seed(seed)
    net = UNet(widths=(8, 16), blocks=(1, 1), heads=2, embedding=16)
    torch.nn.init.normal_(net.head.weight, std=0.05)
    return EDMDenoiser(net).eval().requires_grad_(False)


@pytest.mark.parametrize(
    "process", [DiscreteVP.linear(), DiscreteVP.cosine(), VE(), Flow()], ids=lambda p: type(p).__name__
)
@pytest.mark.parametrize("predicts", ["eps", "x0", "v", "score", "denoiser"])
def test_every_parametrisation_means_the_same(process: Process, predicts: Prediction) -> None:
    exact = GaussianPrior.natural(8, process=process)
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    t = torch.tensor([0.02, 0.3, 0.9], dtype=torch.float64) * process.t_max
    t = process.on_grid(t)
    estimate = exact.estimate(State(x, t))
    a, s = (c(t)[:, None, None, None] for c in (process.alpha, process.sigma))
    eps = (x - a * estimate.x0) / s
    said = {"eps": eps, "x0": estimate.x0, "v": a * eps - s * estimate.x0, "score": -eps / s, "denoiser": estimate.x0}

    def network(given: Tensor, time: Tensor) -> Tensor:
        if predicts == "denoiser":
            assert torch.allclose(given, x / a) and torch.allclose(time, process.ratio(t))
        else:
            assert torch.equal(time, t - 1 if process.discrete else t)
        return said[predicts]

    got = DiffusionPrior(network, process, predicts).estimate(State(x, t))
    assert torch.allclose(got.x0, estimate.x0, atol=1e-9) and torch.allclose(got.eps, eps, atol=1e-8)


def test_pictures_of_any_size_are_padded_and_cropped() -> None:
    prior = DiffusionPrior(tiny(), predicts="denoiser", multiple=4)
    t = torch.tensor([100.0], dtype=torch.float64)
    for height, width in ((17, 23), (3, 5), (1, 9), (16, 16)):
        assert prior.estimate(State(torch.randn(1, 3, height, width), t)).x0.shape == (1, 3, height, width)
    x = torch.arange(5.0).reshape(1, 1, 1, 5)
    assert pad_to_multiple(x, 4)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]


def test_a_grey_picture_goes_through_a_colour_network() -> None:
    prior = DiffusionPrior(tiny(), predicts="denoiser", multiple=4, channels=3)
    x, t = torch.randn(2, 1, 16, 16), torch.tensor([50.0, 300.0], dtype=torch.float64)
    grey = prior.estimate(State(x, t)).x0
    assert grey.shape == x.shape and bool(torch.isfinite(grey).all())
    assert torch.allclose(prior.estimate(State(x[1:], t[1:])).x0, grey[1:], atol=1e-6)


def test_bfloat16_changes_a_picture_by_less_than_a_grey_level() -> None:
    net = tiny().to(memory_format=torch.channels_last)
    problem = Problem(torch.rand(1, 3, 32, 32), Mask.random((3, 32, 32), missing=0.5), 0.02)
    images = [
        reconstruct(
            problem, DiffusionPrior(net, predicts="denoiser", multiple=4, autocast=dtype), METHODS["ddnm"].build(10)
        )
        for dtype in (None, torch.bfloat16)
    ]
    difference = (images[0].image - images[1].image).clamp(-1, 1).square().mean().sqrt()
    assert images[1].image.dtype == torch.float32 and 0 < difference < 1 / 255


def test_an_unknown_parametrisation_is_refused() -> None:
    with pytest.raises(CompatibilityError, match="predicts"):
        DiffusionPrior(tiny(), predicts="noise")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scheduler", "process"),
    [
        ({}, DiscreteVP.linear()),
        ({"beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195}, DiscreteVP.scaled_linear()),
        ({"beta_schedule": "squaredcos_cap_v2"}, DiscreteVP.cosine()),
    ],
)
def test_a_diffusers_folder_is_a_prior(tmp_path: Path, scheduler: dict[str, object], process: DiscreteVP) -> None:
    diffusers = pytest.importorskip("diffusers")
    model = diffusers.UNet2DModel(
        sample_size=8, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    model.save_pretrained(tmp_path / "unet")
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    prior = load(tmp_path, precision="float32")
    x, t = torch.randn(1, 3, 8, 8), torch.tensor([500.0], dtype=torch.float64)
    eps = model.eval()(x, torch.tensor([499.0]), return_dict=False)[0]
    want = (x - process.sigma(t).float() * eps) / process.alpha(t).float()
    assert torch.allclose(prior.estimate(State(x, t)).x0, want, rtol=1e-4, atol=1e-4)


def test_folders_that_are_no_prior_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PriorError, match=r"neither card\.json nor"):
        load(tmp_path)
    with pytest.raises(UnknownNameError, match="there is no prior"):
        load("fotto")
    (tmp_path / "config.json").write_text('{"_class_name": "VQModel"}')
    pytest.importorskip("diffusers")
    with pytest.raises(PriorError, match="not a UNet2DModel"):
        load(tmp_path)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_compiled_network_says_the_same_and_refuses_gradients(backend: str) -> None:
    pytest.importorskip(backend)
    if backend == "onnxruntime":
        pytest.importorskip("onnx")
    from pellucid.prior.compiled import compiled

    prior = DiffusionPrior(tiny(), predicts="denoiser", multiple=4)
    faster = compiled(prior, backend, threads=1)  # type: ignore[arg-type]
    state = State(torch.randn(2, 3, 16, 16), torch.tensor([100.0, 400.0], dtype=torch.float64))
    assert torch.allclose(
        faster.estimate(state).x0, prior.estimate(state).x0, atol=0.05 if backend == "openvino" else 1e-4
    )
    with pytest.raises(CompatibilityError, match="forward-only"):
        faster.estimate(state, differentiable=True)
