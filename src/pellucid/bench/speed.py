"""Seconds of one call of a shipped network, with and without its gradient."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from pellucid.codec.autoencoder import AutoencoderCodec
from pellucid.prior.base import State
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.zoo import Card, find, load, load_autoencoder, load_estimator


def speed(name: str | Path, *, size: int = 256, precision: str = "auto", repeats: int = 5) -> dict[str, float]:
    """Best of `repeats`, in seconds, for one picture: {what: seconds}.

    Args:
        name: of a shipped network, or a folder.
        size: side of the picture in pixels.
        precision: see `pellucid.zoo.load`; an estimator runs in float32.
        repeats: after one call that does not count.

    Raises:
        UnknownNameError, PriorError: there is no such network.
    """
    folder = find(name)
    kind = Card.read(folder).kind if (folder / "card.json").is_file() else "prior"
    if kind == "autoencoder":
        return _codec(load_autoencoder(folder, precision=precision), size, repeats)
    if kind == "estimator":
        network = load_estimator(folder)
        x = torch.rand(1, 3, size, size)
        return {"call": best(lambda: network(x), repeats)}
    prior = load(folder, precision=precision)
    measured = _prior(prior, size, repeats)
    return measured | (_codec(prior.codec, size, repeats) if isinstance(prior.codec, AutoencoderCodec) else {})


def _prior(prior: DiffusionPrior, size: int, repeats: int) -> dict[str, float]:
    shape = prior.codec.shape((prior.channels or 3, size, size))
    t = prior.process.on_grid(torch.tensor([0.3 * prior.process.t_max], dtype=torch.float64))

    def gradient() -> Tensor:
        estimate = prior.estimate(State(torch.zeros(1, *shape), t), differentiable=True)
        assert estimate.vjp is not None
        return estimate.vjp(estimate.x0)

    with torch.no_grad():
        call = best(lambda: prior.estimate(State(torch.zeros(1, *shape), t)).x0, repeats)
    return {"call": call, "call with gradient": best(gradient, repeats)}


def _codec(codec: AutoencoderCodec, size: int, repeats: int) -> dict[str, float]:
    channels = 1 if codec.channels == 1 else 3
    z = torch.zeros(1, *codec.shape((channels, size, size)))

    def gradient() -> Tensor:
        given = z.clone().requires_grad_()
        (found,) = torch.autograd.grad(codec.decode(given).square().sum(), given)
        return found

    with torch.no_grad():
        encode = best(lambda: codec.encode(torch.rand(1, channels, size, size)), repeats)
        decode = best(lambda: codec.decode(z), repeats)
    return {"encode": encode, "decode": decode, "decode with gradient": best(gradient, repeats)}


def best(call: Callable[[], Tensor], repeats: int) -> float:
    """Seconds of the fastest of `repeats` calls, after one that does not count."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
