"""Training of Dirac's network on a stochastic degradation process."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.degradation import Degradation, Geometric
from pellucid.metrics.pixels import psnr
from pellucid.nn.restorer import DiracNetwork, Restorer
from pellucid.operators.families.named import family, points_of
from pellucid.prior.dirac import DiracPrior
from pellucid.train.config import DiracConfig
from pellucid.train.init import initialise
from pellucid.train.tasks.base import DEGRADATION, Batch, Task
from pellucid.typing import expand

CHECKED = (0.25, 0.5, 1.0)  # times of the validation


class DiracTask(Task):
    """The incremental reconstruction loss (Fabian et al., DiracDiffusion, ICML 2024, eq. 12, 14 and 28)."""

    kind = "dirac"
    training = "dirac"
    config: DiracConfig
    model: DiracNetwork

    def __init__(self, config: DiracConfig) -> None:
        super().__init__(config)
        torch.manual_seed(config.seed)
        self.process = Degradation(family(config.family), Geometric(*config.noise))
        words = {"channels": config.channels, **config.network}
        rates = config.increment > 0
        self.model = DiracNetwork(words, config.predicts, rates, config.sigma_data, config.severity, config.lifted)
        if config.lifted:  # says beforehand where that cannot be
            self.process.lifted(torch.zeros(1, config.channels, 32, 32), torch.ones(1, dtype=torch.float64))
        self.network = self.model.config
        self.objectives = {"restorer": DiracObjective(self.model, self.process, config)}
        if self.model.severity is not None:
            self.objectives["severity"] = SeverityObjective(self.model.severity)

    def begin(self, source: str) -> None:
        restorer = self.model.restorer
        if not restorer.lifted:
            initialise(restorer, source)
            return
        words: dict[str, Any] = {**restorer.config, "lifted": False}
        plain = Restorer(**words)
        initialise(plain, source)
        weights = plain.state_dict()
        stem = weights["network.stem.weight"]
        own = torch.zeros_like(restorer.state_dict()["network.stem.weight"])
        own[:, : stem.shape[1]] = stem  # the map of weights, which the network did not know, begins as nothing
        restorer.load_state_dict(weights | {"network.stem.weight": own})

    def parameters(self, name: str) -> list[nn.Parameter]:
        """The restorer and the head are moved apart: neither's gradients are clipped by the other's."""
        return [p for key, p in self.model.named_parameters() if key.startswith(f"{name}.") and p.requires_grad]

    def signature(self) -> dict[str, Any]:
        return {"network": self.network, "family": self.config.family, "noise": list(self.config.noise)}

    def card(self, model: nn.Module) -> dict[str, Any]:
        config = self.config
        window = {"window": config.source["window"]} if "window" in config.source else {}
        process: dict[str, Any] = {"family": config.family, "noise": list(config.noise), "increment": config.increment}
        if (points := points_of(config.family)) is not None:
            process["schedule"] = list(points)  # the network goes where the file does not
        return {
            "network": self.network,
            "process": process,
            "look_ahead": config.look_ahead,
            "range": "pictures in [0, 1]",
            **window,
        }

    def batch(self, step: int, slot: int) -> Batch:
        x0 = self.pictures(step, slot)
        rng = np.random.default_rng([self.config.seed, step, slot, DEGRADATION])
        t = torch.from_numpy(rng.uniform(size=len(x0)))
        low, high = (math.log(value) for value in self.config.noise)
        levels = torch.from_numpy(np.exp(rng.uniform(low, high, len(x0))))
        z, other = (torch.from_numpy(rng.standard_normal(tuple(x0.shape), dtype=np.float32)) for _ in range(2))
        mean = self.process.mean(x0, t)
        seen = mean + expand(levels, x0) * other
        return {"x0": x0, "t": t, "y": mean + expand(self.process.sigma(t), x0) * z, "seen": seen, "mean": mean}

    def validate(self, model: nn.Module) -> dict[str, float]:
        pictures = self.held_out()
        if pictures is None:
            return {}
        assert isinstance(model, DiracNetwork)
        figures: dict[str, float] = {}
        for t in CHECKED:
            after, before = restoration_psnr(model, self.process, pictures, t)
            figures |= {f"psnr_{t:g}": float(np.mean(after)), f"psnr_input_{t:g}": float(np.mean(before))}
        return figures

    def calibration(self, model: nn.Module) -> dict[str, Any]:
        """Where to stop for what, found on pictures that `restoration_quality` leaves; see `train.stops`."""
        pictures = self._tuned_on()
        if pictures is None:
            return {}
        from pellucid.train.stops import tuned

        assert isinstance(model, DiracNetwork)
        return tuned(DiracPrior.of(model, self.process), pictures)

    def _tuned_on(self) -> Tensor | None:
        """The validation crops, or every other one of the shipping's pictures where those are the same ones."""
        config = self.config
        if config.ship is None or config.predicts != "x0":
            return None
        if config.validation is not None and config.validation != config.ship.evaluate:
            return self.held_out()
        from pellucid.train.quality import centre_crops

        words = config.ship.evaluate_source
        return centre_crops(config.ship.evaluate, 128, channels=config.channels, **words)[::2]

    def sample(self, model: nn.Module) -> Tensor | None:
        assert isinstance(model, DiracNetwork)
        batch = self.batch(0, 10**6)
        device = next(model.parameters()).device
        y, t = batch["y"][:4].to(device), batch["t"][:4]
        with torch.no_grad():
            return torch.cat([y, estimated(model, self.process, y, t)[0].float()])


class DiracObjective(nn.Module):
    """w_t |A_tau(Phi) - A_tau(x_0)|^2, tau = max(0, t - look_ahead), w_t = 1 / sigma_t^2 or 1, means over pixels.

    look_ahead = 0 is eq. (12), 1 is eq. (28), |Phi - x_0|^2 itself. For the predictions "degraded" and "noise" the
    target is A_t(x_0), whatever the look-ahead. With `increment` d > 0, the network's rate learns
    (A_{max(0, t - d)}(x_0) - A_t(x_0)) / (t - max(0, t - d)), weighed by 0.01 w_t.
    """

    def __init__(self, model: DiracNetwork, process: Degradation, config: DiracConfig) -> None:
        super().__init__()
        self.model, self.process, self.config = model, process, config

    def forward(self, x0: Tensor, t: Tensor, y: Tensor, seen: Tensor, mean: Tensor) -> Tensor:
        config, t = self.config, t.double().cpu()
        sigma = self.process.sigma(t)
        estimate, rate = estimated(self.model, self.process, y, t)
        weight = expand(sigma**-2, y) if config.weighting == "inverse-variance" else torch.ones_like(y[:, :1, :1, :1])
        if config.predicts == "x0":
            error = self._ahead(estimate.to(x0), t) - self._ahead(x0, t)
        else:
            error = estimate.to(mean) - mean
        loss = (weight * error.square()).mean()
        if rate is not None:
            tau = (t - config.increment).clamp(min=0)
            length = (t - tau).clamp(min=1e-3)
            true = (self.process.mean(x0, tau) - mean) / expand(length, y)
            loss = loss + 0.01 * (weight * (rate.to(true) - true).square()).mean()
        return loss

    def _ahead(self, x: Tensor, t: Tensor) -> Tensor:
        """A_tau(x)."""
        if self.config.look_ahead >= 1:
            return x
        return self.process.mean(x, (t - self.config.look_ahead).clamp(min=0))


def estimated(model: DiracNetwork, process: Degradation, y: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
    """What the network says of y_t at times t (b,)."""
    given = process.lifted(y, t) if model.lifted else y
    found: tuple[Tensor, Tensor | None] = model(given, process.sigma(t).to(y))
    return found


class SeverityObjective(nn.Module):
    """The mean of (t_hat - t)^2."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, t: Tensor, seen: Tensor, **_: Tensor) -> Tensor:
        return (self.head(seen) - t.to(seen)).square().mean()


def restoration_psnr(
    model: DiracNetwork, process: Degradation, pictures: Tensor, t: float, seed: int = 0
) -> tuple[list[float], list[float]]:
    """PSNR in dB (clipped to [0, 1]) of the estimate of x_0 from y_t, and of y_t itself; one picture at a time.

    A network that predicts A_t(x_0) is judged by A_t(x_0) + t rate, Taylor's estimate of x_0, as `DiracPrior` uses it.
    """
    device = next(model.parameters()).device
    time = torch.tensor([t], dtype=torch.float64)
    after: list[float] = []
    before: list[float] = []
    for k, x in enumerate(pictures):
        z = torch.randn(x[None].shape, generator=torch.Generator().manual_seed(seed + k))
        y = process.diffuse(x[None], time, z)
        with torch.no_grad():
            estimate, rate = estimated(model, process, y.to(device), time)
        if rate is not None and model.restorer.predicts != "x0":
            estimate = estimate + t * rate
        after.append(float(psnr(estimate.cpu(), x[None])))
        before.append(float(psnr(y, x[None])))
    return after, before


def restoration_quality(task: DiracTask, model: DiracNetwork, pictures: Tensor) -> dict[str, list[float]]:
    """{name: one figure a picture} of the estimate in one call at three times, of y_t, and of the severity's error."""
    scores: dict[str, list[float]] = {}
    for t in (1.0, 0.5, 0.25):
        after, before = restoration_psnr(model, task.process, pictures, t)
        scores |= {f"psnr_{t:g}": after, f"psnr_input_{t:g}": before}
    if model.severity is not None:
        scores["severity_error"] = severity_errors(model, task.process, pictures)
    return scores


def severity_errors(model: DiracNetwork, process: Degradation, pictures: Tensor, seed: int = 0) -> list[float]:
    """|t_hat - t| for a random t and a random noise level of the process's range, one a picture."""
    rng, errors = np.random.default_rng(seed), []
    head = model.severity
    assert head is not None
    ends = process.sigma(torch.tensor([0.0, 1.0], dtype=torch.float64)).log().tolist()
    for x in pictures:
        t, level = rng.uniform(), math.exp(rng.uniform(*ends))
        n = torch.from_numpy(rng.standard_normal(tuple(x.shape), dtype=np.float32))
        y = process.mean(x[None], torch.tensor([t], dtype=torch.float64)) + level * n
        with torch.no_grad():
            errors.append(abs(float(head(y)) - t))
    return errors
