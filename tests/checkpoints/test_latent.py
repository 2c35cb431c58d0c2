"""Latent priors: the autoencoder as a codec, whole latent checkpoints and pipelines as priors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pellucid.checkpoints.autoencoders import load_autoencoder
from pellucid.checkpoints.convert import import_file
from pellucid.checkpoints.kinds import get
from pellucid.codec.autoencoder import AutoencoderCodec
from pellucid.errors import ConfigError, NeedsCapability, PriorError, ShapeError
from pellucid.loop import reconstruct
from pellucid.methods import METHODS
from pellucid.operators import GaussianBlur, Mask
from pellucid.prior.base import State
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.problem import Problem
from pellucid.process import DiscreteVP
from pellucid.zoo import load
from tests.checkpoints import originals
from tests.checkpoints.stored import recorded, relative

diffusers = pytest.importorskip("diffusers")
BLOCKS = {
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "block_out_channels": [8, 8, 16],
    "norm_num_groups": 4,
}


def vq(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    module = diffusers.VQModel(**BLOCKS, latent_channels=3, vq_embed_dim=3, num_vq_embeddings=32, scaling_factor=0.5)
    nn.init.normal_(module.quantize.embedding.weight)
    return module.eval().requires_grad_(False)


def kl(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return diffusers.AutoencoderKL(**BLOCKS, latent_channels=4, scaling_factor=0.2).eval().requires_grad_(False)


def unet(channels: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    kinds = {"down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]}
    return diffusers.UNet2DModel(
        in_channels=channels, out_channels=channels, block_out_channels=[8, 16], norm_num_groups=4, layers_per_block=1,
        attention_head_dim=8, **kinds,
    ).eval().requires_grad_(False)  # fmt: skip


def latent_prior(module: nn.Module | None = None, **options: Any) -> DiffusionPrior:
    codec = AutoencoderCodec(module or vq(), **options)
    network = unet(codec.latent_channels)
    return DiffusionPrior(
        lambda x, t: network(x, t, return_dict=False)[0],
        DiscreteVP.scaled_linear(), codec=codec, multiple=2, channels=codec.latent_channels,
    )  # fmt: skip


def test_encoding_and_decoding_are_the_modules_own() -> None:
    image = torch.rand(2, 3, 16, 20)
    codec, module = AutoencoderCodec(vq()), vq()
    z = codec.encode(image)
    assert z.shape == (2, 3, 4, 5) == (2, *codec.shape((3, 16, 20)))
    assert torch.allclose(z, 0.5 * module.encode(2 * image - 1).latents)  # type: ignore[operator]
    assert torch.allclose(codec.decode(z), (module.decode(z / 0.5).sample + 1) / 2)  # type: ignore[operator]
    loose = AutoencoderCodec(vq(), quantise=False)
    assert torch.allclose(loose.decode(z), (module.decode(z / 0.5, force_not_quantize=True).sample + 1) / 2)  # type: ignore[operator]
    assert not torch.allclose(loose.decode(z), codec.decode(z))
    normal, module = AutoencoderCodec(kl(), shift=0.3), kl()
    mean = module.encode(2 * image - 1).latent_dist.mean  # type: ignore[operator]
    assert torch.allclose(normal.encode(image), 0.2 * (mean - 0.3), atol=1e-6)
    assert torch.allclose(normal.decode(normal.encode(image)), (module.decode(mean).sample + 1) / 2, atol=1e-5)  # type: ignore[operator]


def test_recorded_latents_come_out_of_the_imported_autoencoder(tmp_path: Path) -> None:
    stored = recorded("ldm_vq_reduced")
    torch.save({"state_dict": stored.weights | {"loss.discriminator.w": torch.ones(3)}}, tmp_path / "vq.ckpt")
    import_file(tmp_path / "vq.ckpt", tmp_path / "vq")
    codec = load_autoencoder(tmp_path / "vq")
    assert codec.factor == 4 and codec.scaling_factor == 1
    assert relative(codec.encode((stored.io["x"] + 1) / 2), stored.io["enc"]) < 2e-5
    assert relative(2 * codec.decode(stored.io["z"]) - 1, stored.io["dec"]) < 2e-5


def test_any_module_with_encode_and_decode_will_do() -> None:
    class Half(nn.Module):
        def encode(self, x: Tensor) -> Tensor:
            return nn.functional.avg_pool2d(x, 2)

        def decode(self, z: Tensor) -> tuple[Tensor]:
            return (nn.functional.interpolate(z, scale_factor=2),)

    codec = AutoencoderCodec(Half(), factor=2, latent_channels=3)
    image = torch.rand(1, 3, 1, 1).expand(1, 3, 7, 9)
    assert codec.shape((3, 7, 9)) == (3, 4, 5)
    assert torch.allclose(codec.picture(codec.encode(image), (3, 7, 9)), image, atol=1e-6)
    with pytest.raises(PriorError, match="say factor and latent_channels"):
        AutoencoderCodec(Half())
    with pytest.raises(PriorError, match="not both encode and decode"):
        AutoencoderCodec(nn.Linear(1, 1))


@pytest.mark.parametrize("shape", [(3, 13, 18), (1, 13, 18), (3, 2, 3), (1, 16, 16)])
def test_pictures_of_any_size_and_grey_ones_come_back_in_shape(shape: tuple[int, int, int]) -> None:
    codec, image = AutoencoderCodec(vq()), torch.rand(2, *shape)
    z = codec.encode(image)
    assert z.shape[1:] == codec.shape(shape) and codec.picture(z, shape).shape == image.shape
    with pytest.raises(ShapeError, match="pictures of 3 channels, not of 2"):
        codec.encode(torch.rand(1, 2, 8, 8))


def test_the_observation_keeps_the_measurement_and_its_units() -> None:
    operator = GaussianBlur((3, 13, 18), 1.0)
    problem = Problem(torch.rand(2, 3, 13, 18), operator, torch.tensor([0.1, 0.2]), 0.01)
    codec = AutoencoderCodec(vq())
    seen = codec.observe(problem)
    z = torch.randn(2, *codec.shape(operator.image_shape))
    assert seen.operator.image_shape == (3, 4, 5) and seen.operator.measurement_shape == (3, 13, 18)
    assert torch.allclose(seen.operator(z), operator(codec.decode(z)[..., :13, :18]))
    assert torch.equal(seen.y, problem.y) and torch.equal(seen.noise_std, problem.std)
    assert torch.equal(seen.variance, problem.variance) and seen.gain is not None and torch.all(seen.gain == 0.01)
    assert torch.allclose(seen.select(torch.tensor([1])).operator(z[1:]), seen.operator(z)[1:], atol=1e-5)


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("module", [kl, vq])
def test_gradients_are_those_of_finite_differences(module: Any, checkpoint: bool) -> None:
    operator = GaussianBlur((3, 7, 10), 1.0)
    codec = AutoencoderCodec(module().double(), quantise=False, checkpoint=checkpoint)
    y = torch.rand(1, 3, 7, 10, dtype=torch.float64)
    seen = codec.observe(Problem(y, operator, 0.1))
    z = torch.randn(1, *codec.shape(operator.image_shape), dtype=torch.float64, requires_grad=True)

    def loss(z: Tensor) -> Tensor:
        return seen.residual(z).square().sum()

    (gradient,) = torch.autograd.grad(loss(z), z)
    for _ in range(3):
        v, step = torch.randn_like(z.detach()), 1e-5
        with torch.no_grad():
            slope = (loss(z + step * v) - loss(z - step * v)) / (2 * step)
        assert float((gradient * v).sum()) == pytest.approx(float(slope), rel=1e-6)


def test_the_gradient_goes_straight_through_the_code_book() -> None:
    codec, loose = AutoencoderCodec(vq().double()), AutoencoderCodec(vq().double(), quantise=False)
    module: Any = vq().double()
    z = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    at = 0.5 * module.quantize(z.detach() / 0.5)[0]
    assert not torch.allclose(at, z)
    weight = torch.randn(2, 3, 16, 20, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((weight * codec.decode(z)).sum(), z)
    at.requires_grad_()
    (wanted,) = torch.autograd.grad((weight * loose.decode(at)).sum(), at)
    assert torch.allclose(gradient, wanted, atol=1e-12) and gradient.abs().max() > 1e-3


@pytest.mark.parametrize("module", [kl, vq])
def test_an_image_alone_equals_it_in_a_batch(module: Any) -> None:
    codec = AutoencoderCodec(module().double())
    image = torch.rand(5, 3, 13, 18, dtype=torch.float64)
    z = codec.encode(image)
    for i in range(5):
        assert torch.allclose(codec.encode(image[i : i + 1]), z[i : i + 1], atol=1e-10)
        assert torch.allclose(codec.decode(z[i : i + 1]), codec.decode(z)[i : i + 1], atol=1e-10)


def test_autocast_rounds_and_returns_the_callers_type() -> None:
    z = torch.randn(1, 4, 4, 4)
    exact, fast = AutoencoderCodec(kl()).decode(z), AutoencoderCodec(kl(), autocast=torch.bfloat16).decode(z)
    assert fast.dtype == torch.float32 and 0 < float((fast - exact).abs().max()) < 0.05


def test_dps_runs_on_latents_of_a_picture_of_any_size() -> None:
    operator = GaussianBlur((3, 13, 18), 1.0)
    prior = latent_prior()
    y = operator(torch.rand(2, 3, 13, 18)) + 0.01 * torch.randn(2, 3, 13, 18)
    method = METHODS["dps"].build(4, scale=0.5)
    result = reconstruct(Problem(y, operator, 0.01), prior, method, seeds=[3, 4], trace=True)
    assert result.image.shape == (2, 3, 13, 18) and torch.isfinite(result.image).all()
    assert result.nfe.tolist() == [4, 4] and result.vjp.tolist() == [4, 4]
    free = reconstruct(Problem(y, operator, 0.01), prior, METHODS["dps"].build(4, scale=0.0), seeds=[3, 4])
    assert not torch.allclose(free.image, result.image)
    alone = reconstruct(Problem(y[1:], operator, 0.01), prior, method, seeds=[4])
    assert torch.allclose(alone.image, result.image[1:], atol=1e-3)


@pytest.mark.parametrize("name", ["ddnm", "ssd", "ddrm", "pigdm"])
def test_methods_for_linear_operators_refuse_latents_by_name(name: str) -> None:
    operator = Mask.random((3, 16, 16), missing=0.5)
    problem = Problem(torch.rand(1, 3, 16, 16), operator, 0.0)
    with pytest.raises(NeedsCapability, match=r"behind an autoencoder none is linear.*resample"):
        reconstruct(problem, latent_prior(), METHODS[name].build(5))


# Folders.


def save_latent(folder: Path) -> tuple[nn.Module, nn.Module]:
    network, module = unet(3), vq()
    network.save_pretrained(folder / "unet")  # type: ignore[operator]
    module.save_pretrained(folder / "vqvae")  # type: ignore[operator]
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"beta_schedule": "scaled_linear"}))
    return network, module


def test_a_latent_pipeline_is_a_prior(tmp_path: Path) -> None:
    network, _ = save_latent(tmp_path)
    prior = load(tmp_path, precision="float32")
    assert isinstance(prior.codec, AutoencoderCodec) and prior.codec.scaling_factor == 0.5
    x, t = torch.randn(1, 3, 4, 4), torch.tensor([500.0], dtype=torch.float64)
    eps = network(x, torch.tensor([499.0]), return_dict=False)[0]
    a, s = prior.process.alpha(t).float(), prior.process.sigma(t).float()
    assert torch.allclose(prior.estimate(State(x, t)).x0, (x - s * eps) / a, rtol=1e-4, atol=1e-4)
    prior.check((3, 13, 18))
    with pytest.raises(ShapeError):
        prior.check((2, 13, 18))


def ldm_file(path: Path, averaged: bool = True) -> dict[str, Tensor]:
    """A latent model as its training writes it, around the recorded autoencoder."""
    shapes = originals.adm_shapes(32, (1, 2), 1, (1,), out=3, resnet=False, shift=False)
    raw, ema = originals.random_weights(shapes, 0), originals.random_weights(shapes, 1)
    betas = torch.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2
    state = {"betas": betas, "alphas_cumprod": (1 - betas).cumprod(0), "scale_factor": torch.tensor(0.7)}
    state |= {f"model.diffusion_model.{key}": value for key, value in raw.items()}
    if averaged:
        names = {key: "model_ema." + f"diffusion_model.{key}".replace(".", "") for key in raw}
        state |= {names[key]: value for key, value in ema.items()} | {"model_ema.decay": torch.tensor(0.9999)}
    state |= {f"first_stage_model.{key}": value for key, value in recorded("ldm_vq_reduced").weights.items()}
    torch.save({"state_dict": state, "pytorch-lightning_version": "1.4.2", "epoch": 5}, path)
    return ema if averaged else raw


@pytest.mark.parametrize("averaged", [None, False])
def test_an_imported_latent_model_is_a_prior(tmp_path: Path, averaged: bool | None) -> None:
    ema = ldm_file(tmp_path / "model.ckpt")
    raw = originals.random_weights({key: tuple(value.shape) for key, value in ema.items()}, 0)
    made = import_file(tmp_path / "model.ckpt", tmp_path / "ldm", options={"head_channels": 16}, averaged=averaged)
    assert made.card["averaged"] is (averaged is None)
    assert {p.name for p in (tmp_path / "ldm").iterdir()} == {"card.json", "unet", "vqvae", "scheduler"}
    prior = load(tmp_path / "ldm", precision="float32")
    assert isinstance(prior.codec, AutoencoderCodec) and prior.codec.scaling_factor == pytest.approx(0.7)
    assert prior.codec.bounds is None and prior.codec.factor == 4
    t = torch.tensor([1.0, 500.0, 1000.0], dtype=torch.float64)
    assert torch.allclose(prior.process.alpha(t), DiscreteVP.scaled_linear().alpha(t), rtol=1e-6)
    x = torch.randn(3, 3, 8, 8)
    eps = originals.adm(ema if averaged is None else raw, x, t - 1, head=16)
    a, s = (c(t).float()[:, None, None, None] for c in (prior.process.alpha, prior.process.sigma))
    assert torch.allclose(prior.estimate(State(x, t)).x0, (x - s * eps) / a, rtol=1e-3, atol=1e-3)


def test_a_latent_model_without_averages_takes_what_it_has(tmp_path: Path) -> None:
    ldm_file(tmp_path / "model.ckpt", averaged=False)
    options = {"head_channels": 16}
    assert import_file(tmp_path / "model.ckpt", tmp_path / "a", options=options).card["averaged"] is False
    with pytest.raises(ConfigError, match="no averaged weights"):
        import_file(tmp_path / "model.ckpt", tmp_path / "b", options=options, averaged=True)


def test_other_betas_in_the_file_are_kept(tmp_path: Path) -> None:
    from pellucid.checkpoints.kinds import Foreign

    ldm_file(tmp_path / "model.ckpt")
    state = torch.load(tmp_path / "model.ckpt", weights_only=True)["state_dict"]
    state["betas"] = torch.linspace(1e-4, 1e-2, 500)
    plan = get("ldm").plan(Foreign.of(state, options=get("ldm").settings({"head_channels": 16})))
    scheduler = plan.files["scheduler/scheduler_config.json"]
    assert scheduler["num_train_timesteps"] == 500 == len(scheduler["trained_betas"])


def tiny_text_encoder(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    words = ["!</w>", "a</w>", "<|startoftext|>", "<|endoftext|>"]
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer" / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 7, "pad_token": "<|endoftext|>"})
    )
    torch.manual_seed(0)
    config = transformers.CLIPTextConfig(
        vocab_size=4, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=7, bos_token_id=2, eos_token_id=3, pad_token_id=3,
    )  # fmt: skip
    transformers.CLIPTextModel(config).save_pretrained(folder / "text_encoder")


def conditional(channels: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return diffusers.UNet2DConditionModel(
        in_channels=channels, out_channels=4, block_out_channels=[8, 16], norm_num_groups=4, layers_per_block=1,
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"], up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
        cross_attention_dim=16, attention_head_dim=2,
    ).eval().requires_grad_(False)  # fmt: skip


def test_a_text_conditional_pipeline_is_a_prior_of_the_empty_text(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tiny_text_encoder(tmp_path)
    network: Any = conditional()
    network.save_pretrained(tmp_path / "unet")
    kl().save_pretrained(tmp_path / "vae")  # type: ignore[operator]
    (tmp_path / "scheduler").mkdir()
    settings = {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "prediction_type": "v_prediction",
    }
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(settings))
    capfd.readouterr()
    prior: Any = load(tmp_path, precision="float32")
    assert capfd.readouterr() == ("", "")
    assert prior.predicts == "v" and prior.codec.scaling_factor == 0.2 and prior.channels == 4
    from transformers import CLIPTextModel

    tokens = torch.tensor([[2, 3, 3, 3, 3, 3, 3]])
    with torch.no_grad():
        text = CLIPTextModel.from_pretrained(tmp_path / "text_encoder").eval()(tokens)[0]
    assert torch.allclose(prior.network.text, text, atol=1e-6)
    x, t = torch.randn(2, 4, 6, 6), torch.tensor([3.0, 800.0], dtype=torch.float64)
    v = network(x, t - 1, encoder_hidden_states=text.expand(2, -1, -1), return_dict=False)[0]
    a, s = (c(t).float()[:, None, None, None] for c in (prior.process.alpha, prior.process.sigma))
    assert torch.allclose(prior.estimate(State(x, t)).x0, a * x - s * v, atol=1e-4)
    operator = GaussianBlur((3, 21, 18), 1.0)
    result = reconstruct(Problem(torch.rand(1, 3, 21, 18), operator, 0.01), prior, METHODS["dps"].build(2))
    assert result.image.shape == (1, 3, 21, 18)


def test_pipelines_that_are_no_priors_are_refused(tmp_path: Path) -> None:
    conditional(9).save_pretrained(tmp_path / "inpaint" / "unet")  # type: ignore[operator]
    with pytest.raises(PriorError, match="conditioned on a picture"):
        load(tmp_path / "inpaint")
    conditional().save_pretrained(tmp_path / "text" / "unet")  # type: ignore[operator]
    with pytest.raises(PriorError, match="lacks tokenizer/"):
        load(tmp_path / "text")
    save_latent(tmp_path / "latent")
    (tmp_path / "latent" / "vqvae" / "config.json").write_text('{"_class_name": "AsymmetricAutoencoderKL"}')
    with pytest.raises(PriorError, match="not a VQModel or AutoencoderKL"):
        load(tmp_path / "latent")


def test_the_command_finds_a_method_for_latents_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np
    from PIL import Image

    from pellucid.cli import run

    save_latent(tmp_path / "prior")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (13, 18, 3), dtype=np.uint8)).save(tmp_path / "in.png")
    request = ["restore", tmp_path / "in.png", "--prior", tmp_path / "prior", "--operator", "gaussian-blur:std=1"]
    request += ["--noise", "0.05", "--nfe", "3", "-o", tmp_path / "out.png"]
    assert run([str(word) for word in request]) == 0
    assert "resample, 3 network calls" in capsys.readouterr().out
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (18, 13)
