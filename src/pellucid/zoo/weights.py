"""The weights of a shipped network, read only where they are those that its card promises."""

from __future__ import annotations

import hashlib

import torch

from pellucid.checkpoints.announced import elements
from pellucid.errors import PriorError
from pellucid.zoo.card import Card

HEADER = 2**20  # bytes that the names in a file may take


def read_weights(card: Card) -> dict[str, torch.Tensor]:
    """The weights of a card's network, in float32.

    The file is read only if it is no larger than the network that the card announces would be in float32.

    Raises:
        PriorError: the card describes no network, or the file is missing, damaged, or of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as read_safetensors

    from pellucid.zoo.networks import announced_shapes

    shapes = announced_shapes(card)
    path, most = card.folder / "model.safetensors", 4 * elements(shapes) + HEADER
    try:
        if not path.is_file():
            raise PriorError(f"{card.folder} holds no {path.name}")
        if (size := path.stat().st_size) > most:
            raise PriorError(f"{path} is of {size:,} bytes; the network of its card takes {most:,} at most")
        content = path.read_bytes()
    except OSError as error:
        raise PriorError(f"cannot read {path}: {error}") from error
    promised = str(card.data.get("sha256", ""))
    if (found := hashlib.sha256(content).hexdigest()) != promised:
        raise PriorError(f"{path} is damaged: its sha256 is {found[:12]}..., the card says {promised[:12]}...")
    try:
        stored = read_safetensors(content)
    except SafetensorError as error:
        raise PriorError(f"{path} is no safetensors file: {error}") from error
    wrong = [key for key in {**shapes, **stored} if key not in stored or shapes.get(key) != tuple(stored[key].shape)]
    if wrong:
        raise PriorError(
            f"{card.folder} holds weights that do not fit the network of its card: {len(wrong)} are missing, unknown "
            f"or of another shape, the first being {wrong[0]}"
        )
    return {key: value.float() for key, value in stored.items()}
