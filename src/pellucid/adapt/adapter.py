"""What an adaptation found: to be put into the network that it was made for, saved and read again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from pellucid.adapt.lora import Full, Lora, Style, delta, sharing
from pellucid.errors import CompatibilityError, PriorError
from pellucid.images.atomic import replacing

LARGEST = 2 * 10**9  # bytes of a file of factors
BIGGEST = 1e6  # of a factor; weights are of the order of 1
LONGEST = 1e9  # steps or seconds of an adaptation


@dataclass(frozen=True)
class Adapter:
    """The weights that moved.

    Attributes:
        style: which ones could.
        state: "<module>.lora_A" and "<module>.lora_B", or whole weights by name; float32, on the CPU.
        about: how it was made: steps, seconds, losses.
    """

    style: Style
    state: Mapping[str, Tensor]
    about: Mapping[str, Any] = field(default_factory=dict)

    def into(self, network: nn.Module) -> nn.Module:
        """The network with the adapter merged in: as fast as the network itself, which stays as it is.

        Weights that did not move are the same memory.

        Raises:
            CompatibilityError: the adapter is of another network.
        """
        merged = sharing(network)
        own = dict(merged.named_parameters())
        for name, change in self._changes(own).items():
            owner, _, leaf = name.rpartition(".")
            weight = own[name]
            moved = change(weight).to(weight).contiguous(memory_format=_memory_format(weight))
            setattr(merged.get_submodule(owner), leaf, nn.Parameter(moved, requires_grad=False))
        return merged

    def _changes(self, own: Mapping[str, Tensor]) -> dict[str, Any]:
        if isinstance(self.style, Full):
            if wrong := [n for n, w in self.state.items() if n not in own or own[n].shape != w.shape]:
                raise CompatibilityError(f"the adapter is of another network: it has a weight {wrong[0]}")
            return {name: (lambda _, w=weight: w) for name, weight in self.state.items()}
        scaling, changes = self.style.scaling, {}
        for module in sorted({name.rpartition(".")[0] for name in self.state}):
            a, b = (self.state.get(f"{module}.lora_{letter}") for letter in "AB")
            name = f"{module}.weight"
            fits = a is not None and b is not None and name in own
            if not fits or (b.shape[0], a[0].numel()) != (own[name].shape[0], own[name][0].numel()):  # type: ignore[index,union-attr]
                raise CompatibilityError(f"the adapter is of another network: it has factors of {module}")

            def change(weight: Tensor, a: Tensor = a, b: Tensor = b) -> Tensor:  # type: ignore[assignment]
                return weight.double() + delta(weight, a, b, scaling).to(weight.device)

            changes[name] = change
        return changes

    def save(self, path: Path) -> None:
        """Writes safetensors, beside and then renamed; what it is about stands in the header.

        Raises:
            ImageFileError: it cannot be written.
        """
        from safetensors.torch import save

        style = {"style": "full"} if isinstance(self.style, Full) else {"style": "lora", **vars(self.style)}
        header = {"pellucid_adapter": json.dumps({**style, "about": dict(self.about)}, sort_keys=True)}
        content = save({name: value.contiguous() for name, value in self.state.items()}, metadata=header)
        with replacing(path) as partial:
            partial.write_bytes(content)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            PriorError: it is missing, damaged, too large or no adapter.
        """
        from safetensors import SafetensorError, safe_open

        if not path.is_file():
            what = "is a folder, no adapter; an index belongs to --adapt" if path.is_dir() else "is not there"
            raise PriorError(f"the adapter {path} {what}; --save-adapter writes one")
        if path.stat().st_size > LARGEST:
            raise PriorError(f"{path} is larger than {LARGEST:,} bytes, which no adapter is")
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get("pellucid_adapter", "null"))
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, RecursionError) as error:
            raise PriorError(f"{path} is no adapter: {str(error)[:200]}") from error
        if not isinstance(header, dict) or not isinstance(about := header.get("about", {}), dict):
            raise PriorError(f"{path} is no adapter: it was not written by pellucid")
        style = _style(header, path)
        if wrong := [name for name, value in state.items() if not _sound(name, value, style)]:
            raise PriorError(f"{path} is no adapter: {wrong[0]} is no weight, or holds values that are not finite")
        if not all(isinstance(about.get(name, 0), int | float) for name in ("steps", "seconds")):
            raise PriorError(f"{path} is no adapter: its header does not say what it took in numbers")
        if not all(0 <= about.get(name, 0) < LONGEST for name in ("steps", "seconds")):
            raise PriorError(f"{path} is no adapter: its header says that it took no possible time")
        return cls(style, state, about)


def _sound(name: str, value: Tensor, style: Style) -> bool:
    """Whether a tensor is one that `save` writes: floats of moderate size; a factor of the rank that is announced."""
    if value.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        return False
    if not bool((value.abs() < BIGGEST).all()):
        return False
    if isinstance(style, Full):
        return True
    side = {"lora_A": 0, "lora_B": 1}.get(name.rpartition(".")[2])
    return side is not None and value.ndim in (2, 4) and value.numel() > 0 and value.shape[side] == style.rank


def _style(header: dict[str, Any], path: Path) -> Style:
    if header.get("style") == "full":
        return Full()
    try:
        style = Lora(int(header["rank"]), float(header["alpha"]), bool(header["attention"]))
        if style.alpha > BIGGEST:
            raise CompatibilityError(f"alpha is {style.alpha}")
    except (KeyError, TypeError, ValueError, OverflowError, CompatibilityError) as error:
        raise PriorError(f"{path} is no adapter: its header says {str(header.get('style'))[:20]!r}") from error
    return style


def _memory_format(weight: Tensor) -> torch.memory_format:
    four = weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if four else torch.contiguous_format
