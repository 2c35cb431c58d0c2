"""Operators that are not wholly known: a parameter that is estimated from the measurement, or none that is needed.

    gaussian-blur:std=?      the text of a blur of unknown width: every `?` stands for a number
    gaussian-blur:std=0.3..3 the family that it is sought in: what a network was trained for
    unknown                  nothing is known, and nothing asked: for methods whose encoder says all (flash, inner none)

A parameter can so be given, be estimated by a small network, or be left to a severity encoder. Fabian, Tinaz and
Soltanolkotabi, Adapt and Diffuse, ICML 2024, have the first; the encoder never knows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pellucid.consistency.base import Consistency
from pellucid.errors import CompatibilityError, NeedsCapability, OperatorError, PriorError
from pellucid.method import Method
from pellucid.nn.parameter import ParameterHead
from pellucid.nn.severity import SeverityEncoder
from pellucid.operators.base import Operator
from pellucid.operators.each import each
from pellucid.operators.grammar import Node, read
from pellucid.operators.shown import picture_input, upscaling
from pellucid.operators.text import OPERATORS, Spec, parse
from pellucid.operators.values import NUMBER, WHOLE, written
from pellucid.prior.diffusion import pad_to_multiple
from pellucid.start.degraded import Measured
from pellucid.start.severity import Severity
from pellucid.typing import Shape

UNKNOWN = "unknown"
SOUGHT = "?"
SEED = "seed"  # says which of many, not how much: nothing that could be estimated
AUTO = "auto"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")

Place = tuple[tuple[int, ...], str]
"""Which number of a text: the brackets that lead to its operator, and its name."""


@dataclass(frozen=True)
class Range:
    """Where a number may lie.

    Attributes:
        low, high: both included.
        whole: whether only whole numbers are meant.
    """

    low: float
    high: float
    whole: bool = False

    def at(self, u: float) -> float:
        """The number at a share u in [0, 1] of the way; u is held to that."""
        value = self.low + min(max(u, 0.0), 1.0) * (self.high - self.low)
        return float(round(value)) if self.whole else float(f"{value:.6g}")

    def share(self, value: float) -> float:
        """The inverse of `at`; 0 for a range of one number."""
        return (value - self.low) / (self.high - self.low) if self.high > self.low else 0.0

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Family:
    """Operators whose text differs in numbers: `gaussian-blur:std=0.3..3`, where a..b is a range.

    Args:
        text: with ranges, as the trainings take it.

    Attributes:
        ranges: by place, in the order of the text; those of seeds are left out, which are no parameters.

    Raises:
        OperatorError: the text breaks the grammar, or is no operator.
    """

    text: str

    def __post_init__(self) -> None:
        parse(self.drawn([0.5] * len(self.ranges)))

    @property
    def node(self) -> Node:
        """The text's tree."""
        return read(self.text)

    @property
    def ranges(self) -> dict[Place, Range]:
        every = {place: _range(value) for place, value in _places(self.node)}
        return {place: found for place, found in every.items() if found is not None and place[1] != SEED}

    def drawn(self, shares: Sequence[float]) -> str:
        """The text of one operator: its parameters at these shares of their ranges, seeds at their least."""
        values = {place: found.at(u) for (place, found), u in zip(self.ranges.items(), shares, strict=True)}
        least = {place: found.low for place, value in _places(self.node) if (found := _range(value)) is not None}
        return _text(_with(self.node, {**least, **values}))

    def shares(self, text: str) -> list[float]:
        """Where in their ranges the parameters of one operator's text lie."""
        values = dict(_places(read(text)))
        return [found.share(float(values[place])) for place, found in self.ranges.items()]

    def takes(self, sought: Sought) -> bool:
        """Whether an operator of that text is in the family, whatever its unknown numbers are.

        Known numbers must lie in their ranges; where the family has ranges of seeds, any seed that is given will do.
        """
        mine, theirs, ranges = dict(_places(self.node)), dict(_places(sought.node)), self.ranges
        if not _same_tree(self.node, sought.node) or mine.keys() != theirs.keys():
            return False
        for place, value in theirs.items():
            if value == SOUGHT:
                if place not in ranges:
                    return False
            elif place in ranges:
                if (number := _float(value)) is None or number not in ranges[place]:
                    return False
            elif _range(mine[place]) is None and mine[place] != value:
                numbers = _float(mine[place]), _float(value)
                if None in numbers or numbers[0] != numbers[1]:
                    return False
        return True


@dataclass(frozen=True)
class Sought:
    """An operator's text in which `?` stands for numbers that are to be estimated: `gaussian-blur:std=?`.

    Args:
        text: with at least one `?`.

    Raises:
        UnknownNameError: there is no operator of that name.
        OperatorError: the text breaks the grammar, holds no `?`, or one for something else than a number.
    """

    text: str

    def __post_init__(self) -> None:
        if not self.places:
            raise OperatorError(f"{self.text!r} holds no ? for a number to be estimated")
        _check_sought(self.node)

    @property
    def node(self) -> Node:
        """The text's tree."""
        return read(self.text)

    @property
    def places(self) -> list[Place]:
        """Where the `?` are, in the order of the text."""
        return [place for place, value in _places(self.node) if value == SOUGHT]

    def filled(self, values: Mapping[Place, float]) -> Spec:
        """The operator with these numbers for its `?`; those that are given stay."""
        return parse(_text(_with(self.node, {place: values[place] for place in self.places})))

    def __str__(self) -> str:
        return _text(self.node)


@dataclass(frozen=True)
class ParameterEstimator:
    """The parameters of operators of one family, told from measurements.

    The encoder sees what it does for `flash`: the measurement as a picture, not the noise's level.

    Args:
        encoder: whose features are looked at.
        head: that tells the parameters from them.
        family: which they are sought in.
        noise: the range of noise that the head was trained for, None where that is not known.
        name: for messages.
    """

    encoder: SeverityEncoder
    head: ParameterHead
    family: Family
    noise: tuple[float, float] | None = None
    name: str = "the network"

    def shares(self, y: Tensor, image_shape: Shape) -> Tensor:
        """Where in their ranges the parameters lie, (b, k) in [0, 1], for measurements y (b, *measurement_shape).

        Raises:
            NeedsCapability: the measurement is no picture.
        """
        v = picture_of(y, self.family, image_shape)
        weight = next(self.encoder.parameters())
        with torch.no_grad():
            shares: Tensor = self.head(features(self.encoder, v.to(weight.device, weight.dtype)))
        return shares.double().cpu()

    def __call__(self, sought: Sought, y: Tensor, image_shape: Shape) -> list[Spec]:
        """The operator of every image, its `?` replaced; each from its own measurement alone."""
        ranges = self.family.ranges
        return [
            sought.filled({place: found.at(u) for (place, found), u in zip(ranges.items(), row, strict=True)})
            for row in self.shares(y, image_shape).tolist()
        ]


def picture_of(y: Tensor, family: Family, image_shape: Shape) -> Tensor:
    """What a network is shown of a measurement by an unknown operator of a family: a picture in [0, 1] units.

    Raises:
        NeedsCapability: it would take the operator to make one: the measurement is no picture.
    """
    middle = parse(family.drawn([0.5] * len(family.ranges))).build(image_shape)
    if upscaling(middle) is None:
        raise NeedsCapability(
            f"a measurement by {family.text} is no picture, from which a parameter could be estimated"
        )
    middle.require(y, middle.measurement_shape, "measurement")
    return picture_input(y, middle)


def features(encoder: SeverityEncoder, v: Tensor) -> Tensor:
    """The encoder's features (b, c, h', w') of pictures v in [0, 1] units; grey is given as three equal channels."""
    if v.shape[1] == 1 and encoder.config["channels"] == 3:
        v = v.expand(-1, 3, -1, -1)
    return encoder.features(2 * pad_to_multiple(v, encoder.multiple) - 1)


def is_sought(text: str) -> bool:
    """Whether an operator's text has a `?` in place of a number.

    Raises:
        OperatorError: the text breaks the grammar.
    """
    return SOUGHT in text and any(value == SOUGHT for _, value in _places(read(text)))


def estimated_specs(
    text: str | Sought, y: Tensor, image_shape: Shape, network: str | Path | ParameterEstimator = AUTO
) -> list[Spec]:
    """The operators that measurements were made by, one an image, each told from its own measurement.

    Args:
        text: of the operator, with `?` for what is not known.
        y: measurements (b, *measurement_shape), in the units of pictures in [0, 1].
        image_shape: (c, h, w) of the pictures.
        network: a shipped one's name, a folder, or the estimator itself; "auto" is the shipped one for the family.

    Raises:
        UnknownNameError: no operator or network of that name.
        OperatorError: the text is wrong.
        CompatibilityError: there is no network for it, or this one is for another family.
        NeedsCapability: the measurement is no picture.
    """
    sought = text if isinstance(text, Sought) else Sought(text)
    if isinstance(network, str | Path):
        network = estimator_for(sought) if network == AUTO else load_parameter(network)
    if not network.family.takes(sought):
        raise CompatibilityError(f"{network.name} estimates {network.family.text}, not {sought}")
    return network(sought, y, image_shape)


def estimated_operator(
    text: str | Sought, y: Tensor, image_shape: Shape, network: str | Path | ParameterEstimator = AUTO
) -> Operator:
    """The operator of a batch, every image's own parameters told from its measurement: see `estimated_specs`."""
    specs = estimated_specs(text, y, image_shape, network)
    built = {str(spec): spec.build(image_shape) for spec in specs}
    return each([built[str(spec)] for spec in specs])


def families(kind: str) -> list[tuple[str, Family]]:
    """(name, family) of what the shipped networks of a kind were trained for, "parameter" or "severity"."""
    from pellucid.zoo import available

    found = []
    for card in (card for card in available() if card.kind == kind and not card.imported):
        takes = card.data.get("takes", {})
        for text in takes.get("operators", [takes["operator"]] if "operator" in takes else []):
            found.append((card.name, Family(text)))
    return found


def estimator_for(sought: Sought) -> ParameterEstimator:
    """The shipped network that estimates what is sought, of several the one with the fewest parameters.

    Raises:
        CompatibilityError: there is none.
    """
    known = families("parameter")
    fitting = [(name, family) for name, family in known if family.takes(sought)]
    if fitting:
        return load_parameter(min(fitting, key=lambda pair: len(pair[1].ranges))[0])
    have = "; ".join(f"{name}: {family.text}" for name, family in known) or "none is installed"
    raise CompatibilityError(
        f"no network estimates {sought}. There are: {have}. Give the number, train a network (pellucid train parameter "
        "CONFIG.toml), or take flash with inner=none, which needs no operator"
    )


def severity_for(sought: Sought) -> str | None:
    """The name of the shipped severity encoder that was trained for what is sought, the one with the fewest families.

    None where there is none.
    """
    known = families("severity")
    fitting = [name for name, family in known if family.takes(sought)]
    return min(fitting, key=[name for name, _ in known].count) if fitting else None


def example(sought: Sought) -> Spec:
    """One of the operators that it could be, in the middle of a family that a network was trained for.

    Raises:
        CompatibilityError: no shipped network was trained for it.
    """
    for kind in ("parameter", "severity"):
        for _, family in families(kind):
            if family.takes(sought):
                return sought.filled({place: found.at(0.5) for place, found in family.ranges.items()})
    estimator_for(sought)  # says what there is
    raise AssertionError


_loaded: dict[tuple[str, str], ParameterEstimator] = {}


def load_parameter(name: str | Path, device: str = "cpu") -> ParameterEstimator:
    """A network that estimates parameters, by name or folder, with the severity encoder that it looks through.

    Raises:
        UnknownNameError: there is none of that name.
        PriorError: it is of another kind, files are missing or damaged, or its encoder is not the one that it learned
            with.
    """
    from pellucid.zoo import find, load_module
    from pellucid.zoo.card import Card

    folder = find(name, "parameter")
    key = (str(folder.resolve()), device)
    if key in _loaded:
        return _loaded[key]
    head, card = load_module(folder, "parameter", device)
    takes, encoder = card.data.get("takes"), card.data.get("encoder")
    if not isinstance(takes, dict) or not isinstance(takes.get("operator"), str) or not isinstance(encoder, str):
        raise PriorError(f"{card.folder / 'card.json'} does not say which encoder it needs, or what it estimates")
    beside = card.folder.parent / encoder
    place = beside if re.fullmatch(r"\w[\w.-]*", encoder) and beside.is_dir() else find(encoder, "severity")
    known, found = card.data.get("encoder_sha256"), Card.read(place).data.get("sha256")
    if known != found:
        raise PriorError(
            f"{card.name} was trained on another {encoder}: its sha256 is {str(found)[:12]}..., the card says "
            f"{str(known)[:12]}...; take the two from one release, or train it again"
        )
    network, _ = load_module(place, "severity", device)
    if not isinstance(network, SeverityEncoder) or not isinstance(head, ParameterHead):
        raise PriorError(f"{card.name} needs a severity encoder of latents, and {encoder} is none")
    family = Family(takes["operator"])
    if head.config["parameters"] != len(family.ranges):
        raise PriorError(f"{card.folder / 'card.json'}: the network does not tell as many numbers as {family.text} has")
    noise = takes.get("noise")
    level = (float(noise[0]), float(noise[1])) if isinstance(noise, list) and len(noise) == 2 else None
    _loaded[key] = ParameterEstimator(network, head, family, level, card.name)
    return _loaded[key]


def needs_operator(method: Method) -> bool:
    """Whether a method asks what the operator does: all but a start that does not, with the prior alone after it."""
    alone = type(method.consistency) is Consistency and method.finish is None
    return not (alone and isinstance(method.start, Severity | Measured))


def _check_sought(node: Node) -> None:
    """Raises an `OperatorError` where a `?` stands for no number, or anything else is wrong."""
    parse(_text(_with(node, {place: 1 for place, value in _places(node) if value == SOUGHT and _numeric(node, place)})))


def _numeric(node: Node, place: Place) -> bool:
    """True for a number. Raises `OperatorError` for a seed and for words."""
    path, name = place
    for index in path:
        node = node.parts[index]
    kinds = {p.name: p.kind for p in OPERATORS[node.name].parameters} if node.name in OPERATORS else {}
    if name == SEED or (name in kinds and kinds[name] not in (NUMBER, WHOLE)):
        raise OperatorError(f"{node.name}: {name}=? cannot be estimated; only numbers can that say how much")
    return True


def _range(value: str) -> Range | None:
    if (match := _RANGE.fullmatch(value.strip())) is None:
        return None
    low, high = match.groups()
    return Range(float(low), float(high), all(re.fullmatch(r"[-+]?\d+", word) for word in (low, high)))


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _places(node: Node, path: tuple[int, ...] = ()) -> Iterator[tuple[Place, str]]:
    """Every parameter of a text and its value as written."""
    for name, value in node.parameters.items():
        yield (path, name), value
    for index, part in enumerate(node.parts):
        yield from _places(part, (*path, index))


def _with(node: Node, values: Mapping[Place, float], path: tuple[int, ...] = ()) -> Node:
    """The tree with other values at some places."""
    changed = {
        name: written(values[path, name]) if (path, name) in values else value
        for name, value in node.parameters.items()
    }
    return Node(node.name, changed, tuple(_with(part, values, (*path, i)) for i, part in enumerate(node.parts)))


def _text(node: Node) -> str:
    items = [f"{name}={written(value)}" for name, value in node.parameters.items()]
    items += [f"[{_text(part)}]" for part in node.parts]
    return f"{node.name}:{','.join(items)}" if items else node.name


def _same_tree(one: Node, other: Node) -> bool:
    """Whether the operators of two texts have the same names in the same brackets."""
    if one.name != other.name or len(one.parts) != len(other.parts):
        return False
    return all(_same_tree(a, b) for a, b in zip(one.parts, other.parts, strict=True))
