"""Operators with an unknown number: the text, the network that tells it, and methods that need no operator at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pellucid import zoo
from pellucid.blind import (
    Family,
    ParameterEstimator,
    Sought,
    estimated_operator,
    estimated_specs,
    estimator_for,
    is_sought,
    load_parameter,
    needs_operator,
    severity_for,
)
from pellucid.errors import (
    CompatibilityError,
    ConfigError,
    NeedsCapability,
    OperatorError,
    PriorError,
    UnknownNameError,
)
from pellucid.loop import reconstruct
from pellucid.methods import flash, get
from pellucid.nn.parameter import ParameterHead
from pellucid.nn.severity import SeverityEncoder, make_severity
from pellucid.operators.each import Each
from pellucid.operators.text import parse
from pellucid.operators.unknown import Unknown
from pellucid.prior.base import Prior
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Observation, Problem
from pellucid.train.config import ParameterConfig, ShipConfig
from pellucid.train.export import ship
from pellucid.train.quality import figures
from pellucid.train.tasks.make import make_task, read_task
from pellucid.train.trainer import Trainer
from tests.train.settings import toml

pytest.importorskip("diffusers")

TINY = {"class": "encoder", "family": "vq", "widths": [8, 16], "blocks": 1, "groups": 1, "latent": 3}
FAMILY = "gaussian-blur:std=0.3..3.0"
SHAPE = (3, 24, 32)


def shipped(folder: Path, module: torch.nn.Module, kind: str, network: dict[str, Any], **card: Any) -> Path:
    """A network as it is shipped, with the card that is given."""
    from safetensors.torch import save

    content = save({key: value.half().contiguous() for key, value in module.state_dict().items()})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(content)
    data = {"name": folder.name, "kind": kind, "network": network, "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "card.json").write_text(json.dumps(data | card))
    return folder


def shipped_encoder(
    folder: Path, network: dict[str, Any] | None = None, operators: tuple[str, ...] = (FAMILY,)
) -> Path:
    """A severity encoder of random weights."""
    torch.manual_seed(0)
    words = TINY if network is None else network
    takes = {"operators": list(operators), "noise": [0.05, 0.05]}
    module = make_severity(words)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "head" in name:  # which begins with zeros, and would see no difference between pictures
                parameter.add_(0.1 * torch.randn(parameter.shape))
    return shipped(folder, module, "severity", words, takes=takes)


def shipped_head(folder: Path, family: str = FAMILY, encoder: str = "enc", **card: Any) -> Path:
    """A head of random weights for the encoder that lies beside it."""
    torch.manual_seed(1)
    words = {"features": 16, "parameters": len(Family(family).ranges), "width": 8}
    sha256 = json.loads((folder.parent / encoder / "card.json").read_text())["sha256"]
    takes = {"operator": family, "noise": [0.05, 0.05]}
    about = {"takes": takes, "encoder": encoder, "encoder_sha256": sha256, **card}
    return shipped(folder, ParameterHead(**words), "parameter", words, **about)


@pytest.fixture
def small_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of a tiny encoder and a tiny head, in front of the shipped one."""
    shipped_encoder(tmp_path / "zoo" / "enc")
    shipped_head(tmp_path / "zoo" / "head")
    monkeypatch.setattr(zoo, "folders", lambda: [tmp_path / "zoo"])
    return tmp_path / "zoo"


# Text


def test_a_family_draws_its_numbers_and_reads_them_back() -> None:
    family = Family("compose:[gaussian-blur:std=0.5..2.5,boundary=zero],[mask:random=0.1..0.5,seed=3..9]")
    assert [name for _, name in family.ranges] == ["std", "random"]
    text = family.drawn([0.25, 1.0])
    assert text == "compose:[gaussian-blur:std=1,boundary=zero],[mask:random=0.5,seed=3]"
    assert family.shares(text) == pytest.approx([0.25, 1.0])
    whole = Family("uniform-blur:size=3..9")
    assert [whole.drawn([u]) for u in (-1, 0.4, 2)] == [f"uniform-blur:size={n}" for n in (3, 5, 9)]
    with pytest.raises(UnknownNameError, match="gaussian-blur"):
        Family("gausian-blur:std=1..2")


@pytest.mark.parametrize(
    ("family", "text", "fits"),
    [
        (FAMILY, "gaussian-blur:std=?", True),
        (FAMILY, "gaussian-blur:std=?,boundary=zero", False),
        (FAMILY, "uniform-blur:size=?", False),
        ("anisotropic-blur:std_y=1..9,std_x=1..4", "anisotropic-blur:std_y=?,std_x=2", True),
        ("anisotropic-blur:std_y=1..9,std_x=1..4", "anisotropic-blur:std_x=2,std_y=?", True),
        ("anisotropic-blur:std_y=1..9,std_x=1..4", "anisotropic-blur:std_y=?,std_x=5", False),
        ("anisotropic-blur:std_y=1..9,std_x=1..4", "anisotropic-blur:std_y=?", False),
        ("anisotropic-blur:std_y=1..9,std_x=3", "anisotropic-blur:std_y=?,std_x=3.0", True),
        ("anisotropic-blur:std_y=1..9,std_x=3", "anisotropic-blur:std_y=2,std_x=?", False),
        ("mask:random=0.0..0.8,seed=0..99", "mask:random=?,seed=1234", True),
    ],
)
def test_which_family_a_text_belongs_to(family: str, text: str, fits: bool) -> None:
    assert Family(family).takes(Sought(text)) is fits


def test_a_question_mark_stands_for_a_number() -> None:
    assert is_sought("gaussian-blur:std=?") and not is_sought("gaussian-blur:std=3")
    assert not is_sought('kernel-blur:file="what?.npy"')
    sought = Sought("compose:[gaussian-blur:std= ?],[mask:random=?,seed=1]")
    first, second = sought.places
    assert str(sought.filled({first: 1.5, second: 0.25})) == "compose:[gaussian-blur:std=1.5],[mask:random=0.25,seed=1]"
    with pytest.raises(OperatorError, match=r"seed=. cannot be estimated"):
        Sought("mask:random=0.5,seed=?")
    with pytest.raises(OperatorError, match=r"boundary=. cannot be estimated"):
        Sought("gaussian-blur:std=?,boundary=?")
    with pytest.raises(UnknownNameError, match="did you mean 'gaussian-blur'"):
        Sought("gausian-blur:std=?")
    with pytest.raises(OperatorError, match="has no parameter 'width'"):
        Sought("gaussian-blur:width=?")
    with pytest.raises(OperatorError, match="holds no"):
        Sought("gaussian-blur:std=2")


# The network


def measurements(count: int = 3) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0))


def test_every_image_has_the_operator_that_its_own_measurement_tells(small_zoo: Path) -> None:
    y = measurements()
    specs = estimated_specs("gaussian-blur:std=?", y, SHAPE)
    assert len({str(spec) for spec in specs}) == 3 and all(spec.name == "gaussian-blur" for spec in specs)
    estimator = load_parameter("head")
    shares = estimator.shares(y, SHAPE)
    assert shares.shape == (3, 1) and (shares > 0).all() and (shares < 1).all()
    for i in range(3):
        assert torch.allclose(estimator.shares(y[i : i + 1], SHAPE)[0], shares[i], atol=1e-6)
        assert dict(specs[i].parameters)["std"] == pytest.approx(0.3 + 2.7 * float(shares[i]), rel=1e-5)
    operator = estimated_operator("gaussian-blur:std=?", y, SHAPE)
    assert isinstance(operator, Each)
    x = measurements(3) ** 2
    blurred = operator(x)
    for i, spec in enumerate(specs):
        assert torch.allclose(blurred[i : i + 1], spec.build(SHAPE)(x[i : i + 1]), atol=1e-6)
    grey = estimator.shares(y[:, :1], (1, 24, 32))
    assert torch.allclose(grey, estimator.shares(y[:, :1].expand(-1, 3, -1, -1), SHAPE), atol=1e-6)
    assert estimator.shares(torch.rand(1, 3, 23, 31), (3, 23, 31)).isfinite().all()  # no multiple of anything


def test_the_features_say_how_much_there_is_wherever_it_is() -> None:
    torch.manual_seed(0)
    head, features = ParameterHead(5, 2), torch.randn(2, 5, 6, 6)
    told = head(features)
    assert told.shape == (2, 2) and torch.allclose(head(features.flip(2, 3).repeat(1, 1, 2, 1)), told, atol=1e-5)
    flat = torch.ones(1, 5, 4, 4, requires_grad=True)
    head(flat).sum().backward()
    assert flat.grad is not None and flat.grad.isfinite().all()


def test_what_is_not_there_says_so(small_zoo: Path) -> None:
    y = measurements()
    with pytest.raises(CompatibilityError, match=r"no network estimates uniform-blur:size=.*head: gaussian-blur"):
        estimated_specs("uniform-blur:size=?", y, SHAPE)
    with pytest.raises(CompatibilityError, match="head estimates"):
        estimated_specs("uniform-blur:size=?", y, SHAPE, "head")
    with pytest.raises(UnknownNameError):
        estimated_specs("gaussian-blur:std=?", y, SHAPE, "heat")
    with pytest.raises(PriorError, match="kind 'severity', not 'parameter'"):
        estimated_specs("gaussian-blur:std=?", y, SHAPE, "enc")
    shipped_head(small_zoo / "other", encoder_sha256="0" * 64)
    with pytest.raises(PriorError, match="was trained on another enc"):
        load_parameter("other")
    shipped_head(small_zoo / "wordless", takes={})
    with pytest.raises(PriorError, match="does not say which encoder"):
        load_parameter("wordless")
    shipped_head(small_zoo / "more", takes={"operator": "anisotropic-blur:std_y=1..2,std_x=1..2"})
    with pytest.raises(PriorError, match="does not tell as many numbers"):
        load_parameter("more")
    for name in ("other", "wordless", "more"):
        (small_zoo / name / "card.json").unlink()
    assert estimator_for(Sought("gaussian-blur:std=?")).name == "head"
    assert severity_for(Sought("gaussian-blur:std=?")) == "enc"
    assert severity_for(Sought("uniform-blur:size=?")) is None


def test_a_measurement_that_is_no_picture_tells_nothing() -> None:
    family = Family("tomography:angles=20..40")
    encoder = make_severity(TINY)
    assert isinstance(encoder, SeverityEncoder)
    estimator = ParameterEstimator(encoder, ParameterHead(16, 1, 8), family)
    y = parse("tomography:angles=30").build((1, 16, 16))(torch.rand(1, 1, 16, 16))
    with pytest.raises(NeedsCapability, match="no picture"):
        estimator(Sought("tomography:angles=?"), y, (1, 16, 16))


# Nothing known


class Seen:
    """An encoder that takes the measurement for the estimate."""

    def __call__(self, observation: Observation, prior: Prior) -> tuple[Tensor, Tensor]:
        return observation.y, torch.full((len(observation.y),), 0.1, dtype=torch.float64)


def test_flash_alone_needs_no_operator_and_others_say_that_they_do() -> None:
    prior = GaussianPrior.natural(8)
    y = torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    method = flash("none", Seen())
    assert not needs_operator(method) and not needs_operator(get("ae").build(encoder=Seen()))
    found = reconstruct(Problem(y, Unknown((3, 8, 8)), 0.05), prior, method)
    assert found.image.isfinite().all() and found.operator_calls == 0 and (found.nfe > 5).all()
    # What it would be with an operator that is known: the same.
    known = reconstruct(Problem(y, Unknown((3, 8, 8)), 0.5), prior, method)
    assert torch.equal(found.image, known.image)
    for other in (flash("dps", Seen()), get("dps").build(), get("resample").build(), get("pinv").build()):
        assert needs_operator(other)
    with pytest.raises(NeedsCapability, match=r"the operator is unknown.*inner=none"):
        reconstruct(Problem(y, Unknown((3, 8, 8)), 0.05), prior, flash("dps", Seen()))


# Training


def grains(folder: Path) -> Path:
    """Four pictures of nothing but grain, in which a blur shows everywhere."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(4):
        Image.fromarray(rng.integers(0, 256, (80, 96, 3), np.uint8)).save(folder / f"{k}.png")
    return folder


def config(folder: Path, **more: Any) -> dict[str, Any]:
    small = {"steps": 60, "pixels": 8 * 32 * 32, "crops": (32,), "crop_odds": (1.0,), "warmup": 2, "lr": 1e-2}
    quiet = {"checkpoint_every": 60, "sample_every": 0, "precision": "no", "threads": 1, "out": folder / "run"}
    data = folder / "data"
    about = {"data": data if data.exists() else grains(data), "encoder": str(folder / "enc"), "operator": FAMILY}
    return {**small, **quiet, **about, "noise": (0.0, 0.02), "network": {"width": 16}, **more}


def test_a_head_learns_is_shipped_and_tells(tmp_path: Path) -> None:
    shipped_encoder(tmp_path / "enc")
    held = ShipConfig(
        to=tmp_path / "head", summary="small", data="grain", evaluate=tmp_path / "data", licences={"CC0": 4},
        evaluate_source={"size": 64},
    )  # fmt: skip
    run = Trainer(make_task("parameter", ParameterConfig(**config(tmp_path, ship=held))))
    run.train()
    measured = ship(run, "the command")
    assert measured["pictures"] == 4 and measured["std_correlation"] > 0.8
    assert measured["std_mae"] < measured["std_mae_constant"] / 2
    assert figures(run.task, ParameterHead(16, 1, 16), torch.rand(2, 3, 32, 32))["std_mae"] > measured["std_mae"]
    card = zoo.Card.read(tmp_path / "head")
    assert card.kind == "parameter" and card.data["encoder"] == "enc" and card.data["takes"]["operator"] == FAMILY
    estimator = load_parameter(tmp_path / "head")
    x = torch.stack([run.task.crops.source.picture(0)[:, :64, :64]])
    true = (0.5, 1.5, 2.5)
    y = torch.cat([parse(f"gaussian-blur:std={std}").build((3, 64, 64))(x) for std in true])
    told = [dict(spec.parameters)["std"] for spec in estimator(Sought("gaussian-blur:std=?"), y, (3, 64, 64))]
    assert all(abs(float(a) - b) < 0.6 for a, b in zip(told, true, strict=True))  # type: ignore[arg-type]


def test_a_batch_is_a_function_of_its_step_and_pairs_what_is_shown_with_its_number(tmp_path: Path) -> None:
    shipped_encoder(tmp_path / "enc")
    task = make_task("parameter", ParameterConfig(**config(tmp_path)))
    first, again, other = task.batch(3, 0), task.batch(3, 0), task.batch(4, 0)
    assert torch.equal(first["v"], again["v"]) and torch.equal(first["u"], again["u"])
    assert not torch.equal(first["u"], other["u"]) and first["u"].shape == (8, 1)
    rough = (first["v"].diff(dim=3).square().mean((1, 2, 3))).log()  # a stronger blur is smoother
    assert float(torch.corrcoef(torch.stack([rough, first["u"][:, 0]]))[0, 1]) < 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"operator": "gaussian-blur:std=2"}, "has no range"),
        ({"operator": "bicubic:factor=2..4"}, "no pictures of one size"),
        ({"network": {"features": 8}}, "its width alone"),
        ({"noise": (0.2, 0.1)}, "noise must be a range"),
    ],
)
def test_configurations_that_cannot_be(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    shipped_encoder(tmp_path / "enc")
    with pytest.raises(ConfigError, match=said):
        make_task("parameter", ParameterConfig(**config(tmp_path, **change)))


def test_a_configuration_is_read_from_a_file(tmp_path: Path) -> None:
    shipped_encoder(tmp_path / "enc")
    (tmp_path / "train.toml").write_text(toml(config(tmp_path)))
    assert read_task("parameter", tmp_path / "train.toml").training == "parameter"
    shipped_encoder(tmp_path / "unet", {"class": "unet", "widths": [8, 8], "blocks": [1, 1], "heads": 1})
    with pytest.raises(ConfigError, match="severity encoder of latents"):
        read_task("parameter", tmp_path / "train.toml", encoder=str(tmp_path / "unet"))


# What it is worth


def test_the_page_is_made_from_its_results() -> None:
    from pellucid.bench.claims import blind

    if not (blind.RESULTS / "blind.json").is_file():
        pytest.skip("the study's results are not in this checkout")
    assert blind.PAGE.read_text(encoding="utf-8") == blind.text(blind.RESULTS)


def test_widths_of_the_study_are_the_pictures_own() -> None:
    from pellucid.bench.claims.blind import HIGH, LOW, width_of

    widths = [width_of(f"picture-{k}") for k in range(200)]
    assert min(widths) > LOW and max(widths) < HIGH and abs(np.mean(widths) - (LOW + HIGH) / 2) < 0.15
    assert width_of("picture-7") == widths[7]
