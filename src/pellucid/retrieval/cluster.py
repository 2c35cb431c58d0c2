"""Embedding on the machines of a Ray cluster; the table is written by the one that asks."""

from __future__ import annotations

import importlib
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pellucid.errors import ConfigError
from pellucid.retrieval.embedder import embedder
from pellucid.retrieval.record import Made, make
from pellucid.retrieval.source import Item, Refusal
from pellucid.retrieval.table import About, require_same

AHEAD = 2  # batches that wait at every worker, so that none is idle while rows are written


class Worker:
    """A process somewhere in the cluster, with an embedder of its own and one thread.

    Args:
        about: of the table.
        device: where the network goes.
    """

    def __init__(self, about: About, device: str) -> None:
        import torch

        torch.set_num_threads(1)
        self.about = about
        self.embed = embedder(about.text, device)
        require_same(about, self.embed.name, "the table")

    def make(self, part: Sequence[Item], known: Any) -> Made:
        """See `record.make`."""
        return make(part, self.embed, self.about.keeping, known)


def spread(
    parts: Iterator[list[Item | Refusal]], about: About, known: Any, workers: int | None, device: str = "cpu"
) -> Iterator[Made]:
    """What `make` makes of every part, in order, made by actors of Ray.

    A cluster is joined where one is running (RAY_ADDRESS, or `ray start` on this machine); otherwise a local one is
    made for as long as the work takes.

    Args:
        parts: files, batch by batch.
        about: of the table.
        known: hashes that it has.
        workers: actors; one for every core of the cluster, if not given.
        device: of their networks; "cuda" takes a GPU for each.

    Raises:
        ConfigError: Ray is not installed, or an actor failed for good.
    """
    ray = _library()
    own = not ray.is_initialized()
    if own:
        try:
            ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
        except ConnectionError:
            ray.init(num_cpus=workers, log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    try:
        most = max(1, int(ray.cluster_resources().get("CPU", 1)))  # more actors would wait for ever
        count = min(workers or most, most)
        gpus = 1 if device.startswith("cuda") else 0
        # An actor whose machine is lost begins again elsewhere, and its batch is made again: rows have keys.
        kind = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=3, max_task_retries=3)(Worker)
        shared = ray.put(known)
        actors = [kind.remote(about, device) for _ in range(count)]
        waiting: deque[tuple[Any, list[Refusal]]] = deque()
        for number, part in enumerate(parts):
            items = [p for p in part if isinstance(p, Item)]
            waiting.append(
                (actors[number % count].make.remote(items, shared), [p for p in part if isinstance(p, Refusal)])
            )
            if len(waiting) >= AHEAD * count:
                yield _next(ray, waiting)
        while waiting:
            yield _next(ray, waiting)
    finally:
        if own:
            ray.shutdown()


def _library() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError("several machines need the extra: pip install 'pellucid[cluster]'") from error


def _next(ray: Any, waiting: deque[tuple[Any, list[Refusal]]]) -> Made:
    reference, refused = waiting.popleft()
    try:
        made: Made = ray.get(reference)
    except ray.exceptions.RayError as error:
        raise ConfigError(f"a worker of the cluster failed: {' '.join(str(error).split())[-300:]}") from error
    return replace(made, refused=[*refused, *made.refused])
