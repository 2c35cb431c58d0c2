"""Priors of an experiment: loaded once a process, known by what is in their files."""

from __future__ import annotations

from functools import lru_cache

from pellucid import zoo
from pellucid.bench.hashes import of_network
from pellucid.prior.base import Prior


@lru_cache(maxsize=4)
def loaded(name: str, device: str, precision: str) -> Prior:
    """The prior. Raises `UnknownNameError` or `PriorError`."""
    return zoo.load(name, device, precision)


def fingerprint(name: str) -> str:
    """The sha256 of what the prior is made of; see `pellucid.bench.hashes.of_network`."""
    return of_network(zoo.find(name))


def device_for(name: str) -> str:
    """The device that a plan's word stands for."""
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def precision_for(name: str, device: str) -> str:
    """The precision that "auto" stands for on this machine, as the key of a row must not depend on the machine."""
    if name != "auto":
        return name
    dtype = zoo.fast_dtype(device)
    return "float32" if dtype is None else str(dtype).removeprefix("torch.")
