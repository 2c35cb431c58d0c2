"""Adapters that were learned before, known by everything that they depend on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from pellucid.adapt.adapter import Adapter
from pellucid.errors import PriorError

if TYPE_CHECKING:
    from pellucid.adapt.adapt import Adaptation
    from pellucid.prior.diffusion import DiffusionPrior

_digests: WeakKeyDictionary[nn.Module, tuple[int, str]] = WeakKeyDictionary()


def default_folder() -> Path:
    """$PELLUCID_CACHE/adapters, or ~/.cache/pellucid/adapters."""
    return Path(os.environ.get("PELLUCID_CACHE") or Path.home() / ".cache" / "pellucid") / "adapters"


def key(prior: DiffusionPrior, pictures: Sequence[Tensor], channels: int, how: Adaptation) -> str:
    """40 hexadecimal digits of (prior, pictures in their order, settings).

    The prior counts by its weights and by what its network predicts, at which precision and times.
    """
    digest = hashlib.sha256()
    process = prior.process
    middle = torch.tensor([process.t_max / 3], dtype=torch.float64)
    about = (prior.predicts, prior.autocast, prior.multiple, type(process).__name__, process.t_max)
    schedule = (float(process.alpha(middle)), float(process.sigma(middle)))
    digest.update(repr((about, schedule, channels, how, torch.__version__)).encode())
    assert isinstance(prior.network, nn.Module)
    for network in (prior.network, getattr(prior.codec, "module", None)):
        digest.update(_of_network(network).encode() if isinstance(network, nn.Module) else b"none")
    for picture in pictures:
        digest.update(repr(tuple(picture.shape)).encode())
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


def _of_network(network: nn.Module) -> str:
    """sha256 of all weights, once a network; weights that are trained are not for a cache."""
    state = sum(parameter._version for parameter in network.parameters())  # counts changes in place
    if network not in _digests or _digests[network][0] != state:
        digest = hashlib.sha256(type(network).__name__.encode())
        for name, value in sorted(network.state_dict().items()):
            digest.update(name.encode())
            digest.update(_bytes(value))
        _digests[network] = (state, digest.hexdigest())
    return _digests[network][1]


def _bytes(value: Tensor) -> bytes:
    flat = value.detach().cpu().contiguous().reshape(-1)
    return bytes(flat.view(torch.uint8).numpy()) if flat.numel() else b""
