"""Dirac on the command line: which prior undoes the degradation, where it stops, and where a picture enters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pellucid.degradation import Degradation
from pellucid.errors import CompatibilityError, ConfigError, PellucidError, PriorError
from pellucid.method import Method
from pellucid.operators.base import Operator
from pellucid.operators.text import Spec
from pellucid.prior.base import Prior
from pellucid.problem import Problem
from pellucid.start.degraded import SLACK, Measured, severity, shown
from pellucid.stop import ROUNDING, StopBelow
from pellucid.typing import Shape

if TYPE_CHECKING:
    from pellucid.methods import Preset
    from pellucid.zoo.card import Card

DIRAC, AUTO = "dirac", "auto"
KINDS = (DIRAC, "restoration-prior")  # ours, and published checkpoints
POINTS = ("psnr", "perception")
USUAL = "perception"
MOST_CHANNELS = 4096  # of pictures; a card that says more is damaged
NOMINAL: Shape = (3, 256, 256)
SWITCHED_OFF = {"eta": 0.0}  # guidance asks for the operator


def is_dirac(name: str) -> bool:
    """Whether a prior is Dirac's, by its card; what cannot be found or read is said when it is loaded."""
    from pellucid.zoo import find
    from pellucid.zoo.card import Card

    try:
        folder = find(name)
        return (folder / "card.json").is_file() and Card.read(folder).kind in KINDS
    except PellucidError:
        return False


def shape_of(path: Path | None, spec: Spec, given: Shape | None) -> Shape:
    """The shape of the picture behind a measurement, as far as it can be told beforehand; 3 x 256 x 256 elsewhere."""
    from pellucid.images import read

    if given is not None or path is None:
        return given or NOMINAL
    try:
        picture = read(path)
        return picture.image_shape or spec.image_shape_for(tuple(picture.pixels.shape))
    except PellucidError:  # said when its turn comes
        return NOMINAL


def prior_for(spec: Spec, noise: float, shape: Shape) -> str:
    """The name of the installed dirac prior that undoes an operator under a noise.

    Of several the one whose path the operator lies furthest along: the one of the narrowest family.

    Raises:
        CompatibilityError: none does; the text says what the installed ones do.
        OperatorError: the operator cannot be built for such pictures.
    """
    operator = spec.build(shape)
    places, refusals = [], []
    for card in _cards():
        place = _place(card, operator, noise)
        if isinstance(place, str):
            refusals.append(f"{_said(card)}: {place}")
        else:
            places.append((-place, card.name))
    if places:
        return min(places)[1]
    have = "; ".join(refusals) or "none is installed (pip install pellucid-zoo)"
    raise CompatibilityError(
        f"no dirac prior undoes {spec} with noise {noise:g}. Installed: {have}. Take another method (-m ddrm, -m dps), "
        "or train a prior (pellucid train dirac, docs/dirac.md)"
    )


def require_named() -> CompatibilityError:
    """What to say where the operator is unknown, and so the prior cannot be chosen by it."""
    have = "; ".join(map(_said, _cards())) or "none is installed (pip install pellucid-zoo)"
    return CompatibilityError(
        f"with --operator unknown name the prior, whose head tells how strong the degradation is: --prior NAME. "
        f"Installed: {have}"
    )


def aimed(
    wanted: str | None, points: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any], preset: Preset, prior: str
) -> tuple[str | None, int | None, dict[str, Any]]:
    """(what is optimised, network calls, other options): the stop that the prior stores, under the options given.

    Without a wish it is that for perception, where the prior stores one.

    Raises:
        ConfigError: no such wish, or the prior stores no stop for it.
        PriorError: what it stores is no option of the method.
    """
    from pellucid.cli.settings import check_types

    if wanted is not None and wanted not in POINTS:
        raise ConfigError(f"--optimise takes {' or '.join(POINTS)}, not {wanted!r}")
    if wanted is not None and wanted not in points:
        have = f"only one for {', '.join(points)}" if points else "none"
        raise ConfigError(
            f"--optimise {wanted}: --prior {prior} stores {have} of the stops that validation finds; say where to stop "
            "yourself: --set stop=0.3 (1 is one call, 0 the full run)"
        )
    name = wanted or (USUAL if USUAL in points else None)
    stored = dict(points[name]) if name is not None else {}
    try:
        check_types(preset, stored)
        calls = stored.pop("nfe", None)
        preset.build(calls, **stored)
    except (PellucidError, TypeError) as error:
        raise PriorError(f"--prior {prior} stores a stop that cannot be used: {error}") from error
    return name, calls, {**stored, **given}


@dataclass(frozen=True)
class Entry:
    """Where a picture enters the path, and where it leaves it.

    Attributes:
        severity: s, the time at which the family is as severe as the measurement's operator.
        begins: t*, the larger of it and the time at which the path is as noisy.
        stops: the time that the method stops at.
        steps: network calls from there.
        whole: network calls if it went on to t = 0.
        full: of a way from t = 1 to 0.
    """

    severity: float
    begins: float
    stops: float
    steps: int
    whole: int
    full: int

    @property
    def text(self) -> str:
        """A line for people."""
        past = self.stops >= self.begins
        end = f"whose stop, {self.stops:.3g}, is past" if past else f"stops at {self.stops:.3g}"
        return (
            f"severity t = {self.severity:.3g}, begins at {self.begins:.3g} of 1, {end}: "
            f"{self.steps} of {self.full} steps"
        )

    @property
    def words(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "severity": round(self.severity, 6),
            "begins_at": round(self.begins, 6),
            "stops_at": self.stops,
            "steps": self.steps,
            "of_steps": self.full,
        }


def entry(problem: Problem, prior: Prior, method: Method) -> Entry | None:
    """Where the first picture of a problem enters; None for methods that begin elsewhere."""
    process = prior.process
    if not isinstance(method.start, Measured) or not isinstance(process, Degradation):
        return None
    own, operator = process.family(problem.operator.image_shape), problem.operator
    y, level = shown(own, operator, problem.y, problem.std)
    s = severity(own, operator, y, prior).expand(len(y)).clamp(max=1)
    t = torch.maximum(s, process.time_at_ratio(level.cpu()))[:1]
    stop = method.stop.time if isinstance(method.stop, StopBelow) else 0.0
    times = method.grid.times(process, t)[:, 0]
    after = times[1:][times[1:] < times[:-1]]
    whole = len(after)
    steps = int((after > stop + ROUNDING).sum()) + 1
    return Entry(float(s[0]), float(t), stop, min(steps, whole), whole, method.steps(process))


def _cards() -> list[Card]:
    from pellucid.zoo import available

    return [card for card in available() if card.kind == DIRAC and not card.imported]


def _said(card: Card) -> str:
    words = card.data.get("process")
    family = words.get("family") if isinstance(words, dict) else None
    return f"{card.name} (undoes {family})" if family else card.name


def _channels(card: Card) -> int:
    """Of the pictures that a card's network takes; 3 where it does not say. Raises `PriorError`."""
    words = card.data.get("network", {})
    inner = words.get("network", {}) if isinstance(words, dict) else None
    channels = inner.get("channels", 3) if isinstance(inner, dict) else None
    if isinstance(channels, bool) or not isinstance(channels, int) or not 1 <= channels <= MOST_CHANNELS:
        raise PriorError(f"{card.folder / 'card.json'}: it does not say how many channels the pictures have")
    return channels


def _place(card: Card, operator: Operator, noise: float) -> float | str:
    """The time at which a card's family is the operator, or why the prior does not do."""
    from pellucid.zoo import degradation

    channels = operator.image_shape[0]
    try:
        own = _channels(card)
        if channels != own and not (channels == 1 and own == 3 and "window" not in card.data):
            return f"made for pictures of {own} channel{'s' * (own > 1)}"
        process = degradation(card.data.get("process"), card)
        family = process.family(operator.image_shape)
    except PellucidError as error:
        return str(error)
    time = family.time_of(operator)
    if time is None:
        return "another degradation"
    if not bool((time <= 1).all()):
        return "not as strong as this one"
    blank = torch.zeros(1, *operator.measurement_shape)
    try:
        _, level = shown(family, operator, blank, torch.tensor([noise], dtype=torch.float64))
    except PellucidError as error:
        return str(error)
    loudest = float(process.sigma(torch.ones(1, dtype=torch.float64)))
    if float(level) > SLACK * loudest:
        grown = "" if float(level) == noise else f", which is {float(level):.3g} in the picture that it makes"
        return f"noise up to {loudest:g}{grown}"
    return float(time.max())
