"""The shipped severity encoders at work, and the means of a map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pellucid import zoo
from pellucid.bench.claims.severity_study import BLUR, STDS, Encoder, encoder
from pellucid.codec import AffineCodec
from pellucid.errors import CompatibilityError
from pellucid.images import read
from pellucid.metrics.association import pearson, ranks
from pellucid.metrics.pixels import psnr
from pellucid.nn.severity import SeverityNetwork
from pellucid.noise import SeededNoise
from pellucid.operators import Identity, parse
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Problem
from pellucid.severity import REDUCTIONS, NetworkSeverity, reduced
from pellucid.start.severity import Severity
from pellucid.train.degradation import Families


def test_means_of_a_map_are_ordered() -> None:
    field = torch.tensor([[1.0, 4.0], [2.0, 2.0], [0.0, 2.0]])
    mean, geometric, harmonic = reduced(field), reduced(field, "geometric"), reduced(field, "harmonic")
    assert mean.tolist() == [2.5, 2.0, 1.0] and mean.dtype == torch.float64
    assert geometric[:2].tolist() == pytest.approx([2.0, 2.0]) and harmonic[:2].tolist() == pytest.approx([1.6, 2.0])
    assert 0 <= harmonic[2] < geometric[2] < 1e-100


class Uneven(SeverityNetwork):
    """y itself, wrong by another variance in every row."""

    def __init__(self) -> None:
        super().__init__()
        self.config, self.multiple, self.anything = {"channels": 3}, 1, nn.Parameter(torch.zeros(()))

    def field(self, y: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.logspace(-2, 0, y.shape[-2]).reshape(-1, 1)
        return y, (rows * torch.ones_like(y)).to(y)


def test_the_start_is_matched_to_the_mean_that_was_asked_for() -> None:
    prior = GaussianPrior(torch.ones(3, 8, 8, dtype=torch.float64), codec=AffineCodec())
    operator = Identity((3, 8, 8))
    problem = Problem(torch.rand(2, 3, 8, 8, dtype=torch.float64), operator, 0.1)
    times = []
    for how in REDUCTIONS:
        severity = NetworkSeverity(Uneven(), 2.0, reduce=how)  # type: ignore[arg-type]
        s2 = severity(prior.codec.observe(problem), prior)[1]
        rows = 2 * torch.logspace(-2, 0, 8).double()
        known = {"mean": rows.mean(), "geometric": rows.log().mean().exp(), "harmonic": 1 / (1 / rows).mean()}[how]
        assert torch.allclose(s2, known.expand(2), rtol=1e-5)
        t = Severity(severity).time(prior.process, s2)
        assert torch.allclose(prior.process.snr(t), 1 / s2, rtol=0.1)
        times.append(float(t[0]))
    assert times[0] > times[1] > times[2] > 0
    with pytest.raises(CompatibilityError, match="mean, geometric, harmonic"):
        NetworkSeverity(Uneven(), reduce="median")  # type: ignore[arg-type]


def shipped(name: str) -> Encoder:
    pytest.importorskip("diffusers")
    return encoder(name)


def packaged() -> Tensor:
    return read(zoo.example()).pixels[None, :, :256, :256]


def scenes(count: int, seed: int) -> Tensor:
    """Steps and waves of 16 pixels from black to white: how much light there was can be told."""
    rng = np.random.default_rng(seed)
    u = np.linspace(0, 1, 16)
    made = []
    for _ in range(count):
        angle, pace, edge = rng.uniform(0, np.pi), rng.uniform(3, 12), rng.uniform(0.2, 0.8)
        along = np.cos(angle) * u[:, None] + np.sin(angle) * u
        x = np.sin(pace * along + rng.uniform(0, 6)) + (u > edge) * rng.uniform(-1, 1)
        made.append((x - x.min()) / np.ptp(x))
    return torch.from_numpy(np.stack(made)).float()[:, None]


class Statistics(SeverityNetwork):
    """z_hat = y + a y + b and s2 = u^2 with (a, b, u) from four figures of y: mean, largest, spread, roughness."""

    def __init__(self) -> None:
        super().__init__()
        self.config, self.multiple = {"channels": 1}, 1
        self.layers = nn.Sequential(nn.Linear(4, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 3))

    def field(self, y: Tensor) -> tuple[Tensor, Tensor]:
        flat = y.flatten(1)
        rough = (y.diff(n=2, dim=-1).abs().flatten(1).mean(1)).log()
        a, b, u = self.layers(torch.stack([flat.mean(1), flat.amax(1), flat.std(1), rough], 1)).T[..., None, None, None]
        return y + a * y + b, u.square().expand_as(y)


@pytest.fixture(scope="module")
def trained() -> SeverityNetwork:
    """It has seen pictures at half their light and at all of it, with noise and without."""
    torch.manual_seed(0)
    network, shown = Statistics(), Families(["hdr:scale=0.5,pivot=0", "identity"], (0.0, 0.3))
    x = scenes(256, 0)
    y = torch.cat([shown.measure(x, np.random.default_rng(k)) for k in range(4)])
    x = x.repeat(4, 1, 1, 1)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for step in range(800):
        chosen = torch.randint(len(x), (128,), generator=torch.Generator().manual_seed(step))
        z, field = network.field(2 * y[chosen] - 1)
        e = z - (2 * x[chosen] - 1)
        loss = e.square().mean() + (e.detach().square() - field).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


def test_a_darkened_picture_is_known_to_be_easier_than_a_noisy_one_of_the_same_psnr(trained: SeverityNetwork) -> None:
    x = scenes(20, 10**6)
    dark = 0.5 * x
    level = (dark - x).square().mean((1, 2, 3), keepdim=True).sqrt()
    noisy = x + level * SeededNoise(list(range(20))).normal(x, 0, "measurement")
    assert torch.allclose(psnr(noisy, x, clip=False), psnr(dark, x, clip=False), atol=1.0)
    with torch.no_grad():
        (x_dark, told_dark), (x_noisy, told_noisy) = trained(2 * dark - 1), trained(2 * noisy - 1)
    true_dark, true_noisy = ((v - (2 * x - 1)).square().flatten(1).mean(1) for v in (x_dark, x_noisy))
    assert (true_dark < true_noisy).sum() >= 18  # it is so
    assert (told_dark < told_noisy).sum() >= 18  # and it is known
    assert told_noisy.mean() > 1.5 * told_dark.mean()


def test_severity_rises_with_the_blur_of_a_fixed_picture() -> None:
    one, x = shipped(BLUR), packaged()
    noise = 0.05 * SeededNoise([0]).normal(x, 0, "measurement")
    with torch.no_grad():
        z0 = one.codec.encode(x)
        rows = [one.both(parse(f"gaussian-blur:std={std}").build(tuple(x.shape[1:]))(x) + noise, z0) for std in STDS]
    predicted, true = np.array(rows).T
    levels = np.array(STDS)
    assert pearson(levels, ranks(true)) > 0.9
    assert pearson(levels, ranks(predicted)) > 0.8  # the strongest blurs of a smooth picture look smooth
    assert 0.5 < (predicted / true).mean() < 2
