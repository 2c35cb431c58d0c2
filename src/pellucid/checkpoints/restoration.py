"""Imported Dirac networks as priors: which degradation process a checkpoint was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.checkpoints.folder import load as load_imported
from pellucid.checkpoints.folder import read_json
from pellucid.degradation import Degradation, Geometric
from pellucid.errors import PellucidError, PriorError
from pellucid.nn.songunet import SongUNet
from pellucid.operators.families.named import family
from pellucid.prior.dirac import DiracPrior

NOISE = (0.01, 0.05)  # of every published checkpoint (METHODS 1.2)


def load_restoration(folder: Path, device: str = "cpu", autocast: torch.dtype | None = None) -> DiracPrior:
    """The prior of an imported Dirac folder, Phi = y + F(y, sigma).

    Raises:
        PriorError: files are missing or damaged, or nothing says which process it was trained on.
    """
    card = read_json(folder / "card.json")
    network: Any = load_imported(folder, device, autocast, role="restoration-prior")
    process, channels = process_of(folder, card), network.config["channels"]
    return DiracPrior(Restored(network), process, multiple=network.multiple, channels=channels, autocast=autocast)


class Restored(nn.Module):
    """A published network as `DiracPrior` takes it: (y + F(y, sigma), no rate)."""

    def __init__(self, network: SongUNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, y: Tensor, sigma: Tensor) -> tuple[Tensor, None]:
        return self.network.restored(y, sigma), None


def process_of(folder: Path, card: Mapping[str, Any]) -> Degradation:
    """`process` of the card, {"family": ..., "noise": [low, high]}, or what the checkpoint said of its training."""
    try:
        words = card.get("process") or _told(card.get("training"))
    except (ValueError, ArithmeticError) as error:
        raise PriorError(f"{folder / 'card.json'}: what it says of its training cannot be read: {error}") from error
    if words is None:
        raise PriorError(
            f"{folder / 'card.json'} does not say which degradation its network undoes; write it there, as in "
            f'"process": {{"family": "blur", "noise": [0.01, 0.05]}}'
        )
    try:
        low, high = (float(value) for value in words.get("noise", NOISE))
        return Degradation(family(str(words["family"])), Geometric(low, high))
    except (AttributeError, TypeError, KeyError, ValueError, ArithmeticError, PellucidError) as error:
        raise PriorError(f"{folder / 'card.json'}: its process cannot be used: {error}") from error


def _told(training: Any) -> dict[str, Any] | None:
    """The process that a checkpoint's hyper-parameters describe: a blur along the released schedule, or a mask."""
    if not isinstance(training, Mapping) or not isinstance(training.get("operator_config"), Mapping):
        return None
    operator, noise = training["operator_config"], training.get("noise_config")
    said = " ".join(f"{key} {value}" for key, value in operator.items()).lower()
    words: dict[str, Any] = {}
    if "mask" in said or "inpaint" in said:
        widths = sorted(value for key, value in _numbers(operator) if "std" in key)
        if len(widths) < 2:
            return None
        words["family"] = f"hole:narrowest={widths[0]:g},widest={widths[-1]:g}"
    elif "blur" in said:
        words["family"] = "blur"
    else:
        return None
    levels = sorted(value for key, value in _numbers(noise) if "std" in key and value > 0)
    if len(levels) == 2:
        words["noise"] = levels
    return words


def _numbers(words: Any) -> Iterator[tuple[str, float]]:
    if isinstance(words, Mapping):
        for key, value in words.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield str(key), float(value)
