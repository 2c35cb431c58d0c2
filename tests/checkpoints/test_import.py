"""From a file to a folder to a prior: what is written, what it computes, what is refused, what it costs in memory."""

from __future__ import annotations

import collections
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pellucid.checkpoints.convert import import_file, planned, recognise
from pellucid.checkpoints.diffusers import schedule
from pellucid.checkpoints.folder import load, read_weights
from pellucid.checkpoints.kinds import Foreign, kinds
from pellucid.cli import run
from pellucid.errors import ConfigError, PriorError
from pellucid.prior.base import State
from pellucid.process import VE, DiscreteVP
from pellucid.zoo import load as load_prior
from tests.checkpoints import originals
from tests.checkpoints.stored import recorded, relative

pytest.importorskip("diffusers")
OPTIONS = {"head_channels": 16}


def adm_weights(**changes: Any) -> dict[str, Tensor]:
    structure: dict[str, Any] = {"out": 6, "resnet": True, "shift": True, **changes}
    return originals.random_weights(originals.adm_shapes(32, (1, 2), 1, (1,), **structure))


@pytest.fixture
def adm_file(tmp_path: Path) -> Path:
    torch.save(adm_weights(), tmp_path / "uncond.pt")
    return tmp_path / "uncond.pt"


def test_an_imported_adm_file_is_a_prior(adm_file: Path, tmp_path: Path) -> None:
    made = import_file(adm_file, tmp_path / "adm", options=OPTIONS)
    assert made.parameters == sum(value.numel() for value in adm_weights().values())
    prior = load_prior(tmp_path / "adm", precision="float32")
    assert prior.learned_variance and prior.multiple == 2 and prior.channels == 3
    assert prior.codec.bounds == (-1.0, 1.0)
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([1.0, 500.0], dtype=torch.float64)
    eps, v = originals.adm(adm_weights(), x, t - 1, head=16).chunk(2, 1)
    process = DiscreteVP.linear()
    alpha, sigma = (c(t).float()[:, None, None, None] for c in (process.alpha, process.sigma))
    estimate = prior.estimate(State(x, t))
    assert torch.allclose(estimate.x0, (x - sigma * eps) / alpha, rtol=1e-4, atol=1e-4)
    assert estimate.mix is not None and torch.allclose(estimate.mix, (v + 1) / 2, atol=1e-4)


def test_the_folder_is_one_of_diffusers_with_a_card(adm_file: Path, tmp_path: Path) -> None:
    from diffusers import UNet2DModel

    import_file(adm_file, tmp_path / "adm", options=OPTIONS)
    assert sorted(p.name for p in (tmp_path / "adm").iterdir()) == [
        "card.json", "config.json", "diffusion_pytorch_model.safetensors", "scheduler_config.json",
    ]  # fmt: skip
    card = json.loads((tmp_path / "adm" / "card.json").read_text())
    assert card["checkpoint"] == "adm" and card["kind"] == "prior" and card["options"]["head_channels"] == 16
    import hashlib

    file = tmp_path / "adm" / "diffusion_pytorch_model.safetensors"
    assert card["sha256"] == {file.name: hashlib.sha256(file.read_bytes()).hexdigest()}
    model = UNet2DModel.from_pretrained(tmp_path / "adm").eval()
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([7.0])
    with torch.no_grad():
        assert torch.allclose(model(x, t)[0], originals.adm(adm_weights(), x, t, head=16), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_floating_type_becomes_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    weights = {key: value.to(dtype) for key, value in adm_weights().items()}
    torch.save({"state_dict": {f"module.{key}": value for key, value in weights.items()}}, tmp_path / "a.pt")
    import_file(tmp_path / "a.pt", tmp_path / "a", options=OPTIONS)
    written = dict(read_weights(tmp_path / "a", "diffusion_pytorch_model"))
    assert {value.dtype for value in written.values()} == {torch.float32}
    assert torch.equal(written["conv_in.weight"], weights["input_blocks.0.0.weight"].float())


def test_a_class_conditional_prior_wants_its_class(tmp_path: Path) -> None:
    weights = adm_weights(classes=10)
    torch.save(weights, tmp_path / "a.pt")
    import_file(tmp_path / "a.pt", tmp_path / "open", options=OPTIONS)
    with pytest.raises(PriorError, match=r"class-conditional: say the class, 0 to 9"):
        load_prior(tmp_path / "open")
    with pytest.raises(ConfigError, match="from 0 to 9"):
        import_file(tmp_path / "a.pt", tmp_path / "b", options={**OPTIONS, "label": 10})
    import_file(tmp_path / "a.pt", tmp_path / "seven", options={**OPTIONS, "label": 7})
    prior: Any = load_prior(tmp_path / "seven", precision="float32")
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([3.0, 30.0])
    wanted = originals.adm(weights, x, t, torch.tensor([7, 7]), head=16)
    assert torch.allclose(prior.network(x, t), wanted, atol=1e-4)


def score_file(path: Path, averaged: bool = True) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A file as score_sde writes it, (last weights, averaged weights)."""
    shapes = originals.ncsnpp_shapes(32, (1, 2), 1, ())
    last, ema = originals.random_weights(shapes, 0), originals.random_weights(shapes, 1)
    ema["all_modules.0.W"] = last["all_modules.0.W"]
    model = collections.OrderedDict((f"module.{key}", value) for key, value in last.items())
    trained = [value for key, value in ema.items() if key not in ("sigmas", "all_modules.0.W")]
    tree = {"optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, "model": model, "step": 7}
    torch.save(tree | ({"ema": {"decay": 0.999, "shadow_params": trained}} if averaged else {}), path)
    return last, ema


@pytest.mark.parametrize("averaged", [None, True, False])
def test_an_imported_score_network_is_a_prior(tmp_path: Path, averaged: bool | None) -> None:
    last, ema = score_file(tmp_path / "a.pth")
    made = import_file(tmp_path / "a.pth", tmp_path / "a", averaged=averaged)
    assert made.card["averaged"] is (averaged is not False)
    prior = load_prior(tmp_path / "a", precision="float32")
    assert isinstance(prior.process, VE) and prior.process.t_max == pytest.approx(10**2.5)
    assert prior.process.sigma_min == pytest.approx(0.01) and prior.codec.bounds == (0.0, 1.0)
    sigma = torch.tensor([0.3, 40.0], dtype=torch.float64)
    x = torch.rand(2, 3, 16, 16) + sigma.float()[:, None, None, None] * torch.randn(2, 3, 16, 16)
    score = originals.ncsnpp(last if averaged is False else ema, x, sigma.float(), (1, 2), 1, ())
    wanted = x + sigma.float()[:, None, None, None] ** 2 * score
    assert torch.allclose(prior.estimate(State(x, sigma)).x0, wanted, rtol=1e-4, atol=1e-3)


def test_averaged_weights_that_are_not_there_are_said_to_be_missing(tmp_path: Path) -> None:
    score_file(tmp_path / "a.pth", averaged=False)
    with pytest.raises(ConfigError, match="no averaged weights"):
        import_file(tmp_path / "a.pth", tmp_path / "a", averaged=True)
    assert import_file(tmp_path / "a.pth", tmp_path / "a").card["averaged"] is False


def test_an_imported_clip_is_one_of_transformers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers")
    stored = recorded("clip_reduced")
    extra = {"input_resolution": torch.tensor(32), "transformer.resblocks.0.attn_mask": torch.zeros(12, 12)}
    torch.save({key: value.half() for key, value in stored.weights.items()} | extra, tmp_path / "clip.pt")
    import_file(tmp_path / "clip.pt", tmp_path / "clip")
    module = load(tmp_path / "clip", role="embedding")
    assert capfd.readouterr().err == ""
    features = module.get_image_features(stored.io["x"])
    features = features if isinstance(features, Tensor) else features.pooler_output
    assert relative(features, stored.io["image_features"]) < 2e-5
    with pytest.raises(PriorError, match="its role is embedding, not that of a prior"):
        load_prior(tmp_path / "clip")


# The command.


def test_the_command_says_what_it_found_and_what_comes_next(
    adm_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["import", str(adm_file), "-o", str(tmp_path / "out"), "--set", "head_channels=16"]
    assert run(arguments) == 0
    said = capsys.readouterr().out
    assert "an ADM U-Net" in said and "head_channels=16" in said and "parameters in" in said
    assert f"--prior {tmp_path / 'out'}" in said
    assert run(arguments) == 9 and "--force" in capsys.readouterr().err
    before = (tmp_path / "out" / "card.json").stat().st_mtime_ns
    assert run([*arguments, "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checkpoint"] == "adm"
    assert (tmp_path / "out" / "card.json").stat().st_mtime_ns > before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "uncond.pt"]


def test_the_command_lists_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import", "--list", "--json"]) == 0
    rows = {row["kind"]: row for row in json.loads(capsys.readouterr().out)}
    assert {"adm", "ddpm", "ldm", "ldm-autoencoder", "ncsnpp", "clip"} <= set(rows)
    assert "openaipublic" in rows["adm"]["published"] and "MIT" in rows["clip"]["licence"]


@pytest.mark.parametrize(
    ("extra", "code", "said"),
    [
        (["--kind", "admm"], 8, "did you mean 'adm'"),
        (["--kind", "ddpm"], 9, "does not fit the kind ddpm"),
        (["--set", "heads=3"], 7, "no option 'heads'"),
        (["--set", "schedule=steep"], 7, "linear, scaled_linear, cosine"),
        (["--set", "head_channels=13"], 9, "head_channels=N"),
    ],
)
def test_bad_requests_leave_nothing_behind(
    adm_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str], code: int, said: str
) -> None:
    assert run(["import", str(adm_file), "-o", str(tmp_path / "out"), *extra]) == code
    assert said in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["uncond.pt"]


def test_missing_places_and_arguments(tmp_path: Path, adm_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import"]) == 7 and "pellucid import FILE -o DIR" in capsys.readouterr().err
    assert run(["import", str(tmp_path / "none.pt"), "-o", str(tmp_path / "out")]) == 9
    assert run(["import", str(adm_file), "-o", str(adm_file / "out")]) == 9
    assert "is a file, which cannot hold out" in capsys.readouterr().err


def test_a_failure_in_the_middle_keeps_the_old_folder(
    adm_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pellucid.checkpoints import convert

    import_file(adm_file, tmp_path / "out", options=OPTIONS)
    old = (tmp_path / "out" / "card.json").read_text()

    def full(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert.writer, "write", full)
    with pytest.raises(PriorError, match="No space left"):
        import_file(adm_file, tmp_path / "out", options=OPTIONS, replace=True)
    assert (tmp_path / "out" / "card.json").read_text() == old
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "uncond.pt"]


# Folders that were changed afterwards.


def without_hashes(folder: Path) -> None:
    """The card as somebody who changes weights on purpose leaves it."""
    card = json.loads((folder / "card.json").read_text())
    del card["sha256"]
    (folder / "card.json").write_text(json.dumps(card))


def test_a_part_below_the_folder_is_held_against_the_card_too(tmp_path: Path) -> None:
    from safetensors.torch import save

    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "model.safetensors").write_bytes(save({"a": torch.ones(2)}))
    (tmp_path / "card.json").write_text(
        json.dumps({"checkpoint": "ldm", "sha256": {"unet/model.safetensors": 64 * "0"}})
    )
    with pytest.raises(PriorError, match="damaged"):
        dict(read_weights(tmp_path / "unet"))


def test_a_configuration_may_leave_out_defaults_and_not_ask_for_more_than_the_file_holds(
    adm_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    import_file(adm_file, folder, options=OPTIONS)
    config = json.loads((folder / "config.json").read_text())

    def changed(**words: Any) -> None:
        kept = {key: value for key, value in (config | words).items() if value is not None}
        (folder / "config.json").write_text(json.dumps(kept))

    changed(in_channels=None)
    assert load_prior(folder).channels == 3
    blocks = len(config["block_out_channels"])
    changed(block_out_channels=[32 * 10**5] * blocks)
    with pytest.raises(PriorError, match=r"announces [0-9,]+ weights, its files hold"):
        load_prior(folder)
    changed(block_out_channels=[-32] * blocks)
    with pytest.raises(PriorError, match="describes no network"):
        load_prior(folder)
    monkeypatch.setattr("pellucid.checkpoints.announced.MOST_CALLS", 5000)
    changed(layers_per_block=10**9)
    with pytest.raises(PriorError, match="too many layers"):
        load_prior(folder)


@pytest.mark.parametrize(
    "words",
    [
        {"trained_betas": [0.1, 2.0]},
        {"trained_betas": [[0.1], [0.2]]},
        {"trained_betas": ["a"]},
        {"num_train_timesteps": 10**12},
        {"num_train_timesteps": None},
        {"beta_start": -1.0},
        {"beta_end": "far"},
        {"beta_schedule": ["linear"]},
    ],
)
def test_a_schedule_that_is_none_is_refused(words: dict[str, Any]) -> None:
    with pytest.raises(PriorError, match="the scheduler"):
        schedule(words)
    assert schedule({"trained_betas": [0.1, 0.2]}).t_max == 2


@pytest.mark.parametrize("error", [ZeroDivisionError, AttributeError, StopIteration, RecursionError, KeyError])
def test_whatever_goes_wrong_in_a_kind_is_said_of_the_file(error: type[Exception]) -> None:
    def fails(_: Any) -> Any:
        raise error

    broken = dataclasses.replace(kinds()["adm"], recognise=fails, plan=fails)
    foreign = Foreign.of(adm_weights())
    with pytest.raises(PriorError, match=f"does not fit the kind adm: {error.__name__}"):
        planned(broken, foreign)
    known = {**kinds(), "broken": broken}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pellucid.checkpoints.convert.kinds", lambda: known)
        assert recognise(foreign.shapes).name == "adm"


def test_damaged_folders_are_refused(adm_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    import_file(adm_file, folder, options=OPTIONS)
    weights = folder / "diffusion_pytorch_model.safetensors"
    content = weights.read_bytes()
    for damaged in (content[: len(content) // 2], content[:-1] + bytes([content[-1] ^ 1])):
        weights.write_bytes(damaged)
        with pytest.raises(PriorError, match=r"damaged: its sha256 is .*, the card says"):
            load_prior(folder)
    without_hashes(folder)
    load_prior(folder)  # of a card without hashes everything that fits is taken
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(PriorError, match="cannot be loaded"):
        load_prior(folder)
    weights.unlink()
    with pytest.raises(PriorError, match="holds no diffusion_pytorch_model"):
        load_prior(folder)
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text('{"weight_map": {"a": "../x.safetensors"}}')
    with pytest.raises(PriorError, match="no safetensors file in its own folder"):
        load_prior(folder)


def test_weights_that_do_not_fill_the_network_are_refused(adm_file: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "out"
    import_file(adm_file, folder, options=OPTIONS)
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    del weights["conv_out.bias"]
    save_file(weights, folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    without_hashes(folder)
    with pytest.raises(PriorError, match=r"1 missing_keys, first conv_out\.bias"):
        load_prior(folder)


def test_a_folder_of_another_role_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(json.dumps({"checkpoint": "ldm-autoencoder"}))
    with pytest.raises(PriorError, match="its role is autoencoder, not that of a prior"):
        load(tmp_path, role="prior")
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(PriorError, match="of no imported checkpoint"):
        load(tmp_path)


MEASURE = """
import sys
from pathlib import Path
import torch
from pellucid.checkpoints.convert import import_file
from tests.checkpoints import originals
from tests.checkpoints.stored import recorded, relative
import diffusers.models.unets.unet_2d
path, out = map(Path, sys.argv[1:])
shapes = originals.adm_shapes(32, (1, 1), 1, (1,), out=3, resnet=True, shift=True)
torch.save(originals.random_weights(shapes), out / "s.pt")
import_file(out / "s.pt", out / "small", options={"head_channels": 16})  # loads every library
def highest():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
Path("/proc/self/clear_refs").write_text("5")  # the highest memory so far is forgotten; getrusage's cannot be
before = highest()
import_file(path, out / "large")
print(highest() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is measured as Linux tells it")
def test_importing_needs_a_fraction_of_the_files_size_in_memory(tmp_path: Path) -> None:
    shapes = originals.adm_shapes(128, (1, 2, 4), 2, (2,), out=6, resnet=True, shift=True)
    torch.save({key: torch.zeros(shape) for key, shape in shapes.items()}, tmp_path / "large.pt")
    size = (tmp_path / "large.pt").stat().st_size / 2**20
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / "large.pt", tmp_path],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    growth = float(ran.stdout.split()[-1])
    print(f"{size:.0f} MiB imported with {growth:.0f} MiB more memory")
    assert size > 200 and growth < 0.25 * size


def test_every_kind_is_on_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "checkpoints.md").read_text()
    assert len(kinds()) >= 6
    for name, kind in kinds().items():
        assert f"`{name}`" in page, name
        for option, fact in kind.options.items():
            assert f"`{option}`" in page if fact.default is None else f"`{option}=" in page, (name, option)
