"""A prior adapted to one picture of an experiment: what it learns from, and the adapters that are kept.

An adapter is kept by what it depends on, in a folder of the results: all methods and seeds that reconstruct a picture
from one measurement share it, and a run that is continued finds it again.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid import methods
from pellucid.adapt import Adapter, adapt, adapted
from pellucid.adapt.adapt import network_of
from pellucid.adapt.query import measured, require_query
from pellucid.bench.adapt_plan import OF_COLLECTIONS, AdaptPlan
from pellucid.bench.data import Image, load
from pellucid.bench.measuring import number
from pellucid.bench.plan import Data
from pellucid.errors import ConfigError, PriorError
from pellucid.loop import reconstruct
from pellucid.operators import Operator
from pellucid.prior.base import Prior
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.problem import Problem
from pellucid.retrieval import Index, Neighbour
from pellucid.retrieval.ann import COLUMN, KEY, Nearest, batches, matrix
from pellucid.retrieval.neighbour import COLUMNS

CORNERS = ("top left", "top right", "bottom left", "bottom right")
LEAST = 8  # pixels of a corner


@dataclass(frozen=True)
class Collection:
    """The part of an index that a table allows.

    Attributes:
        index: all of it.
        ids: of the pictures that may be taken, in order.
        fingerprint: of these and of the embedder, 64 hexadecimal digits: the same wherever the index lies.
    """

    index: Index
    ids: tuple[str, ...]
    fingerprint: str

    def nearest(self, vector: Tensor, k: int) -> list[Neighbour]:
        """The k nearest, nearest first, by comparing with every one.

        Args:
            vector: (d,), of the index's embedder.
            k: how many; fewer where there are fewer.
        """
        allowed, found = set(self.ids), Nearest(vector.detach().cpu().numpy()[None], k)
        for batch in batches(self.index.table, [KEY, COLUMN]):
            keys = batch.column(KEY).to_pylist()
            if places := [place for place, key in enumerate(keys) if key in allowed]:
                found.see(matrix(batch)[places], [keys[place] for place in places])
        about = self.index.about
        scale = 2 if about.unit else about.dimension
        distances = np.maximum(found.distances[0], 0) / scale
        return _fetched(self.index, dict(zip(found.labels[0].tolist(), distances.tolist(), strict=True)))

    def random(self, k: int, seed: int) -> list[str]:
        """k ids, shuffled by the seed."""
        return sorted(self.ids, key=lambda one: _shuffled(seed, one))[:k]


@dataclass(frozen=True)
class Material:
    """What one picture's prior learns from.

    Attributes:
        pictures: (c, h, w) each.
        names: of the pictures.
        nearest: distance of the nearest one from the query; None where nothing was compared.
        seconds: that looking for them took, with the first reconstruction where the query has one.
    """

    pictures: Sequence[Tensor]
    names: Sequence[str]
    nearest: float | None
    seconds: float


@dataclass(frozen=True)
class Case:
    """One measurement of one picture.

    Attributes:
        data: how pictures are prepared.
        image: the picture.
        problem: the measurement, (1, ...).
        prior: the prior as it is.
        version: of the collection.
    """

    data: Data
    image: Image
    problem: Problem
    prior: Prior
    version: int


def version(table: AdaptPlan) -> int:
    """Which version of its collection there is now, so that an experiment sees the same one to its end; 0 for none.

    Raises:
        ConfigError: there is no index.
    """
    return int(_live(table.collection).table.version) if table.pick in OF_COLLECTIONS else 0


def collection(table: AdaptPlan, at: int | None = None) -> Collection | None:
    """What the table allows of its index; None where it has none.

    Args:
        table: of the plan.
        at: the index's version, see `version`; the latest if not given.

    Raises:
        ConfigError: there is no index, it is of another embedder, or it allows fewer pictures than are wanted.
    """
    if table.pick not in OF_COLLECTIONS:
        return None
    place = (table.collection, version(table) if at is None else at)
    index, kind = _index(*place), table.embedder
    if kind and kind not in (index.about.embedder, index.about.embedder.partition(":")[0]):
        raise ConfigError(f"{table.collection} is of the embedder {index.about.embedder}, not of {kind}")
    chosen = _chosen(*place, table.collection_match, table.collection_size, table.seed)
    if len(chosen.ids) < table.neighbours:
        part = f" of them {len(chosen.ids)} allowed," if len(chosen.ids) < len(index) else ""
        raise ConfigError(
            f"{table.collection} holds {len(index)} pictures,{part} and neighbours = {table.neighbours}; ask for fewer"
        )
    return chosen


def identity(table: AdaptPlan, at: int | None = None) -> list[Any]:
    """What an adapted row's key has beside that of the row without: settings, and the collection by its content."""
    found = collection(table, at)
    return [table.settings, found.fingerprint if found else ""]


def require_fit(table: AdaptPlan, data: Data, images: Sequence[Image]) -> None:
    """Everything about a table and the pictures that can be wrong.

    Raises:
        ConfigError: the collection is missing, too small, or holds copies of the experiment's pictures; there is
            nothing around a crop.
        PriorError: peft is not installed.
    """
    if table.style == "lora" and find_spec("peft") is None:
        raise PriorError("adaptation needs the extra: pip install 'pellucid[adapt]'")
    if table.pick == "truth-surroundings":
        for image in images:
            surroundings(data, image)
    found = collection(table)
    if found is None or table.allow_duplicates:
        return
    ids, place = frozenset(found.ids), (table.collection, found.index.table.version)
    twins = [(i.name, name) for i in images for name, key in _copies(*place, data, i.path) if key in ids]
    if twins:
        named = ", ".join(f"{name} (of {image})" for image, name in twins[:5])
        more = f" and {len(twins) - 5} more" if len(twins) > 5 else ""
        raise ConfigError(
            f"{table.collection} holds copies of the experiment's pictures: {named}{more}; "
            "take a collection without them, or say allow_duplicates = true"
        )


def require_adaptable(table: AdaptPlan, prior: Prior, operator: Operator) -> None:
    """Whether the prior can be adapted to measurements by this operator.

    Raises:
        CompatibilityError: the prior is around no torch network, or y neither is a picture nor becomes one.
    """
    network_of(prior)
    queried = table.pick in OF_COLLECTIONS and table.query != "truth"
    if table.own or (queried and table.query != "reconstruction"):
        require_query(operator)
    if queried and table.query in ("both", "reconstruction"):
        method = methods.get(table.first).build(None, operator)
        method.check(Problem(torch.zeros(1, *operator.measurement_shape), operator), prior)


def surroundings(data: Data, image: Image) -> list[Tensor]:
    """What the file shows around its centre crop: four corners, (c, (H - size) / 2, (W - size) / 2).

    Raises:
        ConfigError: pictures are not cut out of the middle, or there is too little around.
    """
    if data.crop != "centre" or data.size is None:
        raise ConfigError("pick = 'truth-surroundings' needs [data] crop = 'centre' and a size")
    whole = load(replace(data, size=None, crop="none"), image.path)
    top, left = ((length - data.size) // 2 for length in whole.shape[-2:])
    if min(top, left) < LEAST:
        raise ConfigError(
            f"{image.path} has {top} x {left} pixels around its crop in every corner; {LEAST} x {LEAST} at least"
        )
    rows, columns = (slice(0, top), slice(-top, None)), (slice(0, left), slice(-left, None))
    return [whole[:, row, column].contiguous() for row in rows for column in columns]


def adapted_prior(table: AdaptPlan, case: Case, key: str, folder: Path) -> tuple[Prior, dict[str, Any]]:
    """The prior adapted to a picture, and the columns that say to what and at which cost.

    Args:
        table: how.
        case: the picture and its measurement.
        key: of everything that the adapter depends on; it is learned once and kept under that name.
        folder: of the kept adapters.

    Raises:
        PellucidError: see `pellucid.adapt.adapt`.
    """
    assert isinstance(case.prior, DiffusionPrior)  # `require_adaptable`
    path = folder / f"{key}.safetensors"
    with _locked(folder / f".{key}.lock"):
        adapter = _kept(path)
        if adapter is None:
            adapter = _learned(table, case)
            adapter.save(path)
    about = adapter.about
    columns = {"adapt_steps": about["steps"], "neighbours": json.dumps(about["neighbours"])}
    columns |= {name: about[name] for name in ("adapt_seconds", "search_seconds", "nearest", "collection")}
    return adapted(case.prior, adapter), columns


def _learned(table: AdaptPlan, case: Case) -> Adapter:
    material, found = _material(table, case), collection(table, case.version)
    began = time.perf_counter()
    pictures = [picture.to(case.problem.y.device) for picture in material.pictures]
    assert isinstance(case.prior, DiffusionPrior)
    learned = adapt(case.prior, case.problem, pictures, table.how).adapter
    about = {
        "neighbours": list(material.names),
        "nearest": material.nearest,
        "collection": found.fingerprint if found else None,
        "search_seconds": material.seconds,
        "adapt_seconds": time.perf_counter() - began,
    }
    return replace(learned, about={**learned.about, **about})


def _material(table: AdaptPlan, case: Case) -> Material:
    began = time.perf_counter()
    if table.pick == "truth-surroundings":
        corners = surroundings(case.data, case.image)
        return Material(corners, CORNERS, None, time.perf_counter() - began)
    chosen = collection(table, case.version)
    if chosen is None:
        return Material((), (), None, 0.0)
    if table.pick == "random":  # in an order of their own, so that nothing depends on the measurement
        drawn = chosen.random(table.neighbours, number("neighbours", table.seed, case.image.name))
        taken = _fetched(chosen.index, dict.fromkeys(drawn, 0.0))
        names = [one.name for one in taken]
        return Material([one.picture() for one in taken], names, None, time.perf_counter() - began)
    vector = chosen.index.embed(_query(table, case).cpu())
    found = chosen.nearest(vector, table.neighbours)
    seconds = time.perf_counter() - began
    return Material([one.picture() for one in found], [one.name for one in found], found[0].distance, seconds)


def _query(table: AdaptPlan, case: Case) -> Tensor:
    if table.query == "truth":
        return load(case.data, case.image.path)[None]
    if table.query == "measurement":
        return measured(case.problem)
    method = methods.get(table.first).build(None, case.problem.operator)
    seeds = [number("first", table.seed, case.image.name)]
    first = reconstruct(case.problem, case.prior, method, seeds=seeds).image
    first = first.float().clamp(0, 1)
    return first if table.query == "reconstruction" else torch.cat([measured(case.problem), first])


def _kept(path: Path) -> Adapter | None:
    """What lies there; None where there is nothing, or nothing that can be read."""
    try:
        adapter = Adapter.load(path)
    except PriorError:
        return None
    return adapter if {"neighbours", "search_seconds"} <= set(adapter.about) else None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two processes never learn one adapter; the second waits for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # no such locks on this system: the work is done twice, and comes out the same
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        yield


@lru_cache(maxsize=4)
def _live(uri: str) -> Index:
    return Index.open(uri)


@lru_cache(maxsize=8)
def _index(uri: str, version: int) -> Index:
    """As it was in that version, whatever is added to it meanwhile."""
    index = Index.open(uri)
    index.table.checkout(version)
    return index


@lru_cache(maxsize=16)
def _chosen(uri: str, version: int, match: str, size: int, seed: int) -> Collection:
    """Read once for each version of the table."""
    index, wanted = _index(uri, version), re.compile(match)
    ids: list[str] = []
    for batch in batches(index.table, [KEY, "name"]):
        pairs = zip(batch.column(KEY).to_pylist(), batch.column("name").to_pylist(), strict=True)
        ids += [key for key, name in pairs if wanted.search(name)]
    # A hash of seed and content shuffles them: a smaller part lies in every larger one, in whatever order they came.
    part = sorted(sorted(ids, key=lambda one: _shuffled(seed, one))[: size or None])
    digest = hashlib.sha256("\n".join([index.about.embedder, *part]).encode()).hexdigest()
    return Collection(index, tuple(part), digest)


@lru_cache(maxsize=4096)
def _copies(uri: str, version: int, data: Data, path: Path) -> tuple[tuple[str, str], ...]:
    """(name, id) of the index's pictures that nearly are the file's, or what the experiment cuts out of it."""
    index = _index(uri, version)
    views = [load(replace(data, size=None, crop="none"), path), load(data, path)]
    found = {one.sha256: one.name for view in views for one in index.near_duplicates(view)}
    return tuple((name, key) for key, name in found.items())


def _fetched(index: Index, distances: dict[str, float]) -> list[Neighbour]:
    """The rows of these ids with their contents, in that order."""
    wanted = ", ".join(f"'{one}'" for one in distances)
    query = index.table.search().where(f"{KEY} IN ({wanted})").limit(len(distances))
    rows = {row[KEY]: row for row in query.select([*COLUMNS, "picture"]).to_arrow().to_pylist()}
    return [_neighbour(rows[one], distance) for one, distance in distances.items()]


def _neighbour(row: dict[str, Any], distance: float) -> Neighbour:
    given = {name: row[name] for name in COLUMNS if name != "picture_sha256"}
    return Neighbour(**given, distance=distance, stored=row["picture"], stored_sha256=row["picture_sha256"])


def _shuffled(seed: int, one: str) -> bytes:
    return hashlib.blake2b(f"{seed}/{one}".encode(), digest_size=16).digest()
