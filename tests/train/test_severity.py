"""Training of severity encoders: the loss by hand, every kind of prior's space, resuming, calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pellucid.codec.autoencoder import AutoencoderCodec
from pellucid.errors import ConfigError
from pellucid.nn.severity import PixelSeverity, SeverityEncoder
from pellucid.severity import load_severity
from pellucid.train.config import AutoencoderConfig, SeverityConfig, ShipConfig
from pellucid.train.degradation import Families
from pellucid.train.export import ship
from pellucid.train.tasks.make import make_task
from pellucid.train.tasks.severity import SeverityTask, in_units, severity_errors
from pellucid.train.trainer import Trainer
from tests.train.settings import UNET, words

OPERATORS = ("gaussian-blur:std=0.3..2", "mask:random=0.2..0.6,seed=0..99")
SPACES: dict[str, dict[str, Any]] = {"vq": {"network": {}}, "kl": {"network": {}}, "pixels": {"network": UNET}}


@pytest.fixture(scope="module")
def autoencoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A VQ and a KL autoencoder of six steps, shipped."""
    folder = tmp_path_factory.mktemp("autoencoders")
    made = {}
    for kind in ("vq", "kl"):
        network = {"block_out_channels": [8, 16], "norm_num_groups": 1}
        network |= {"num_vq_embeddings": 16} if kind == "vq" else {}
        values = words("autoencoder", folder, out=folder / f"run-{kind}", kind=kind, network=network, adversarial=0.0)
        run = Trainer(make_task("autoencoder", AutoencoderConfig(**values)))
        run.train()
        ship(run, "c", folder / kind)
        made[kind] = str(folder / kind)
    return made


def task(folder: Path, autoencoders: dict[str, str], space: str = "vq", **more: Any) -> SeverityTask:
    values = words("prior", folder) | {"operators": OPERATORS, "codec": autoencoders.get(space, ""), **SPACES[space]}
    made = make_task("severity", SeverityConfig(**{**values, **more}))
    assert isinstance(made, SeverityTask)
    return made


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("weighting", ["paper", "released"])
@pytest.mark.parametrize("severity", ["scalar", "map"])
def test_the_loss_is_the_papers(
    tmp_path: Path, autoencoders: dict[str, str], severity: str, weighting: str, relative: bool
) -> None:
    """METHODS 2.2, entry by entry; the image term is decoded through the code book."""
    terms: dict[str, Any] = {"severity": severity, "weighting": weighting, "relative": relative}
    made = task(tmp_path, autoencoders, lambda_sigma=7.0, lambda_im=3.0, **terms)
    batch = made.batch(3, 0)
    found = made.objectives["severity"](**batch)
    codec = made.codec
    assert isinstance(codec, AutoencoderCodec)
    with torch.no_grad():
        raw, field = made.model.field(2 * batch["y"] - 1)  # type: ignore[operator]
        z, s2 = in_units(codec, raw), codec.scaling_factor**2 * field
        e = z - batch["z0"]
        wanted = 0.0
        images = 2 * codec.decode(z) - 1 - (2 * batch["x"] - 1)
        for k in range(len(e)):
            if severity == "scalar":
                unit = s2[k].mean().clamp(min=1e-3) if relative else 1.0
                spread = ((e[k].flatten().var(unbiased=True) - s2[k].mean()) / unit) ** 2
            else:
                units = s2[k].clamp(min=1e-3) if relative else 1.0
                spread = (((e[k] ** 2 - s2[k]) / units) ** 2).mean()
            wanted += float((e[k] ** 2).mean() + 7 * spread) / len(e)
            wanted += 3 * float((images[k] ** 2).mean()) / (len(e) if weighting == "paper" else 1)
    assert float(found.detach()) == pytest.approx(wanted, rel=1e-4)


def test_the_variance_moves_the_estimate_unless_detached(tmp_path: Path, autoencoders: dict[str, str]) -> None:
    def moved(detached: bool) -> bool:
        made = task(
            tmp_path, autoencoders, lambda_im=0.0, lambda_sigma=1e9, detached=detached, network={"head": "features"}
        )
        encoder = made.model
        assert isinstance(encoder, SeverityEncoder) and isinstance(encoder.encoder.conv_out, nn.Conv2d)
        made.objectives["severity"](**made.batch(0, 0)).backward()
        gradient = encoder.encoder.conv_out.weight.grad
        assert gradient is not None
        return float(gradient.abs().max()) > 1e3  # of a term that is weighed a billion times

    assert moved(False) and not moved(True)


@pytest.mark.parametrize("space", SPACES)
def test_every_space_trains_resumes_and_is_shipped(tmp_path: Path, autoencoders: dict[str, str], space: str) -> None:
    whole = Trainer(task(tmp_path, autoencoders, space, out=tmp_path / "whole"))
    whole.train()
    first = Trainer(task(tmp_path, autoencoders, space, out=tmp_path / "parts"))
    first.train(until=3)
    second = Trainer(task(tmp_path, autoencoders, space, out=tmp_path / "parts"))
    second.train()
    for a, b in zip(whole.averaged_model().parameters(), second.averaged_model().parameters(), strict=True):
        assert torch.equal(a, b)
    card = whole.task.card(whole.averaged_model())
    assert card["takes"] == {"operators": list(OPERATORS), "noise": [0.05, 0.05]}
    ship(whole, "c", tmp_path / "shipped")
    loaded = load_severity(tmp_path / "shipped")
    assert loaded.families == OPERATORS and loaded.noise == (0.05, 0.05)
    assert isinstance(loaded.network, PixelSeverity if space == "pixels" else SeverityEncoder)
    assert (loaded.codec_sha256 is None) == (space == "pixels")


def test_training_begins_as_the_autoencoders_own_code(tmp_path: Path, autoencoders: dict[str, str]) -> None:
    made = task(tmp_path, autoencoders, network={"head": "features"})
    x = made.batch(0, 0)["x"]
    with torch.no_grad():
        z = in_units(made.codec, made.model(2 * x - 1)[0])  # type: ignore[operator]
    assert torch.allclose(z, made.codec.encode(x), atol=1e-5)


def test_a_run_learns_its_error(tmp_path: Path, autoencoders: dict[str, str]) -> None:
    """On pictures of all degrees of blankness the predicted variance comes to follow the true one."""
    more = {"steps": 120, "severity": "map", "network": {"head": "features"}, "lr": 3e-3, "lambda_im": 0.0}
    made = task(tmp_path, autoencoders, operators=("mask:random=0.0..0.9,seed=0..99",), **more)
    pictures = made.batch(10**6, 0)["x"]
    before = severity_errors(made.model, made.codec, made.families, pictures, 4)
    run = Trainer(made)
    run.train()
    after = severity_errors(run.averaged_model(), made.codec, made.families, pictures, 4)
    assert after.true.mean() < before.true.mean()
    assert (after.predicted.log() - after.true.log()).abs().mean() < (
        before.predicted.log() - before.true.log()
    ).abs().mean()
    assert float(torch.corrcoef(torch.stack([after.predicted, after.true]))[0, 1]) > 0.5


def test_calibration_is_fitted_to_other_pictures_than_it_is_measured_on(
    tmp_path: Path, autoencoders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    import pellucid.train.quality as quality_of
    import pellucid.train.tasks.severity as tasks

    pictures = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(quality_of, "centre_crops", lambda *a, **k: pictures)

    def spy(model: nn.Module, codec: Any, families: Families, chosen: torch.Tensor, *rest: Any, **named: Any) -> Any:
        seen.extend(int((pictures == one).flatten(1).all(1).nonzero()) for one in chosen)
        return severity_errors(model, codec, families, chosen, *rest, **named)

    monkeypatch.setattr(tasks, "severity_errors", spy)
    settings = ShipConfig(to=tmp_path / "s", summary="s", data="noise", evaluate=tmp_path, licences={"CC0": 6})
    made = task(tmp_path, autoencoders, ship=settings)
    fitted = made.calibration(made.model)
    assert seen == [0, 2, 4] and fitted["temperature"] > 0
    measured = quality_of.figures(made, made.model, pictures)
    assert seen == [0, 2, 4, 1, 3, 5] and -1 <= measured["spearman"] <= 1


def test_families_draw_each_and_enlarge_what_is_smaller() -> None:
    import numpy as np

    x = torch.rand(16, 3, 16, 16)
    families = Families(("bicubic:factor=4", "hdr:scale=0.5,pivot=0"), (0.0, 0.0))
    y = families.measure(x, np.random.default_rng(0))
    assert y.shape == x.shape
    dark = torch.tensor([torch.allclose(a, 0.5 * b, atol=1e-6) for a, b in zip(y, x, strict=True)])
    assert 2 <= int(dark.sum()) <= 14


def test_bad_configurations(tmp_path: Path, autoencoders: dict[str, str]) -> None:
    for more, said in (
        ({"operators": ()}, "at least one family"),
        ({"severity": "both"}, "severity must be"),
        ({"weighting": "mine"}, "weighting must be"),
        ({"lambda_sigma": -1.0}, "lambda_sigma must not be negative"),
        ({"network": {"widths": [4, 4]}}, "but for head; not 'widths'"),
    ):
        with pytest.raises(ConfigError, match=said):
            task(tmp_path, autoencoders, **more)  # type: ignore[arg-type]
