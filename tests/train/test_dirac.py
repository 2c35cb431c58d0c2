"""Training of Dirac's network: the loss by hand, batches, classes of network, the beginning, and what is shipped."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pellucid import zoo
from pellucid.errors import PellucidError
from pellucid.loop import reconstruct
from pellucid.methods import dirac
from pellucid.operators.families import BlurFamily
from pellucid.prior.base import State
from pellucid.prior.dirac import DiracPrior
from pellucid.problem import Problem
from pellucid.train.config import DiracConfig
from pellucid.train.export import ship
from pellucid.train.tasks.dirac import DiracTask, restoration_psnr
from pellucid.train.tasks.make import make_task
from pellucid.train.trainer import Trainer
from tests.nn.test_restorer import CLASSES, stirred
from tests.train.settings import UNET, words


def task(folder: Path, /, **more: Any) -> DiracTask:
    values = words("dirac", folder) | {"family": "blur:widest=1.5", "increment": 0.0, "severity": False} | more
    made = make_task("dirac", DiracConfig(**values))
    assert isinstance(made, DiracTask)
    return made


@pytest.mark.parametrize(("look_ahead", "weighting"), [*product((0.0, 0.3, 1.0), ("inverse-variance", "uniform"))])
@pytest.mark.parametrize(
    ("predicts", "increment", "severity"),
    [("x0", 0.0, False), ("x0", 0.0, True), ("x0", 0.2, True), ("degraded", 0.2, False), ("noise", 0.05, True)],
)
def test_the_loss_is_the_papers(
    tmp_path: Path, look_ahead: float, weighting: str, predicts: str, increment: float, severity: bool
) -> None:
    """Eq. (12), (14) and (28) pixel by pixel, the rate's and the head's terms; a picture at a time, in numpy."""
    made = task(
        tmp_path,
        look_ahead=look_ahead,
        weighting=weighting,
        predicts=predicts,
        increment=increment,
        severity=severity,
    )
    stirred(made.model)
    batch = made.batch(3, 0)
    family = BlurFamily(tuple(batch["x0"].shape[1:]), made.process.family((3, 16, 16)).stds, identity_below=0.0)  # type: ignore[attr-defined]

    def degraded(x: torch.Tensor, t: float) -> np.ndarray[Any, Any]:
        return np.asarray(family.at(t)(x.double()))

    wanted, head, count = 0.0, 0.0, len(batch["x0"])
    with torch.no_grad():
        found = float(made.objectives["restorer"](**batch))
        for k in range(count):
            x, y, t = batch["x0"][k : k + 1], batch["y"][k : k + 1], float(batch["t"][k])
            sigma = 0.01 * 5**t
            w = sigma**-2 if weighting == "inverse-variance" else 1.0
            estimate, rate = made.model(y, torch.tensor([sigma], dtype=torch.float32))
            if predicts != "x0":
                error = estimate.numpy() - degraded(x, t)
            elif look_ahead == 1:
                error = (estimate - x).numpy()
            else:
                tau = max(0.0, t - look_ahead)
                error = degraded(estimate, tau) - degraded(x, tau)
            wanted += w * float(np.mean(error**2))
            if increment:
                assert rate is not None
                tau = max(0.0, t - increment)
                true = (degraded(x, tau) - degraded(x, t)) / max(t - tau, 1e-3)
                wanted += 0.01 * w * float(np.mean((rate.numpy() - true) ** 2))
            else:
                assert rate is None
            if severity:
                assert made.model.severity is not None
                head += float(made.model.severity(batch["seen"][k : k + 1])[0] - t) ** 2
    assert found == pytest.approx(wanted / count, rel=2e-3)
    assert ("severity" in made.objectives) == severity
    if severity:
        with torch.no_grad():
            assert float(made.objectives["severity"](**batch)) == pytest.approx(head / count, rel=1e-4)


def test_the_head_and_the_restorer_are_moved_apart(tmp_path: Path) -> None:
    made = task(tmp_path, severity=True)
    parts = [made.parameters(name) for name in made.objectives]
    assert sum(map(len, parts)) == len(list(made.model.parameters())) and len(parts) == 2
    assert not {id(p) for p in parts[0]} & {id(p) for p in parts[1]}


def test_batches_are_measurements_of_the_path(tmp_path: Path) -> None:
    """t ~ U(0, 1); y - A_t x_0 is white of deviation sigma_t; what the head sees has noise of any level, told apart."""
    made = task(tmp_path, pixels=400 * 16 * 16, crops=(16,), crop_odds=(1.0,))
    batch, again = made.batch(1, 0), made.batch(1, 0)
    assert all(torch.equal(batch[key], again[key]) for key in batch)
    assert not torch.equal(batch["t"], made.batch(1, 1)["t"]) and not torch.equal(batch["t"], made.batch(2, 0)["t"])
    t = batch["t"]
    assert len(t) == 400 and float(t.min()) < 0.02 and float(t.max()) > 0.98
    assert float(t.mean()) == pytest.approx(0.5, abs=0.06)
    for k in (0, 100, 399):
        wanted = made.process.mean(batch["x0"][k : k + 1], t[k : k + 1])
        assert torch.allclose(batch["mean"][k : k + 1], wanted, atol=1e-6)
    z = (batch["y"] - batch["mean"]) / made.process.sigma(t).float()[:, None, None, None]
    assert float(z.mean()) == pytest.approx(0, abs=0.01) and float(z.std()) == pytest.approx(1, abs=0.01)
    assert float(z.flatten(1).std(1).min()) > 0.9
    level = (batch["seen"] - batch["mean"]).flatten(1).std(1)
    assert 0.009 < float(level.min()) < 0.012 and 0.043 < float(level.max()) < 0.055
    assert abs(float(torch.corrcoef(torch.stack([level.double().log(), t]))[0, 1])) < 0.15


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_of_network_learns(tmp_path: Path, name: str) -> None:
    """One step moves the weights, and the network that is averaged is the one that is shipped."""
    if name == "UNet2DModel":
        pytest.importorskip("diffusers")
    made = task(tmp_path, network=CLASSES[name], steps=1, severity=True, crops=(16,), crop_odds=(1.0,))
    before = {key: value.clone() for key, value in made.model.state_dict().items()}
    seen: list[float] = []
    run = Trainer(made)
    run.train(lambda step, figures, rate: seen.append(figures["loss"]))
    moved = [key for key, value in made.model.state_dict().items() if not torch.equal(value, before[key])]
    assert len(seen) == 1 and 0 < seen[0] < 1e4 and len(moved) > 5
    assert any(key.startswith("severity") for key in moved) and any(key.startswith("restorer") for key in moved)


@pytest.mark.parametrize("severity", [True, False])
def test_training_begins_as_the_denoiser_of_the_shipped_prior(tmp_path: Path, severity: bool) -> None:
    """`init = "photo"`: E[x | x + noise] before the first step, to float32's accuracy."""
    try:
        photo = zoo.load("photo", precision="float32")
    except PellucidError as error:  # not in every checkout
        pytest.skip(str(error))
    made = task(tmp_path, init="photo", network={}, crops=(16,), crop_odds=(1.0,), severity=severity)
    y, sigma = made.batch(0, 0)["y"][:2], torch.tensor([0.02, 0.05])
    network: Any = photo.network
    with torch.no_grad():
        wanted = (network(2 * y - 1, 2 * sigma) + 1) / 2
        found = made.model(y, sigma)[0]
    assert float((found - wanted).abs().max()) < 1e-5 and float((wanted - y).abs().max()) > 1e-3


def test_what_is_shipped_is_a_prior_of_its_process(tmp_path: Path) -> None:
    """It is read back with its family, its noise, its prediction and its head, and the method runs on it."""
    made = task(tmp_path, predicts="degraded", increment=0.1, severity=True, noise=(0.02, 0.1), family="hole:widest=6")
    run = Trainer(made)
    run.train()
    ship(run, "c", tmp_path / "shipped")
    prior = zoo.load(tmp_path / "shipped", precision="float32")
    assert isinstance(prior, DiracPrior) and not prior.direct
    assert prior.process.sigma(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([0.02, 0.1])
    x = made.batch(0, 0)["x0"][:2]
    operator = prior.process.family(tuple(x.shape[1:])).at(1.0)
    y, t = operator(x), torch.tensor([1.0, 0.4], dtype=torch.float64)
    found = prior.estimate(State(y, t))
    with torch.no_grad():
        now, rate = run.averaged_model()(y, made.process.sigma(t).float())
    assert found.rate is not None and rate is not None
    assert torch.allclose(found.rate, rate, atol=2e-2 * float(rate.abs().max()))
    assert torch.allclose(found.x0, now + t.float()[:, None, None, None] * rate, atol=1e-2)
    told = prior.severity(y)
    assert told.shape == (2,) and bool(((told > 0) & (told < 1)).all())
    result = reconstruct(Problem(y, operator, 0.1), prior, dirac(4, increments="network"))
    assert torch.isfinite(result.image).all() and result.nfe.tolist() == [4, 4]


def test_the_figure_of_quality_is_of_the_picture_and_not_of_what_is_predicted(tmp_path: Path) -> None:
    """A network that predicts A_t(x_0) exactly, with the rate to x_0, restores exactly."""
    made = task(tmp_path, predicts="degraded", increment=0.1)
    x = made.batch(0, 0)["x0"][:1]

    class Knowing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.restorer = made.model.restorer
            self.severity, self.lifted = None, False

        def forward(self, y: torch.Tensor, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            t = made.process.noise.time(sigma)
            now = made.process.mean(x, t)
            return now, (x - now) / t.float()[:, None, None, None]

    (after,), (before,) = restoration_psnr(Knowing(), made.process, x, 1.0)  # type: ignore[arg-type]
    assert after > 80 > 35 > before


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"family": "fog"}, "fog"),
        ({"family": "blur:width=3"}, "width"),
        ({"predicts": "score"}, "predicts must be"),
        ({"predicts": "noise"}, "set increment above 0"),
        ({"look_ahead": 1.5}, "look_ahead must be in"),
        ({"weighting": "none"}, "weighting must be"),
        ({"noise": (0.05, 0.01)}, "noise"),
        ({"network": {"class": "transformer"}}, "class is"),
        ({"network": CLASSES["songunet"], "increment": 0.1}, "rates need"),
    ],
)
def test_bad_configurations_are_refused(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(PellucidError, match=said):
        task(tmp_path, **more)


def test_resuming_with_a_head_and_rates_is_exact(tmp_path: Path) -> None:
    more = {"severity": True, "increment": 0.1, "network": UNET}
    whole = Trainer(task(tmp_path, out=tmp_path / "whole", **more))
    whole.train()
    first = Trainer(task(tmp_path, out=tmp_path / "parts", **more))
    first.train(until=3)
    second = Trainer(task(tmp_path, out=tmp_path / "parts", **more))
    second.train()
    for a, b in zip(whole.averaged_model().parameters(), second.averaged_model().parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_lifted_training_begins_as_the_denoiser_of_what_it_is_shown(tmp_path: Path) -> None:
    made = task(tmp_path, init="photo", network={}, crops=(16,), crop_odds=(1.0,), lifted=True, family="hole:widest=3")
    photo = zoo.load("photo", precision="float32")
    batch = made.batch(0, 0)
    t = batch["t"].double()
    sigma = made.process.sigma(t).float()
    with torch.no_grad():
        found = made.model(made.process.lifted(batch["y"], t), sigma)[0]
        wanted = (photo.network(2 * made.process.lifted(batch["y"], t)[:, :3] - 1, 2 * sigma) + 1) / 2
    assert torch.allclose(found, wanted, atol=1e-4)
    with pytest.raises(PellucidError, match="weigh pixels"):
        task(tmp_path, lifted=True, family="blur")
    with pytest.raises(PellucidError, match="lifted"):
        task(tmp_path, lifted=True, family="hole", predicts="degraded", increment=0.1)
