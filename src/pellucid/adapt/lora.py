"""Which weights of a network an adaptation may move: low-rank factors beside its convolutions, or all of them.

The network that is given is never touched. What is trained is a copy of its structure, whose frozen weights are the
same memory.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import CompatibilityError, PriorError, require_range

CONVOLUTIONS = (nn.Conv2d,)
ADAPTER = "adir"  # the name of peft's adapter in a network in training


@dataclass(frozen=True)
class Lora:
    """W + (alpha / rank) B A beside every convolution (Hu et al., LoRA, ICLR 2022): ADIR, section 5.

    Args:
        rank: r. A is a convolution like W with r outputs, B one of 1 x 1.
        alpha: see above.
        attention: also beside the linear layers of attention; where these are convolutions, they are among them anyway.
    """

    rank: int = 16
    alpha: float = 8.0
    attention: bool = False

    def __post_init__(self) -> None:
        require_range("rank", self.rank, 1, 4096)
        require_range("alpha", self.alpha, 0, above=True)

    @property
    def scaling(self) -> float:
        """alpha / rank."""
        return self.alpha / self.rank

    def targets(self, network: nn.Module) -> list[str]:
        """Names of the modules that get factors.

        Convolutions that are transposed, dilated, in groups, or padded with anything but zeros get none: A would have
        to be one of the same kind, and peft has none. The networks of the papers hold no such convolution.

        Raises:
            CompatibilityError: the network has no convolution.
        """
        found = [name for name, module in network.named_modules() if _plain_convolution(module)]
        if self.attention:
            found += [name for name, module in network.named_modules() if _attends(name, module)]
        if not found:
            raise CompatibilityError(f"{type(network).__name__} has no convolution that LoRA could adapt")
        return sorted(found)


@dataclass(frozen=True)
class Full:
    """All weights move: what LoRA is compared with. The first version of ADIR (2022) did so."""


Style = Lora | Full


def _plain_convolution(module: nn.Module) -> bool:
    """Whether A and B, a convolution of the same window and one of 1 x 1, add up to a change of its weights."""
    if not isinstance(module, CONVOLUTIONS):
        return False
    return module.groups == 1 and set(module.dilation) == {1} and module.padding_mode == "zeros"


def _attends(name: str, module: nn.Module) -> bool:
    """Whether a linear layer makes queries, keys, values or the output of an attention, by diffusers' names."""
    last = [part for part in name.split(".") if not part.isdigit()][-1]
    return isinstance(module, nn.Linear) and last in ("to_q", "to_k", "to_v", "to_out", "query", "key", "value")


def sharing(network: nn.Module) -> nn.Module:
    """The same network anew, to be evaluated: other modules around the same memory, frozen; hooks are its own."""
    memo: dict[int, object] = {}
    for tensor in chain(network.parameters(), network.buffers()):
        # A tensor that was made in inference mode takes no part in any gradient: its content is copied.
        own = tensor.clone() if tensor.is_inference() else tensor.detach()
        memo[id(tensor)] = nn.Parameter(own, requires_grad=False) if isinstance(tensor, nn.Parameter) else own
    return deepcopy(network, memo).eval()


def trainable(network: nn.Module, style: Style = Lora(), seed: int = 0) -> nn.Module:
    """The network with what the style lets move, at the start of training: it computes what `network` computes.

    Args:
        network: stays as it is.
        style: what moves; all else is frozen and shared with `network`.
        seed: of A; B is zero.

    Raises:
        CompatibilityError: there is nothing in it that the style could move.
        PriorError: peft is not installed.
    """
    copied = sharing(network)
    if isinstance(style, Full):
        for name, parameter in list(copied.named_parameters()):
            owner, _, leaf = name.rpartition(".")
            own = nn.Parameter(parameter.detach().clone().contiguous(memory_format=_format(parameter)))
            setattr(copied.get_submodule(owner), leaf, own)
        return copied
    targets = style.targets(copied)
    try:
        import peft
    except ImportError as error:
        raise PriorError("adaptation needs the extra: pip install 'pellucid[adapt]'") from error
    words: dict[str, Any] = {"r": style.rank, "lora_alpha": style.alpha, "target_modules": targets}
    config = peft.LoraConfig(**words)
    with torch.random.fork_rng(devices=[]):  # peft draws from the generator of all; what it drew is replaced
        peft.inject_adapter_in_model(config, copied, adapter_name=ADAPTER)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(copied.named_parameters()):
        if parameter.requires_grad:
            parameter.data = _begun(name, parameter, generator)
    return copied


def _begun(name: str, parameter: Tensor, generator: torch.Generator) -> Tensor:
    """A as a convolution's weights begin, B zero; in float32 at least, since small steps vanish in bfloat16."""
    dtype = parameter.dtype if parameter.dtype == torch.float64 else torch.float32
    value = torch.zeros(parameter.shape, dtype=dtype)
    if _plain(name).endswith("lora_A"):
        nn.init.kaiming_uniform_(value, a=5**0.5, generator=generator)
    value = value.to(parameter.device)
    return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value


def factors(network: nn.Module, style: Style) -> dict[str, Tensor]:
    """What moved, by name, detached: "<module>.lora_A", "<module>.lora_B", or whole weights."""
    found = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            found[_plain(name) if isinstance(style, Lora) else name] = parameter.detach()
    return found


def _plain(name: str) -> str:
    """peft's "block.conv.lora_A.adir.weight" as "block.conv.lora_A"."""
    return name.removesuffix(f".{ADAPTER}.weight")


def delta(weight: Tensor, a: Tensor, b: Tensor, scaling: float) -> Tensor:
    """(alpha / rank) B A in the shape of W, in float64: (out, in, h, w), or (out, in) for a linear layer."""
    flat = b.double().flatten(1) @ a.double().flatten(1)
    return (scaling * flat).reshape(weight.shape)


def _format(parameter: Tensor) -> torch.memory_format:
    four = parameter.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if four else torch.contiguous_format
