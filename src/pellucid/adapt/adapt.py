"""ADIR's first step: the prior is adapted to the picture before the picture is reconstructed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from pellucid.account import Cost, uncounted
from pellucid.adapt.adapter import Adapter
from pellucid.adapt.cache import find, keep, key
from pellucid.adapt.examples import Examples
from pellucid.adapt.lora import Lora, Style, trainable
from pellucid.adapt.query import measured
from pellucid.adapt.training import Training, fit
from pellucid.errors import CompatibilityError, require_range
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.prior.dirac import DiracPrior
from pellucid.prior.tiled import TiledPrior
from pellucid.problem import Problem
from pellucid.process import Process
from pellucid.typing import expand

Watch = Callable[[int, float], object]
LEAST = 0.01  # sigma_t / alpha_t
MOST = 5.0  # Hang et al., Min-SNR, ICCV 2023
PROBES = 24  # fixed crops and times that the held-out loss is measured on


@dataclass(frozen=True)
class Adaptation:
    """How a prior is adapted: ADIR, eq. (5) and (18), section 5.

    Args:
        style: what may move: low-rank factors beside all convolutions (`Lora`), or everything (`Full`).
        training: steps, rate, seed.
        batch: random crops in a step, all at one common time.
        crop: their side, in units of the prior's space.
        own: adapt to y as a picture (`query.measured`), too (eq. 17); alone where there are no neighbours.
        held_out: share of the pictures that are kept from the training, to end it when the loss on them no longer
            falls; 0 for none. One picture is kept at least where it is above 0.

    Raises:
        CompatibilityError: a number is out of its range.
    """

    style: Style = field(default_factory=Lora)
    training: Training = field(default_factory=Training)
    batch: int = 6
    crop: int = 64
    own: bool = False
    held_out: float = 0.0

    def __post_init__(self) -> None:
        require_range("batch", self.batch, 1)
        require_range("crop", self.crop, 8)
        require_range("held_out", self.held_out, 0, 0.9)


def adapt(
    prior: DiffusionPrior,
    problem: Problem,
    neighbours: Sequence[Tensor] = (),
    how: Adaptation = Adaptation(),
    *,
    watch: Watch | None = None,
    cache: Path | None = None,
) -> AdaptedPrior:
    """A prior adapted to one picture, by pictures that are like it.

    theta = argmin sum_k sum_t |eps - eps_theta(sqrt(abar_t) z_k + sqrt(1 - abar_t) eps, t)|^2      (eq. 5, 18)

    over random crops of the z_k, with t uniform and common to a batch. A latent prior is adapted in its latents. The
    prior itself stays as it is, and shares with the adapted one all weights that do not move.

    Reference: Abu-Hussein, Tirer and Giryes, ADIR: Adaptive Diffusion for Image Reconstruction, arXiv 2212.03221.

    Args:
        prior: around a torch network.
        problem: the measurement, of one picture; it says the channels and, with `own`, is learned from.
        neighbours: (c, h, w) in [0, 1] each, of any sizes: what `retrieval.Index.search` found.
        how: settings.
        watch: told every step and its loss; returning True ends the adaptation there.
        cache: a folder of adapters, known by prior, pictures and settings: what was learned before is taken from it,
            what is learned now goes there, unless `watch` ended it.

    Raises:
        CompatibilityError: the prior is around no torch network or asks it in a way of its own, the problem has several
            pictures, there is nothing to learn from, `own` is asked of what is no picture, or the loss diverges.
        ShapeError: a neighbour is no picture, or too small.
        PriorError: peft is not installed.
        ImageFileError: the cache cannot be written to.
    """
    if len(problem.y) != 1:
        raise CompatibilityError(f"a prior is adapted to one picture; there are {len(problem.y)}: see together()")
    pictures = list(neighbours)
    if how.own:
        pictures.append(measured(problem)[0])
    channels = problem.operator.image_shape[0]
    if cache is None:
        return AdaptedPrior(prior, learn(prior, pictures, channels, how, watch=watch))
    network_of(prior)
    name = key(prior, pictures, channels, how)
    if (known := find(cache, name)) is not None:
        return AdaptedPrior(prior, known, cached=True)
    learned = learn(prior, pictures, channels, how, watch=watch)
    if not learned.about["cut"]:
        keep(cache, name, learned)
    return AdaptedPrior(prior, learned)


def learn(
    prior: DiffusionPrior, pictures: Sequence[Tensor], channels: int, how: Adaptation, *, watch: Watch | None = None
) -> Adapter:
    """The adapter that pictures teach; see `adapt`."""
    network, count = network_of(prior), len(pictures)
    with torch.inference_mode(False):  # a caller's would leave nothing to train with
        examples = Examples(pictures, prior, channels, how.crop)
        about = {"left_out": count - len(examples.encoded)}
        held_out = None
        if how.held_out > 0 and len(examples.encoded) > 1:
            kept = min(max(1, round(how.held_out * len(examples.encoded))), len(examples.encoded) - 1)
            examples, unseen = examples.split(kept)
            held_out = _HeldOut(prior, unseen, how)
        copied, loss = trainable(network, how.style, how.training.seed), _Simple(prior, examples, how)
        learned = fit(copied, loss, how.training, style=how.style, held_out=held_out, watch=watch)
    return replace(learned, about={**learned.about, **about})


def adapted(prior: DiffusionPrior, adapter: Adapter) -> AdaptedPrior:
    """The prior with an adapter that was learned before.

    Raises:
        CompatibilityError: the adapter is of another network.
    """
    return AdaptedPrior(prior, adapter)


def network_of(prior: object) -> nn.Module:
    """The torch network of a prior.

    Raises:
        CompatibilityError: there is none: an exact prior, a compiled one, one in tiles.
    """
    if isinstance(prior, TiledPrior):
        raise CompatibilityError("adapt the prior first, and take it in tiles then: tiled(adapt(prior, ...), shape)")
    network = getattr(prior, "network", None)
    if not isinstance(prior, DiffusionPrior) or not isinstance(network, nn.Module):
        raise CompatibilityError(
            f"{type(prior).__name__} has no torch network that could be adapted; "
            "take a diffusion prior, in float32 or bfloat16"
        )
    if isinstance(prior, DiracPrior):
        raise CompatibilityError("only priors of Gaussian noise are adapted, and this one undoes another degradation")
    if type(prior)._denoise is not DiffusionPrior._denoise:
        raise CompatibilityError(
            f"{type(prior).__name__} has a way of its own to ask its network, which adapting loses"
        )
    if prior.plug_and_play:
        raise CompatibilityError("a denoiser for plug-and-play methods knows no noise levels to be adapted at")
    return network


class AdaptedPrior(DiffusionPrior):
    """A diffusion prior with its adapter merged in: each call costs what the prior's own does.

    Attributes:
        adapter: what was learned.
        base: the prior that was adapted, untouched.
        cost: what it took.
    """

    def __init__(self, prior: DiffusionPrior, adapter: Adapter, *, cached: bool = False) -> None:
        self.__dict__.update(prior.__dict__)
        self.base, self.adapter = prior, adapter
        self.network = adapter.into(network_of(prior))
        about = adapter.about
        self.cost = Cost(int(about.get("steps", 0)), float(about.get("seconds", 0.0)), cached)
        self.costs = (self.cost,)
        self.own_images = False


@dataclass
class _Simple:
    """l_simple on a batch of crops at one time."""

    prior: DiffusionPrior
    examples: Examples
    how: Adaptation

    def __call__(self, network: nn.Module, generator: torch.Generator) -> Tensor:
        x0 = self.examples.batch(self.how.batch, generator)
        t = times(self.prior.process, 1, generator).expand(len(x0))
        eps = torch.randn(x0.shape, generator=generator, dtype=x0.dtype).to(x0.device)
        return simple_loss(self.prior, network, x0, t, eps).mean()


def times(process: Process, count: int, generator: torch.Generator) -> Tensor:
    """Times drawn evenly from where the process has noise, (count,) float64.

    Whole ones from 1 to T; of a continuous process down to the noise of 0.01 that DDPM's first step has.
    """
    share = torch.rand(count, generator=generator, dtype=torch.float64)
    if process.discrete:
        return (share * process.t_max).floor() + 1
    return torch.maximum(process.at_pace(1 - share), process.time_at_ratio(torch.tensor(LEAST, dtype=torch.float64)))


def simple_loss(prior: DiffusionPrior, network: nn.Module, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """|eps - eps_theta(x_t, t)|^2, the mean over entries, (b,): whatever the network predicts, by what it says of x_0.

    A learned variance takes no part, so that its weights get no gradient of their own. For a network that predicts x_0
    itself the loss is min(alpha_t^2 / sigma_t^2, 5) |x_0 - x_0(x_t, t)|^2: without the bound, which eq. (5) does not
    have, the quietest times outweigh all others.
    """
    other = copy(prior)
    other.network = network
    x_t = prior.process.diffuse(x0, t, eps)
    with uncounted():
        found, _ = other._denoise(x_t, t)
    if prior.predicts == "x0":
        return expand(prior.process.snr(t).clamp(max=MOST), x0).flatten() * (found - x0).square().flatten(1).mean(1)
    return (prior.process.eps(x_t, found, t) - eps).square().flatten(1).mean(1)


@dataclass
class _HeldOut:
    """The mean of l_simple over fixed crops, times and noise, the times spread evenly."""

    prior: DiffusionPrior
    examples: Examples
    how: Adaptation
    probes: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.how.training.seed + 1)
        process, batch = self.prior.process, self.how.batch
        for first in range(0, PROBES, batch):
            count = min(batch, PROBES - first)
            x0 = self.examples.batch(count, generator)
            share = (first + torch.arange(count, dtype=torch.float64) + 0.5) / PROBES
            t = process.on_grid(process.at_pace(share)).clamp(min=1.0 if process.discrete else 0.0)
            self.probes.append((x0, t, torch.randn(x0.shape, generator=generator, dtype=x0.dtype).to(x0.device)))

    def __call__(self, network: nn.Module) -> float:
        losses = [simple_loss(self.prior, network, x0, t, eps) for x0, t, eps in self.probes]
        return float(torch.cat(losses).mean())
