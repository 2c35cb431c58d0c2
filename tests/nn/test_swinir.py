"""SwinIR: exact on the recorded network, complete for the published ones, the same for every batch and size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pellucid.checkpoints.swinir import configuration, recognise
from pellucid.errors import ConfigError
from pellucid.nn.biased_attention import biased_attention
from pellucid.nn.swinir import RGB_MEAN, SwinIR, mirrored, position_index, shift_mask
from tests.nn.golden import EXACT, published, recorded, relative
from tests.nn.importing import fits, through

SMALL: dict[str, Any] = {"width": 12, "depths": (2, 1), "heads": 2, "window": 4}
KINDS: dict[str, dict[str, Any]] = {
    "same size": {},
    "grey": {"channels": 1},
    "jpeg": {"window": 7, "image_range": 255.0},
    "classical 2": {"upscale": 2, "upsampler": "pixelshuffle"},
    "classical 3": {"upscale": 3, "upsampler": "pixelshuffle"},
    "classical 4": {"upscale": 4, "upsampler": "pixelshuffle"},
    "classical 8": {"upscale": 8, "upsampler": "pixelshuffle"},
    "light 3": {"upscale": 3, "upsampler": "pixelshuffledirect"},
    "real 2": {"upscale": 2, "upsampler": "nearest+conv"},
    "real 4 large": {"upscale": 4, "upsampler": "nearest+conv", "connection": "3conv"},
}


def make(**options: Any) -> SwinIR:
    """A network with weights that are no zeros anywhere."""
    torch.manual_seed(0)
    network = SwinIR(**{**SMALL, **options}).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape))
    return network


@pytest.mark.parametrize(
    "name", ["swinir_dn_reduced", "swinir_sr4_pixelshuffle_reduced", "swinir_real_sr4_nearestconv_3conv_reduced"]
)
def test_it_computes_what_the_published_code_computes(name: str) -> None:
    weights, io, _ = recorded(name)
    network, plan = through("swinir", weights)
    with torch.no_grad():
        assert relative(network(io["x"]), io["out"]) < EXACT
    assert plan.parts[0].config["mlp_ratio"] == 2


@pytest.mark.parametrize(
    "name", ["swinir_color_dn", "swinir_classical_sr_x4", "swinir_real_sr_x4_M", "swinir_real_sr_x4_L"]
)
def test_it_has_a_place_for_every_published_weight(name: str) -> None:
    shapes = published(name)
    weights = {key for key in shapes if not key.endswith(("attn_mask", "relative_position_index"))}
    assert set(fits("swinir", shapes)) == weights
    config = configuration(shapes)
    assert config["depths"] == [6] * (9 if name.endswith("L") else 6) and config["window"] == 8
    assert config["image_range"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_configuration_is_found_in_the_shapes(kind: str) -> None:
    network = SwinIR(**{**SMALL, **KINDS[kind]})
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert recognise(shapes) and configuration(shapes) == network.config


@pytest.mark.parametrize("kind", KINDS)
def test_any_size_and_every_image_alone(kind: str) -> None:
    network = make(**KINDS[kind])
    x = torch.rand(3, network.config["channels"], 9, 14)
    out = network(x)
    assert out.shape == (3, x.shape[1], 9 * network.upscale, 14 * network.upscale)
    torch.testing.assert_close(out[1:2], network(x[1:2]), rtol=0, atol=1e-5)


def test_the_authors_padding_is_no_part_of_the_result_far_from_the_edge_but_changes_it() -> None:
    network, x = make(), torch.rand(1, 3, 8, 8)
    padded = mirrored(x, 4)
    assert padded.shape == (1, 3, 12, 12) and torch.equal(padded[..., 8, :8], x[..., 7, :])
    out = network(x, extra_window=True)
    torch.testing.assert_close(out, network(padded)[..., :8, :8])
    assert not torch.equal(out, network(x))


def test_weights_of_zero_give_the_picture_back() -> None:
    network = make()
    for parameter in network.parameters():
        parameter.zero_()
    x = torch.rand(1, 3, 7, 9)
    torch.testing.assert_close(network(x), x)
    assert network.get_buffer("mean").flatten().tolist() == pytest.approx(RGB_MEAN)


def test_the_index_counts_displacements() -> None:
    index = position_index(3).view(9, 9)
    assert index[4, 4] == 12 and index[0, 8] == 0 and index[8, 0] == 24
    assert len(index.unique()) == 25


def test_a_network_of_one_window_has_no_shifts() -> None:
    network = make(shifted=False)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    shapes["layers.0.residual_group.blocks.0.attn.relative_position_index"] = (16, 16)
    assert configuration(shapes) == network.config
    x, other = torch.rand(2, 1, 12, 8, 4)
    other[:, :, :4] = x[:, :, :4]
    for options, same in (({"shifted": False}, True), ({"shifted": True}, False)):
        group = make(**options).layers[0].residual_group
        above = [group(picture.permute(0, 2, 3, 1))[:, :4] for picture in (x, other)]
        assert torch.allclose(*above, atol=1e-6) is same


def test_the_mask_separates_what_came_around_the_edge() -> None:
    mask = shift_mask(2, 3, 4, 2).view(2, 3, 4, 4, 4, 4)
    assert not mask[0, 0].any() and not mask[0, 1].any()
    assert mask[0, 2, 0, 1, 0, 2] == -100 and mask[0, 2, 0, 0, 3, 1] == 0
    assert mask[1, 0, 1, 0, 2, 0] == -100 and mask[1, 2, 0, 0, 3, 3] == -100


@pytest.mark.parametrize("shape", [(5, 2, 9, 3), (2, 6, 9, 3)])
def test_attention_has_the_gradients_of_its_formula(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pellucid.nn.biased_attention.PIECE", 81 * 4)
    draw = torch.Generator().manual_seed(0)
    sizes = (shape, shape, shape, (1, shape[1], 9, 9))
    parts = [torch.randn(size, dtype=torch.float64, generator=draw).requires_grad_() for size in sizes]
    assert torch.autograd.gradcheck(biased_attention, parts)

    def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        return torch.softmax(q @ k.transpose(-1, -2) / 3**0.5 + bias, -1) @ v

    torch.testing.assert_close(biased_attention(*parts), plain(*parts))
    halves = [part.detach().bfloat16() for part in parts]
    torch.testing.assert_close(biased_attention(*halves).double(), plain(*parts), rtol=0.1, atol=0.05)


def test_it_learns_in_half_precision() -> None:
    torch.manual_seed(0)
    network = SwinIR(**SMALL)
    x = torch.rand(2, 3, 8, 8)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    losses = []
    for _ in range(12):
        with torch.autocast("cpu", torch.bfloat16):
            loss = (network(x) - (1 - x)).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"upscale": 2}, "keeps the size"),
        ({"upscale": 5, "upsampler": "pixelshuffle"}, "powers of 2"),
        ({"upscale": 3, "upsampler": "nearest+conv"}, "2 or 4"),
        ({"heads": 5}, "multiple of its heads"),
        ({"heads": (2,)}, "each of its layers"),
        ({"connection": "2conv"}, "connection"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        SwinIR(**{**SMALL, **options})
