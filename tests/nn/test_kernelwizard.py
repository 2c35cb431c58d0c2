"""KernelWizard: exact on the recorded one; the operator made of it keeps its code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pellucid.checkpoints import convert
from pellucid.checkpoints.folder import load
from pellucid.checkpoints.kernelwizard import configuration
from pellucid.errors import OperatorError, ShapeError
from pellucid.nn.kernelwizard import KernelWizard
from pellucid.operators import parse
from pellucid.operators.bkse import EncodedBlur, draw
from tests.nn.golden import EXACT, published, recorded, relative
from tests.nn.importing import fits, through


def test_it_computes_what_the_published_code_computes() -> None:
    weights, io, _ = recorded("bkse_kernelwizard_reduced")
    network, _ = through("kernelwizard", weights)
    assert isinstance(network, KernelWizard)
    x = (io["data"] + 1) / 2
    assert relative(network.feature_extractor(x), io["feat"]) < EXACT
    assert relative(network.adapter(io["feat"], io["kernel"]), io["adapter_out"]) < EXACT
    assert relative(network(x, io["kernel"]), io["adapted"]) < EXACT
    blur = EncodedBlur((3, 128, 128), network, code=io["kernel"][0])
    assert relative(2 * blur(x) - 1, io["dps_out"]) < EXACT
    _, pair, _ = recorded("bkse_kernel_extractor_io")
    mean, logvar = network.extract(pair["sharp"], pair["blur"])
    assert logvar is not None
    assert relative(mean, pair["vae_mean"]) < EXACT and relative(logvar, pair["vae_logvar"]) < EXACT


def test_it_has_a_place_for_every_published_weight() -> None:
    shapes = published("bkse_gopro_wvae")
    assert fits("kernelwizard", shapes) == shapes
    with torch.device("meta"):
        assert configuration(shapes) == KernelWizard().config


@pytest.fixture(scope="module")
def network() -> KernelWizard:
    torch.manual_seed(0)
    made = KernelWizard(width=4, front=1, back=1, code=8, blocks=1).eval().requires_grad_(False)
    for parameter in made.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape))
    return made


def test_the_code_is_drawn_once_and_belongs_to_its_image(network: KernelWizard) -> None:
    x = torch.rand(2, 3, 128, 128)
    both = EncodedBlur((3, 128, 128), network, [3, 4])
    y = both(x)
    assert torch.equal(y, both(x)) and y.min() >= 0 and y.max() <= 1
    for index, seed in enumerate((3, 4)):
        one = slice(index, index + 1)
        torch.testing.assert_close(y[one], EncodedBlur((3, 128, 128), network, seed)(x[one]), rtol=0, atol=1e-5)
        torch.testing.assert_close(y[one], both.select(torch.tensor([index]))(x[one]), rtol=0, atol=1e-5)
    assert float((y[0] - EncodedBlur((3, 128, 128), network, 4)(x)[0]).abs().max()) > 1e-3


def test_codes_are_as_wide_as_dps_draws_them() -> None:
    code = draw((512, 2, 2), 0)
    assert torch.equal(code, 1.2 * torch.randn(512, 2, 2, generator=torch.Generator().manual_seed(0)))
    assert 1.1 < float(code.std()) < 1.3


def test_other_sizes_and_gradients(network: KernelWizard) -> None:
    blur = EncodedBlur((3, 100, 130), network)
    assert blur.get_buffer("code").shape == (1, 8, 1, 2)
    x = (0.3 + 0.4 * torch.rand(1, 3, 100, 130, dtype=torch.float64)).requires_grad_()
    y = blur(x)
    assert y.dtype == torch.float64 and y.shape == x.shape
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert float(gradient.abs().max()) > 0 and all(p.grad is None for p in network.parameters())


def test_the_upper_half_is_what_flash_diffusion_blurs(network: KernelWizard) -> None:
    x = torch.rand(1, 3, 128, 128)
    found = EncodedBlur((3, 128, 128), network, 1, upper_half=True)(x)
    code = draw((8, 1, 1), 1)[None]
    torch.testing.assert_close(found, (2 * network((1 + x) / 2, code) - 1).clamp(0, 1), rtol=0, atol=1e-5)


def test_an_imported_network_is_an_operator_and_has_a_text(network: KernelWizard, tmp_path: Path) -> None:
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    convert.import_file(tmp_path / "weights.safetensors", tmp_path / "made")
    operator = load(tmp_path / "made", role="operator")
    assert isinstance(operator, EncodedBlur) and operator.image_shape == (3, 256, 256)
    spec = parse(f"bkse:weights={tmp_path}/made,seed=5")
    x = torch.rand(1, 3, 128, 128)
    built = spec.build((3, 128, 128))
    torch.testing.assert_close(built(x), EncodedBlur((3, 128, 128), network, 5)(x))
    assert spec.build((3, 64, 64)).network is built.network  # type: ignore[comparison-overlap]


def test_what_does_not_fit_is_refused(network: KernelWizard, tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="3 channels"):
        EncodedBlur((1, 128, 128), network)
    with pytest.raises(ShapeError, match="shape"):
        EncodedBlur((3, 256, 256), network, code=torch.zeros(8, 1, 1))
    with pytest.raises(OperatorError, match="pellucid import"):
        parse(f"bkse:weights={tmp_path}").build((3, 128, 128))
    (tmp_path / "card.json").write_text('{"checkpoint": "swinir"}')
    with pytest.raises(OperatorError, match="not a KernelWizard"):
        parse(f"bkse:weights={tmp_path}").build((3, 128, 128))
