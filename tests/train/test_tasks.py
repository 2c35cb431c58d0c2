"""The kinds of training: what each learns, where it may begin, what it ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pellucid import zoo
from pellucid.errors import ConfigError, PriorError, UnknownNameError
from pellucid.nn.edm import EDMDenoiser
from pellucid.nn.unet import UNet
from pellucid.prior.base import State
from pellucid.train.config import PriorConfig, ShipConfig
from pellucid.train.degradation import Degradation
from pellucid.train.export import ship
from pellucid.train.init import initialise
from pellucid.train.kmeans import kmeans
from pellucid.train.quality import denoising_psnr
from pellucid.train.tasks.autoencoder import nearest
from pellucid.train.tasks.make import TASKS, make_task, read_task, training_of
from pellucid.train.tasks.prior import DenoiserObjective
from pellucid.train.trainer import Trainer
from tests.train.settings import NETWORKS, UNET, words

UNET2D = {
    "class": "UNet2DModel", "sample_size": 16, "in_channels": 3, "out_channels": 3, "layers_per_block": 1,
    "block_out_channels": [8, 8], "norm_num_groups": 4, "attention_head_dim": 4,
    "down_block_types": ["DownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "UpBlock2D"],
}  # fmt: skip


def task(kind: str, folder: Path, /, **more: Any) -> Any:
    return make_task(kind, TASKS[kind][0](**words(kind, folder, **more)))


def trained(kind: str, folder: Path, **more: Any) -> Trainer:
    run = Trainer(task(kind, folder, **more))
    run.train()
    return run


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_batch_depends_on_seed_step_and_slot_alone(kind: str, tmp_path: Path) -> None:
    made = task(kind, tmp_path)
    first, again = made.batch(5, 0), made.batch(5, 0)
    assert all(torch.equal(first[key], again[key]) for key in first)
    name = next(iter(first))
    assert not torch.equal(first[name], made.batch(5, 1)[name])
    reseeded = task(kind, tmp_path, seed=1)
    changed = [reseeded.batch(step, 0)[name] for step in range(3)]
    same = [made.batch(step, 0)[name] for step in range(3)]
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(changed, same, strict=True))


@pytest.mark.parametrize("kind", NETWORKS)
def test_what_is_shipped_loads_and_equals_the_averaged_model(kind: str, tmp_path: Path) -> None:
    run = trained(kind, tmp_path)
    ship(run, "the command", tmp_path / "shipped")
    card = zoo.Card.read(tmp_path / "shipped")
    expected = run.averaged_model()
    module, _ = zoo.load_module(tmp_path / "shipped", card.kind)
    size = (1, 3, 16, 16)
    x = torch.rand(size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        if kind == "prior":
            pair = [m(x, torch.tensor([0.3])) for m in (expected, module)]
            assert zoo.load(tmp_path / "shipped").channels == 3
        elif kind == "autoencoder":
            pair = [m.decode(m.encode(x).latents, force_not_quantize=True).sample for m in (expected, module)]
            codec = zoo.load_autoencoder(tmp_path / "shipped")
            assert float(codec.encode(torch.rand(4, 3, 32, 32)).std()) == pytest.approx(1.0, abs=0.5)
        elif kind == "dirac":
            pair = [m(x, torch.tensor([0.03]))[0] for m in (expected, module)]
        else:
            pair = [m(x) for m in (expected, module)]
            if kind == "denoiser":  # also a prior, for plug-and-play methods
                prior = zoo.load(tmp_path / "shipped", precision="float32")
                seen = prior.network(2 * x - 1, torch.tensor([0.1]))
                assert torch.allclose(seen, 2 * pair[1] - 1, atol=1e-5)
    assert torch.allclose(*pair, atol=2e-2 * float(pair[0].abs().max()))
    assert card.data["training"]["steps"] == 6 and card.data["command"] == "the command"


def test_a_card_states_quality_on_every_held_out_set(tmp_path: Path) -> None:
    run = words("prior", tmp_path)
    held = {"path": str(run["data"]), "size": 64}
    settings = ShipConfig(
        to=tmp_path / "shipped", summary="small", data="ramps", evaluate=run["data"], licences={"CC0": 4},
        evaluate_source={"size": 64}, also={"again": held},
    )  # fmt: skip
    measured = ship(trained("prior", tmp_path, ship=settings), "c")
    assert measured["pictures"] == 4 and measured["again"]["psnr_25"] == measured["psnr_25"] > 0
    card = json.loads((tmp_path / "shipped" / "card.json").read_text())
    assert card["quality"]["protocol"] and card["data"] == {"what": "ramps", "licences": {"CC0": 4}}


def test_shipping_without_a_checkpoint_or_a_place_is_refused(tmp_path: Path) -> None:
    fresh = Trainer(task("denoiser", tmp_path))
    with pytest.raises(ConfigError, match="no checkpoint yet"):
        ship(fresh, "c", tmp_path / "shipped")
    with pytest.raises(ConfigError, match="--to DIR"):
        ship(fresh, "c")


def test_a_latent_prior_learns_on_a_shipped_autoencoder(tmp_path: Path) -> None:
    ship(trained("autoencoder", tmp_path, adversarial=0.0), "c", tmp_path / "vq")
    more = words("prior", tmp_path, out=tmp_path / "latent", codec=str(tmp_path / "vq"))
    run = Trainer(make_task("latent-prior", TASKS["latent-prior"][0](**more)))
    assert run.task.batch(0, 0)["x0"].shape[1:] == torch.Size([3, run.task.side(0) // 2, run.task.side(0) // 2])
    run.train()
    ship(run, "c", tmp_path / "latent-shipped")
    prior = zoo.load(tmp_path / "latent-shipped")
    assert prior.codec.shape((3, 32, 32)) == (3, 16, 16)
    betas = torch.linspace(0.0015**0.5, 0.0195**0.5, 1000, dtype=torch.float64) ** 2
    abar = float((1 - betas[:500]).prod())  # latent diffusion's schedule
    assert float(prior.process.alpha(torch.tensor([500.0], dtype=torch.float64))) == pytest.approx(abar**0.5, rel=1e-6)
    ship(trained("autoencoder", tmp_path, adversarial=0.0, out=tmp_path / "more", steps=8), "c", tmp_path / "vq")
    with pytest.raises(PriorError, match="was trained on another"):
        zoo.load(tmp_path / "latent-shipped")


# Where training begins


def test_a_run_begins_from_a_shipped_network_and_takes_over_its_shape(tmp_path: Path) -> None:
    ship(trained("prior", tmp_path), "c", tmp_path / "base")
    begun = task("prior", tmp_path, network={}, init=str(tmp_path / "base"))
    given = zoo.read_weights(zoo.Card.read(tmp_path / "base"))
    own = begun.model.state_dict()
    assert set(given) == set(own) and all(torch.equal(given[key], own[key]) for key in own)


def test_a_colour_network_begins_as_the_grey_network_that_it_is_on_grey_pictures(tmp_path: Path) -> None:
    torch.manual_seed(0)
    colour, grey = (EDMDenoiser(UNet(**UNET, channels=c)) for c in (3, 1))
    for parameter in colour.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    folder = tmp_path / "colour"
    _export(colour, folder)
    initialise(grey, str(folder))
    x, sigma = torch.rand(2, 1, 16, 16) * 2 - 1, torch.tensor([0.2, 1.0])
    with torch.no_grad():
        expected = colour(x.expand(-1, 3, -1, -1), sigma).mean(1, keepdim=True)
        assert torch.allclose(grey(x, sigma), expected, atol=2e-3)
    back = EDMDenoiser(UNet(**UNET, channels=3))
    _export(grey, tmp_path / "grey")
    initialise(back, str(tmp_path / "grey"))
    with torch.no_grad():
        out = back(x.expand(-1, 3, -1, -1), sigma)
        assert torch.allclose(out, grey(x, sigma).expand(-1, 3, -1, -1), atol=2e-3)


def test_a_kl_autoencoder_begins_as_the_vq_one_without_its_codebook(tmp_path: Path) -> None:
    run = trained("autoencoder", tmp_path, adversarial=0.0)
    ship(run, "c", tmp_path / "vq")
    network = {k: v for k, v in NETWORKS["autoencoder"]["network"].items() if k != "num_vq_embeddings"}
    kl = task("autoencoder", tmp_path, kind="kl", init=str(tmp_path / "vq"), adversarial=0.0, network=network)
    vq, _ = zoo.load_module(tmp_path / "vq", "autoencoder")
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        posterior = kl.model.encode(x).latent_dist
        assert torch.allclose(posterior.mean, vq.encode(x).latents, atol=1e-4)
        assert float(posterior.std.max()) < 0.05
        expected = vq.decode(posterior.mean, force_not_quantize=True).sample
        assert torch.allclose(kl.model.decode(posterior.mean).sample, expected, atol=1e-4)


def test_another_network_or_none_is_no_beginning(tmp_path: Path) -> None:
    ship(trained("prior", tmp_path), "c", tmp_path / "base")
    with pytest.raises(ConfigError, match="another network"):
        task("prior", tmp_path, network={**UNET, "widths": [8, 24]}, init=str(tmp_path / "base"))
    with pytest.raises(UnknownNameError):
        task("prior", tmp_path, init="nowhere")
    with pytest.raises(UnknownNameError):
        read_task("magic", tmp_path / "c.toml")


def _export(model: EDMDenoiser, folder: Path) -> None:
    import hashlib

    from safetensors.torch import save

    folder.mkdir()
    content = save({key: value.contiguous() for key, value in model.state_dict().items()})
    (folder / "model.safetensors").write_bytes(content)
    card = {"network": model.network.config, "sigma_data": 0.5, "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize("kind", ["prior", "autoencoder", "supervised"])
def test_a_run_is_shipped_from_its_folder_as_it_was_started(kind: str, tmp_path: Path) -> None:
    run = Trainer(task(kind, tmp_path), command="pellucid train with options")
    run.train()
    assert training_of(tmp_path / "run") == kind
    again = Trainer(read_task(kind, tmp_path / "run", begin=False))
    ship(again, "otherwise", tmp_path / "shipped")
    card = json.loads((tmp_path / "shipped" / "card.json").read_text())
    assert card["command"] == "pellucid train with options" and card["training"]["steps"] == 6
    assert again.config == run.config
    with pytest.raises(ConfigError, match="--kind"):
        training_of(tmp_path / "data")


def test_imported_autoencoders_and_restorers_are_beginnings(tmp_path: Path) -> None:
    first = task("autoencoder", tmp_path, adversarial=0.0)
    first.model.save_pretrained(tmp_path / "foreign", safe_serialization=True)
    begun = task("autoencoder", tmp_path, adversarial=0.0, network={}, init=str(tmp_path / "foreign"))
    own, given = begun.model.state_dict(), first.model.state_dict()
    assert set(own) == set(given) and all(torch.equal(own[key], given[key]) for key in own)
    with pytest.raises(ConfigError, match="another network"):
        task("denoiser", tmp_path, init=str(tmp_path / "foreign"))


def test_a_network_with_learned_variance_is_tuned_and_watched(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    network = {**UNET2D, "out_channels": 6}
    run = Trainer(task("prior", tmp_path, network=network, validation=tmp_path / "data", validate_every=3, steps=3))
    run.train()
    assert run.task.prior(run.task.model).learned_variance and run.step == 3
    with pytest.raises(ConfigError, match="class-conditional"):
        task("prior", tmp_path, network={**UNET2D, "num_class_embeds": 10})


# Priors


def test_preconditioned_loss_is_the_denoising_error_in_units_of_c_out() -> None:
    torch.manual_seed(0)
    denoiser = EDMDenoiser(UNet(**UNET))
    torch.nn.init.normal_(denoiser.network.head.weight, std=0.1)
    x0, n, sigma = torch.rand(3, 3, 16, 16) * 2 - 1, torch.randn(3, 3, 16, 16), torch.tensor([0.05, 0.5, 20.0])
    with torch.no_grad():
        error = (denoiser(x0 + sigma[:, None, None, None] * n, sigma) - x0).square().flatten(1).mean(1)
        c_out = denoiser.coefficients(sigma)[1]
        assert torch.allclose(denoiser.loss(x0, sigma, n), error / c_out**2, rtol=1e-3)
        config = PriorConfig(data=Path("d"), out=Path("o"), weighting="min-snr", snr_limit=5.0)
        weights = torch.tensor([5.0, 4.0, 1 / 400])
        assert torch.allclose(DenoiserObjective(denoiser, config)(x0, sigma, n), (weights * error).mean(), rtol=1e-3)


def test_a_unet2d_learns_on_its_schedule_and_min_snr_weighs_the_error_of_x0(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    errors = {}
    for prediction in ("epsilon", "v_prediction", "sample"):
        made = task("prior", tmp_path, network=UNET2D, schedule={"prediction_type": prediction}, weighting="min-snr")
        batch = made.batch(0, 0)
        assert batch["level"].dtype == torch.int64 and int(batch["level"].max()) < 1000
        process, t = made.objective.process, (batch["level"] + 1).double()
        alpha, sigma = (f(t).float()[:, None, None, None] for f in (process.alpha, process.sigma))
        x = alpha * batch["x0"] + sigma * batch["noise"]
        with torch.no_grad():
            out = made.model(x, batch["level"], return_dict=False)[0]
            ways = {"epsilon": (x - sigma * out) / alpha, "v_prediction": alpha * x - sigma * out, "sample": out}
            x0 = ways[prediction]
            snr = (alpha / sigma).square().flatten()
            expected = (snr.clamp(max=5) * (x0 - batch["x0"]).square().flatten(1).mean(1)).mean()
            errors[prediction] = float(made.objective(**batch))
        assert errors[prediction] == pytest.approx(float(expected), rel=1e-3)
    run = Trainer(task("prior", tmp_path, network=UNET2D, schedule={"prediction_type": "v_prediction"}))
    run.train()
    ship(run, "c", tmp_path / "shipped")
    prior, expected = zoo.load(tmp_path / "shipped", precision="float32"), run.task.prior(run.averaged_model())
    state = State(torch.rand(1, 3, 16, 16), torch.tensor([300.0], dtype=torch.float64), 0)
    with torch.no_grad():
        assert torch.allclose(prior.estimate(state).x0, expected.estimate(state).x0, atol=1e-2)
    begun = task("prior", tmp_path, network={}, init=str(tmp_path / "shipped"))
    assert begun.config.schedule["prediction_type"] == "v_prediction"
    own, given = (
        begun.model.state_dict(),
        zoo.load(tmp_path / "shipped", precision="float32").network.model.state_dict(),
    )
    assert all(torch.equal(own[key], given[key]) for key in own)


def test_denoising_psnr_of_the_identity_is_the_noise_level() -> None:
    pictures = torch.full((2, 3, 64, 64), 0.5)
    scores = denoising_psnr(lambda x, sigma: x, pictures, 25)
    assert scores == pytest.approx([-20 * np.log10(25 / 255)] * 2, abs=0.1)


# Autoencoders


def test_the_nearest_code_is_the_one_of_least_distance() -> None:
    generator = torch.Generator().manual_seed(0)
    z, codes = torch.randn(2, 3, 5, 7, generator=generator), torch.randn(40, 3, generator=generator)
    found = nearest(z, codes)
    distances = torch.cdist(z.movedim(1, -1).reshape(-1, 3), codes)
    assert torch.equal(found.flatten(), distances.argmin(1))


def test_kmeans_finds_clusters_that_are_there() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = (centres[:, None] + 0.1 * torch.randn(3, 50, 2, generator=generator)).reshape(-1, 2)
    found = kmeans(points, 12, seed=0, rounds=20)
    assert float(torch.cdist(points, found).min(1).values.max()) < 1.0
    with pytest.raises(ValueError, match="at least as many points"):
        kmeans(points, 151)


# Degradations


def test_a_range_draws_one_operator_a_crop_and_a_fixed_operator_is_one() -> None:
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    family = Degradation("gaussian-blur:std=0.5..3.0")
    y, shown = family.measure(x, np.random.default_rng(0))
    assert family.random and torch.equal(y, shown) and y.shape == x.shape
    stds = {float(family.drawn(np.random.default_rng(k)).partition("=")[2]) for k in range(50)}
    assert len(stds) == 50 and min(stds) >= 0.5 and max(stds) <= 3.0
    seeds = {Degradation("mask:random=0.5,seed=1..3").drawn(np.random.default_rng(k))[-1] for k in range(50)}
    assert seeds == {"1", "2", "3"}
    assert not Degradation("bicubic:factor=4").random


def test_noise_is_drawn_within_its_range() -> None:
    x = torch.full((64, 3, 16, 16), 0.5)
    y, _ = Degradation("identity", (0.1, 0.2)).measure(x, np.random.default_rng(0))
    levels = (y - x).flatten(1).std(1)
    assert 0.09 < float(levels.min()) < 0.12 and 0.18 < float(levels.max()) < 0.22


def test_bad_families_are_refused() -> None:
    with pytest.raises(ConfigError, match="ends below its start"):
        Degradation("gaussian-blur:std=3..1")
    with pytest.raises(UnknownNameError):
        Degradation("blurr:std=1..2")
    with pytest.raises(ConfigError, match="noise must be"):
        Degradation("identity", (0.2, 0.1))
