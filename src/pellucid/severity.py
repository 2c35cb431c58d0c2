"""Severity encoders in use: from a measurement an estimate in the prior's space, and the variance of its error.

Fabian, Tinaz and Soltanolkotabi, Adapt and Diffuse: Sample-adaptive Reconstruction via Latent Diffusion Models, ICML
2024. `pellucid.start.severity.Severity` begins a reconstruction with what they say.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pellucid.codec.autoencoder import AutoencoderCodec
from pellucid.errors import CompatibilityError, PriorError, ShapeError, require_range
from pellucid.nn.severity import SeverityEncoder, SeverityNetwork
from pellucid.operators.base import Operator
from pellucid.operators.each import Each
from pellucid.operators.shown import picture_input
from pellucid.prior.base import Prior
from pellucid.prior.diffusion import pad_to_multiple
from pellucid.problem import Observation, Problem
from pellucid.start.network import measured
from pellucid.zoo.card import Card

Reduction = Literal["mean", "geometric", "harmonic"]
SLACK = 1.25  # by which noise may lie outside the range of the training before anything is said
REDUCTIONS = ("mean", "geometric", "harmonic")


@dataclass(frozen=True)
class NetworkSeverity:
    """z_hat and s2 of a network, in the units of the prior's space.

    The network sees the measurement as a picture of the right size (`picture_input`), nothing else: not the noise, not
    how strong the degradation was. Its pass is not counted in NFE, which are the prior's.

    Args:
        network: y in [-1, 1] -> (z_hat, s2) in the units of an autoencoder's encoder, or of pictures in [-1, 1].
        temperature: s2 is multiplied by it: calibration on held-out pictures, or a wish for more noise.
        name: for messages.
        codec_sha256: of the autoencoder that it was trained for; None where that is not known.
        families: the operators that it was trained for, as text with ranges; none where that is not known.
        noise: the range of noise that it was trained for.
        reduce: how the variances of the entries become the one that the start is matched to: their "mean", the power
            of the whole error, or a smaller one, "geometric" or "harmonic". Calibration is of the mean.

    Raises:
        CompatibilityError: `reduce` is none of the three words, or the temperature is not positive and finite.
    """

    network: SeverityNetwork
    temperature: float = 1.0
    name: str = "the severity encoder"
    codec_sha256: str | None = None
    families: Sequence[str] = ()
    noise: tuple[float, float] | None = None
    reduce: Reduction = "mean"
    _kinds: dict[tuple[int, ...], tuple[type[Operator], ...]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_range("temperature", self.temperature, 0, above=True)
        if self.reduce not in REDUCTIONS:
            raise CompatibilityError(f"reduce must be one of {', '.join(REDUCTIONS)}, not {self.reduce!r}")

    def check(self, problem: Problem, prior: Prior) -> None:
        """Raises `CompatibilityError` where the network's estimates do not live in the prior's space.

        Warns where the noise is not of the range that it was trained for: it then begins too late or too early.
        """
        self._check_space(prior)
        if self.noise is None or torch.as_tensor(problem.gain).any():
            return
        low, high = (float(problem.std.min()), float(problem.std.max()))
        quiet = 0 < low < self.noise[0] / SLACK  # 0 is also what is said where nothing is known
        if quiet or high > self.noise[1] * SLACK:
            known = f"{self.noise[0]:g} to {self.noise[1]:g}"
            warnings.warn(
                f"{self.name} was trained for noise of {known}, and the measurement's is {low if quiet else high:g}: "
                f"what it says of the severity may be wrong",
                stacklevel=2,
            )

    def _check_space(self, prior: Prior) -> None:
        codec = prior.codec
        latents = isinstance(self.network, SeverityEncoder)
        if latents != isinstance(codec, AutoencoderCodec):
            space = ("latents", "pixels") if latents else ("pixels", "latents")
            raise CompatibilityError(f"{self.name} estimates {space[0]}, and the prior is one of {space[1]}")
        if not isinstance(codec, AutoencoderCodec):
            return
        shape = self.network.config
        if (shape["latent"], self.network.multiple) != (codec.latent_channels, codec.factor):
            raise CompatibilityError(
                f"{self.name} gives {shape['latent']} channels at 1/{self.network.multiple} of the side; the prior's "
                f"autoencoder has {codec.latent_channels} at 1/{codec.factor}"
            )
        if self.codec_sha256 and codec.origin and self.codec_sha256 != codec.origin:
            raise CompatibilityError(f"{self.name} was trained for another autoencoder than the prior's")

    def fits(self, problem: Problem, prior: Prior) -> bool:
        """Whether the network was made for the prior's space and for an operator of the problem's kind."""
        try:
            self._check_space(prior)
        except CompatibilityError:
            return False
        return kinds_of(problem.operator) <= set(self.kinds(tuple(problem.operator.image_shape)))

    def kinds(self, image_shape: tuple[int, ...]) -> tuple[type[Operator], ...]:
        """The classes of the operators that it was trained for."""
        from pellucid.train.degradation import Degradation

        if image_shape not in self._kinds:
            rng = np.random.default_rng(0)
            made = [type(Degradation(text).operator(image_shape, rng)) for text in self.families]
            self._kinds[image_shape] = tuple(made)
        return self._kinds[image_shape]

    def __call__(self, observation: Observation, prior: Prior) -> tuple[Tensor, Tensor]:
        """(z_hat (b, ...), s2 (b,) float64)."""
        z, field = self.field(observation, prior)
        return z, reduced(field, self.reduce).cpu()

    def field(self, observation: Observation, prior: Prior) -> tuple[Tensor, Tensor]:
        """(z_hat, the variance of its error entry by entry), both (b, ...), with gradients off."""
        y, operator = measured(observation, prior)
        v = picture_input(y, operator)
        grey = v.shape[1] == 1 and self.network.config["channels"] == 3
        weight = next(self.network.to(y.device).parameters())  # where the measurement is: the prior's device
        v = pad_to_multiple(v.expand(-1, 3, -1, -1) if grey else v, self.network.multiple)
        with torch.no_grad():
            z, variance = self.network.field((2 * v - 1).to(weight.device, weight.dtype))
        z, variance = z.to(y), self.temperature * variance.to(y)
        codec = prior.codec
        if isinstance(codec, AutoencoderCodec):
            return codec.scaling_factor * (z - codec.shift), codec.scaling_factor**2 * variance
        height, width = operator.image_shape[-2:]
        z, variance = z[..., :height, :width], variance[..., :height, :width]
        if grey:
            z, variance = z.mean(1, keepdim=True), variance.mean(1, keepdim=True)
        if z.shape[1:] != operator.image_shape:
            raise ShapeError(f"{self.name} made {tuple(z.shape[1:])} of a picture of shape {operator.image_shape}")
        return z, variance


def reduced(field: Tensor, how: Reduction = "mean") -> Tensor:
    """One variance an image, (b,) float64, of those of its entries (b, ...): their mean, geometric or harmonic mean."""
    values = field.double().flatten(1)
    if how == "mean":
        return values.mean(1)
    values = values.clamp(min=torch.finfo(torch.float64).tiny)
    return values.log().mean(1).exp() if how == "geometric" else 1 / (1 / values).mean(1)


@dataclass(frozen=True)
class AutoSeverity:
    """The shipped encoder that suits prior and operator: the one with the fewest families, of several the first.

    Args:
        temperature: instead of that of its card.
    """

    temperature: float | None = None

    def check(self, problem: Problem, prior: Prior) -> None:
        """Raises `CompatibilityError` where none suits."""
        self.chosen(problem, prior).check(problem, prior)

    def __call__(self, observation: Observation, prior: Prior) -> tuple[Tensor, Tensor]:
        assert observation.problem is not None
        return self.chosen(observation.problem, prior)(observation, prior)

    def chosen(self, problem: Problem, prior: Prior) -> NetworkSeverity:
        """The encoder.

        Raises:
            CompatibilityError: there is none for this space, or none for this operator.
        """
        cards = severity_cards()
        known = [load_severity(name, temperature=self.temperature) for name in cards]
        fitting = [encoder for encoder in known if encoder.fits(problem, prior)]
        if fitting:
            return min(fitting, key=lambda encoder: len(encoder.families))
        kind = " and ".join(sorted(kind.__name__ for kind in kinds_of(problem.operator)))
        space = "latent" if isinstance(prior.codec, AutoencoderCodec) else "pixel"
        have = "; ".join(f"{e.name}: {', '.join(e.families)}" for e in known) or "none is installed"
        raise CompatibilityError(
            f"no severity encoder for {kind} and this {space} prior. There are: {have}. Name one outright "
            f"(encoder=NAME), or train one: pellucid train severity CONFIG.toml"
        )


def kinds_of(operator: Operator) -> set[type[Operator]]:
    """The classes of an operator's parts, where images have operators of their own; its class elsewhere."""
    if isinstance(operator, Each):
        return {kind for part in operator.parts for kind in kinds_of(part)}
    return {type(operator)}


def severity_cards() -> list[str]:
    """Names of the shipped severity encoders."""
    from pellucid.zoo import available

    return [card.name for card in available() if card.kind == "severity"]


_loaded: dict[tuple[str, str, int], NetworkSeverity] = {}


def load_severity(name: str | Path, device: str = "cpu", temperature: float | None = None) -> NetworkSeverity:
    """A severity encoder by name or folder: ours, or an imported one (`pellucid import`).

    Args:
        name: a shipped network's name, or a folder.
        device: where the network goes.
        temperature: instead of the card's.

    Raises:
        UnknownNameError: no network of that name, and no such folder.
        PriorError: it is another kind of network, or files are missing or damaged.
    """
    from pellucid.zoo import find

    folder = find(name, "severity")
    if not (folder / "card.json").is_file():
        raise PriorError(f"{folder} holds no card.json, and so no severity encoder")
    key = (str(folder.resolve()), device, (folder / "card.json").stat().st_mtime_ns)
    if key not in _loaded:
        card = Card.read(folder)
        _loaded[key] = _imported(card, device) if card.imported else _own(card, device)
    found = _loaded[key]
    return found if temperature is None else replace(found, temperature=temperature)


def _imported(card: Card, device: str) -> NetworkSeverity:
    from pellucid.checkpoints.severity import load_severity as load_foreign

    if card.data.get("checkpoint") != "severity":
        raise PriorError(f"{card.folder} was imported from another kind of file than a severity encoder's")
    return NetworkSeverity(load_foreign(card.folder, device), name=card.folder.name)


def _own(card: Card, device: str) -> NetworkSeverity:
    from pellucid.zoo import load_module

    module, found = load_module(card.folder, "severity", device)
    assert isinstance(module, SeverityNetwork)
    takes, fitted = (found.data.get(key, {}) for key in ("takes", "calibration"))
    try:
        temperature = float(fitted.get("temperature", 1.0))
        families, noise = tuple(map(str, takes.get("operators", ()))), takes.get("noise")
        levels = None if noise is None else (float(noise[0]), float(noise[1]))
    except (AttributeError, TypeError, ValueError, IndexError, KeyError) as error:
        raise PriorError(f"{found.folder / 'card.json'}: its takes or calibration cannot be read: {error}") from error
    return NetworkSeverity(module, temperature, found.name, found.data.get("codec_sha256"), families, levels)
