"""Every mapping: exact on recorded and on independently computed outputs, complete on the published sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pellucid.checkpoints.convert import check, planned, recognise
from pellucid.checkpoints.kinds import Foreign, get, kinds
from pellucid.errors import ConfigError, PriorError, UnknownNameError
from tests.checkpoints import originals
from tests.checkpoints.stored import described, keymap, module_of, recorded, relative

pytest.importorskip("diffusers")
EXACT = 2e-5
ADM = {
    "legacy": {"resnet": True, "shift": True, "out": 6},
    "new order": {"resnet": True, "shift": True, "out": 6},
    "convolutions, no scale and shift": {"resnet": False, "shift": False, "out": 3},
    "convolutions with scale and shift": {"resnet": False, "shift": True, "out": 3},
    "classes": {"resnet": True, "shift": True, "out": 6, "classes": 10},
}


@pytest.mark.parametrize(
    "name",
    [
        "adm_imagenet_reduced",
        "adm_ffhq_reduced",
        "adm_new_attn_order_reduced",
        "adm_convresample_noss_reduced",
        "adm_classcond_reduced",
        "ldm_unet_reduced",
    ],
)
def test_adm_gives_what_was_recorded(name: str) -> None:
    stored = recorded(name)
    head, new = int(stored.options.get("num_head_channels", 16)), bool(stored.options.get("use_new_attention_order"))
    new = new or "new_attn" in name
    module = module_of(stored.weights, "adm", head_channels=head, new_attention_order=new)
    x, t, y = stored.io["x"], stored.io["t"], stored.io.get("y")
    out = module(x, t, class_labels=y, return_dict=False)[0]
    assert relative(out, stored.io["out"]) < EXACT
    assert relative(originals.adm(stored.weights, x, t, y, head=head, new_order=new), stored.io["out"]) < EXACT


@pytest.mark.parametrize("variant", ADM)
def test_adm_gives_what_the_original_computes(variant: str) -> None:
    options: dict[str, Any] = ADM[variant]
    weights = originals.random_weights(originals.adm_shapes(32, (1, 2, 2), 2, (1, 2), **options))
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([3.0, 700.0])
    y = torch.tensor([2, 7]) if "classes" in options else None
    new = variant == "new order"
    wanted = originals.adm(weights, x, t, y, head=16, new_order=new)
    out = module_of(weights, "adm", head_channels=16, new_attention_order=new)(x, t, class_labels=y, return_dict=False)[
        0
    ]
    assert relative(out, wanted) < EXACT
    other = module_of(weights, "adm", head_channels=16, new_attention_order=not new)
    assert relative(other(x, t, class_labels=y, return_dict=False)[0], wanted) > 0.01


def test_one_head_is_zero_channels_a_head() -> None:
    weights = originals.random_weights(originals.adm_shapes(32, (1, 2), 1, (1,), out=3, resnet=False, shift=False))
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([50.0])
    out = module_of(weights, "adm", head_channels=0)(x, t, return_dict=False)[0]
    assert relative(out, originals.adm(weights, x, t, head=64)) < EXACT
    with pytest.raises(PriorError, match="head_channels=N"):
        module_of(weights, "adm", head_channels=48)


def test_ddpm_gives_what_was_recorded() -> None:
    stored = recorded("ddpm_celebahq_reduced")
    out = module_of(stored.weights, "ddpm")(stored.io["x"], stored.io["t"], return_dict=False)[0]
    assert relative(out, stored.io["out"]) < EXACT


def test_the_autoencoder_gives_what_was_recorded() -> None:
    stored = recorded("ldm_vq_reduced")
    io, module = stored.io, module_of(stored.weights, "ldm-autoencoder")
    assert relative(module.encode(io["x"]).latents, io["enc"]) < EXACT  # type: ignore[operator]
    assert relative(module.decode(io["z"]).sample, io["dec"]) < EXACT  # type: ignore[operator]
    assert relative(module.decode(io["z"], force_not_quantize=True).sample, io["dec_noquant"]) < EXACT  # type: ignore[operator]
    roundtrip = module.decode(module.encode(io["x"]).latents).sample  # type: ignore[operator]
    assert relative(roundtrip, io["roundtrip"]) < EXACT
    quantised, _, (_, _, indices) = module.quantize(io["z"])  # type: ignore[operator]
    assert torch.equal(indices, io["ind"]) and relative(quantised, io["quant"]) < EXACT


def test_ncsnpp_gives_what_was_recorded() -> None:
    stored = recorded("ncsnpp_ve_reduced_nf32_noattnlevel")
    out = module_of(stored.weights, "ncsnpp")(stored.io["x"], stored.io["sigma"], return_dict=False)[0]
    for found, wanted in zip(out, stored.io["out"], strict=True):
        assert relative(found, wanted) < EXACT


@pytest.mark.parametrize(
    ("width", "mult", "attention"), [(32, (1, 2, 2), ()), (64, (1, 2, 2), (1,)), (128, (1, 1), (1,))]
)
def test_ncsnpp_gives_what_the_original_computes(width: int, mult: tuple[int, ...], attention: tuple[int, ...]) -> None:
    weights = originals.random_weights(originals.ncsnpp_shapes(width, mult, 2, attention))
    weights["all_modules.0.W"] *= 16
    x, sigma = torch.rand(3, 3, 16, 16), torch.tensor([0.05, 1.3, 200.0])
    wanted = originals.ncsnpp(weights, x, sigma, mult, 2, attention)
    out = module_of(weights, "ncsnpp")(x, sigma, return_dict=False)[0]
    for found, right in zip(out, wanted, strict=True):
        assert relative(found, right) < EXACT


def test_ncsnpp_of_another_structure_is_refused() -> None:
    stored = recorded("ncsnpp_residual_reduced")
    with pytest.raises(PriorError, match="output_skip and input_skip"):
        module_of(stored.weights, "ncsnpp")
    shapes = originals.ncsnpp_shapes(32, (1, 2), 1, (1,))
    with pytest.raises(PriorError, match="fewer than 128"):
        module_of(originals.random_weights(shapes), "ncsnpp")


def test_clip_gives_what_was_recorded() -> None:
    pytest.importorskip("transformers")
    stored = recorded("clip_reduced")
    module: Any = module_of(stored.weights, "clip")
    image, text = module.get_image_features(stored.io["x"]), module.get_text_features(stored.io["tokens"])
    for found, wanted in ((image, "image_features"), (text, "text_features")):
        features = found if isinstance(found, torch.Tensor) else found.pooler_output
        assert relative(features, stored.io[wanted]) < EXACT


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adm_imagenet256_uncond", "adm"),
        ("adm_imagenet256_cond", "adm"),
        ("adm_ffhq_10m", "adm"),
        ("ddpm_sdedit_celebahq", "ddpm"),
        ("ldm_vq4_unet", "adm"),
        ("ldm_vq_f4_first_stage", "ldm-autoencoder"),
        ("ncsnpp_ve_256", "ncsnpp"),
    ],
)
def test_published_sizes_are_mapped_completely(name: str, kind: str) -> None:
    data = keymap(name)
    heads = {"head_channels": 32} if name == "ldm_vq4_unet" else {}
    foreign = Foreign(described(data["original_shapes"]), options=get(kind).settings(heads))
    assert recognise(foreign.shapes).name == kind
    plan = planned(get(kind), foreign)
    (shapes,) = check(get(kind), plan, foreign).values()
    assert shapes == {key: tuple(shape) for key, shape in data["diffusers_shapes"].items()}
    (part,) = plan.parts
    assert {key: weight.source for key, weight in part.weights.items()} == data["diffusers_from_original"]
    config = {key: value for key, value in data["diffusers_config"].items() if key != "sample_size"}
    assert {key: part.config[key] for key in config} == config


def test_a_whole_latent_model_is_mapped_completely() -> None:
    unet, first = keymap("ldm_vq4_unet"), keymap("ldm_vq_f4_first_stage")
    shapes = {f"model.diffusion_model.{key}": shape for key, shape in unet["original_shapes"].items()}
    shapes |= {
        "model_ema." + f"diffusion_model.{key}".replace(".", ""): shape
        for key, shape in unet["original_shapes"].items()
    }
    shapes |= {f"first_stage_model.{key}": shape for key, shape in first["original_shapes"].items()}
    shapes |= {
        "model_ema.decay": [],
        "model_ema.num_updates": [],
        "alphas_cumprod": [1000],
        "first_stage_model.loss.x": [1],
    }
    foreign = Foreign(described(shapes), options=get("ldm").settings({}))
    assert recognise(foreign.shapes).name == "ldm"
    plan = planned(get("ldm"), foreign)
    fits = check(get("ldm"), plan, foreign)
    assert {key: list(shape) for key, shape in fits["unet"].items()} == unet["diffusers_shapes"]
    assert {key: list(shape) for key, shape in fits["vqvae"].items()} == first["diffusers_shapes"]
    assert plan.parts[1].config["scaling_factor"] == 1.0


def test_no_two_kinds_recognise_the_same_network() -> None:
    nets = {
        "adm": originals.adm_shapes(32, (1, 2), 1, (1,), out=3, resnet=True, shift=True),
        "ncsnpp": originals.ncsnpp_shapes(32, (1, 2), 1, ()),
    }
    for kind, shapes in nets.items():
        assert [name for name, one in kinds().items() if one.recognise(shapes)] == [kind]


def test_a_mismatch_lists_what_is_missing_left_over_and_wrong() -> None:
    shapes = originals.adm_shapes(32, (1, 2), 1, (1,), out=3, resnet=True, shift=True)
    del shapes["middle_block.2.in_layers.0.bias"]
    shapes["middle_block.7.weight"] = (3,)
    shapes["out.2.bias"] = (5,)
    with pytest.raises(PriorError) as raised:
        module_of(originals.random_weights(shapes), "adm", head_channels=16)
    text = str(raised.value)
    assert "1 missing: mid_block.resnets.1.norm1.bias" in text
    assert "1 unexpected: middle_block.7.weight" in text
    assert "1 of a wrong shape: out.2.bias is (5,)" in text


def test_a_hostile_number_of_blocks_is_refused_at_once() -> None:
    shapes = originals.adm_shapes(32, (1, 2), 1, (1,), out=3, resnet=True, shift=True)
    shapes["output_blocks.999999999999.1.conv.weight"] = (1,)
    with pytest.raises(PriorError, match="not numbered through"):
        module_of(originals.random_weights(shapes), "adm", head_channels=16)


def test_unknown_things_are_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ncsnpp'"):
        get("ncsnp")
    with pytest.raises(ConfigError, match="adm has no option 'heads'"):
        get("adm").settings({"heads": 3})
    with pytest.raises(ConfigError, match="head_channels is of the type int"):
        get("adm").settings({"head_channels": "many"})
    with pytest.raises(PriorError, match="of no kind known here"):
        recognise({"a.weight": (3,)})
    with pytest.raises(PriorError, match="take the diffusers folder"):
        recognise({"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight": (3, 3)})
