"""Adapters that were learned before, known by everything that they depend on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pellucid.adapt.adapter import Adapter
from pellucid.errors import PriorError

if TYPE_CHECKING:
    from pellucid.adapt.adapt import Adaptation
    from pellucid.prior.diffusion import DiffusionPrior


def default_folder() -> Path:
    """$PELLUCID_CACHE/adapters, or ~/.cache/pellucid/adapters."""
    return Path(os.environ.get("PELLUCID_CACHE") or Path.home() / ".cache" / "pellucid") / "adapters"


def key(prior: DiffusionPrior, pictures: Sequence[Tensor], channels: int, how: Adaptation) -> str:
    """40 hexadecimal digits of (prior, pictures in their order, settings).

    The prior counts by the content of its network and autoencoder, by how they are put together, by what the network
    predicts and at which precision, and by its process. What a module's text does not tell, such as a function in its
    `forward`, does not count.
    """
    digest = hashlib.sha256()
    process, codec = prior.process, prior.codec
    times = process.t_max * torch.linspace(0, 1, 17, dtype=torch.float64)
    schedule = [process.alpha(times).tolist(), process.sigma(times).tolist(), process.t_max, process.discrete]
    told = (prior.predicts, prior.learned_variance, prior.autocast, prior.multiple, prior.channels)
    plain = {name: value for name, value in sorted(vars(codec).items()) if isinstance(value, str | int | float | tuple)}
    digest.update(repr((told, schedule, type(codec).__name__, plain, channels, how, torch.__version__)).encode())
    for network in (prior.network, getattr(codec, "module", None)):
        if isinstance(network, nn.Module):
            _hash_network(digest, network)
    for picture in pictures:
        digest.update(repr((tuple(picture.shape), picture.dtype)).encode())
        digest.update(_bytes(picture))
    return digest.hexdigest()[:40]


def find(folder: Path, name: str) -> Adapter | None:
    """The adapter of that key; None where there is none, or where the file is damaged, which is then learned anew."""
    path = _path(folder, name)
    if not path.is_file():
        return None
    try:
        return Adapter.load(path)
    except PriorError:
        return None


def keep(folder: Path, name: str, adapter: Adapter) -> None:
    """Saves an adapter under its key. Raises `ImageFileError` where it cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    adapter.save(_path(folder, name))


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def _hash_network(digest: Any, network: nn.Module) -> None:
    """Every time anew: weights change in ways that no counter sees."""
    digest.update(repr(network).encode())
    for name, value in [*sorted(network.named_parameters()), *sorted(network.named_buffers())]:
        digest.update(repr((name, tuple(value.shape), value.dtype)).encode())
        digest.update(_bytes(value))


def _bytes(value: Tensor) -> bytes:
    flat = value.detach().cpu().contiguous().reshape(-1)
    return bytes(flat.view(torch.uint8).numpy()) if flat.numel() else b""
