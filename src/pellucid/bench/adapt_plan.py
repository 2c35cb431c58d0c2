"""How an experiment adapts a prior to each of its pictures: a table `[adapt.NAME]` of the plan."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from pellucid.adapt import Adaptation, Full, Lora, Training
from pellucid.bench.toml import is_number, is_whole, require
from pellucid.errors import CompatibilityError, ConfigError

PICKS = ("neighbours", "random", "truth-surroundings", "none")
QUERIES = ("measurement", "reconstruction", "both", "truth")
STYLES = ("lora", "full")
OF_COLLECTIONS = ("neighbours", "random")  # picks that need one
PLACES = ("collection", "collection_size", "collection_match", "allow_duplicates")  # known by what they choose


@dataclass(frozen=True)
class AdaptPlan:
    """What a prior is adapted to, and how; every picture by itself.

    Args:
        collection: a retrieval index, relative to the working directory, or its place in an object store.
        pick: "neighbours", the nearest to the query; "random", as many without looking, seeded by the picture's name;
            "truth-surroundings", what the file shows around the centre crop, in its four corners: an oracle; "none".
        neighbours: how many pictures are learned from.
        steps, lr, batch, crop, held_out, seed: of the training, see `pellucid.adapt`.
        style: "lora" or "full"; rank, alpha, attention: of "lora".
        own: learn from y as a picture, too.
        query: what is looked for: "measurement", y as a picture; "reconstruction", a first one with the prior as it is;
            "both", the mean of their embeddings; "truth", the picture itself: an oracle.
        first: the method of that reconstruction, at its defaults.
        collection_size: only the first so many of a shuffle that `seed` names; 0 for all.
        collection_match: only names in which this regular expression is found.
        embedder: the identity, or the kind before its colon, that the index is wanted to be of; "" takes any.
        allow_duplicates: take a collection though it holds copies of the experiment's pictures.
    """

    collection: str = ""
    pick: str = "neighbours"
    neighbours: int = 20
    steps: int = 400
    lr: float = 1e-4
    style: str = "lora"
    rank: int = 16
    alpha: float = 8.0
    attention: bool = False
    batch: int = 6
    crop: int = 64
    held_out: float = 0.0
    own: bool = False
    query: str = "measurement"
    first: str = "adir"
    collection_size: int = 0
    collection_match: str = ""
    embedder: str = ""
    seed: int = 0
    allow_duplicates: bool = False

    def __post_init__(self) -> None:
        for name in ("collection", "collection_match", "embedder", "first"):
            require(isinstance(getattr(self, name), str), f"{name} is a text")
        for name in ("attention", "own", "allow_duplicates"):
            require(isinstance(getattr(self, name), bool), f"{name} is true or false")
        for name, least in (("neighbours", 1), ("steps", 0), ("rank", 1), ("batch", 1), ("crop", 8)):
            value = getattr(self, name)
            require(is_whole(value) and value >= least, f"{name} is a whole number from {least}, not {value!r}")
        for name in ("collection_size", "seed"):
            value = getattr(self, name)
            require(is_whole(value) and value >= 0, f"{name} is a whole number from 0, not {value!r}")
        for name in ("lr", "alpha", "held_out"):
            require(is_number(getattr(self, name)), f"{name} is a number, not {getattr(self, name)!r}")
        for name, known in (("pick", PICKS), ("query", QUERIES), ("style", STYLES)):
            require(getattr(self, name) in known, f"{name} is one of {', '.join(known)}, not {getattr(self, name)!r}")
        require(self.pick != "none" or self.own, "pick = 'none' leaves nothing to learn from but own = true")
        needed = self.pick in OF_COLLECTIONS
        require(bool(self.collection) or not needed, f"pick = {self.pick!r} needs a collection, an index")
        require(not self.collection or needed, f"pick = {self.pick!r} takes no collection")
        try:
            re.compile(self.collection_match)
        except re.error as error:
            raise ConfigError(f"collection_match is no regular expression: {error}") from error
        try:
            _ = self.how
        except CompatibilityError as error:
            raise ConfigError(str(error)) from error

    @property
    def how(self) -> Adaptation:
        """For `pellucid.adapt.adapt`. Raises `CompatibilityError` for numbers out of their range."""
        style = Full() if self.style == "full" else Lora(self.rank, float(self.alpha), self.attention)
        training = Training(self.steps, float(self.lr), self.seed)
        return Adaptation(style, training, self.batch, self.crop, self.own, float(self.held_out))

    @property
    def of_measurement(self) -> bool:
        """Whether the adapter depends on y; if not, all tasks share it."""
        return self.own or (self.pick == "neighbours" and self.query != "truth")

    @property
    def settings(self) -> dict[str, Any]:
        """All but where the pictures lie: what the result depends on beside them."""
        return {name: value for name, value in asdict(self).items() if name not in PLACES}
