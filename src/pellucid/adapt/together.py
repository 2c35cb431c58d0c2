"""Adapters of several pictures in one batch: the frozen weights see all pictures at once, each adapter its own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn

from pellucid.account import Cost
from pellucid.adapt.adapt import AdaptedPrior, network_of
from pellucid.adapt.adapter import Adapter
from pellucid.adapt.lora import Lora, sharing
from pellucid.errors import CompatibilityError, PriorError
from pellucid.prior.base import Estimate, State
from pellucid.prior.diffusion import DiffusionPrior


def together(priors: Sequence[AdaptedPrior]) -> Together:
    """One prior of several that one prior was adapted to: image i of a batch is seen through adapter i.

    Args:
        priors: one an image, in the order of the problem's images; all adapted from the same prior, by LoRA of one
            kind.

    Raises:
        CompatibilityError: they are not.
        PriorError: peft is not installed.
    """
    if not priors:
        raise CompatibilityError("there is no adapted prior to put together")
    base = priors[0].base
    if any(prior.base is not base for prior in priors):
        raise CompatibilityError("priors are put together that were adapted from one prior, and these were not")
    styles = {prior.adapter.style for prior in priors}
    if len(styles) > 1 or not isinstance(priors[0].adapter.style, Lora):
        raise CompatibilityError("only adapters of one kind of LoRA run in one batch; reconstruct these one by one")
    if len({frozenset(prior.adapter.state) for prior in priors}) > 1:
        raise CompatibilityError("only adapters of the same layers run in one batch; reconstruct these one by one")
    return Together(base, [prior.adapter for prior in priors], tuple(prior.cost for prior in priors))


class Together(DiffusionPrior):
    """See `together`. The frozen convolutions run once for the whole batch, the low-rank ones picture by picture.

    Args:
        prior: that was adapted.
        adapters: one an image.
        costs: what each took.
    """

    def __init__(self, prior: DiffusionPrior, adapters: Sequence[Adapter], costs: tuple[Cost, ...]) -> None:
        self.__dict__.update(prior.__dict__)
        self.adapters, self.costs, self.own_images = tuple(adapters), costs, True
        self.network = _mixed(network_of(prior), adapters)

    def estimate(self, state: State, *, differentiable: bool = False) -> Estimate:
        with _acting(self._images(state)):
            found = super().estimate(state, differentiable=differentiable)
        return found

    def _images(self, state: State) -> list[int]:
        images = list(range(len(self.adapters))) if state.images is None else state.images.tolist()
        if len(images) != len(state.x) or max(images, default=0) >= len(self.adapters):
            raise CompatibilityError(
                f"there are {len(self.adapters)} adapters for pictures 0 to {len(self.adapters) - 1}, and the batch "
                f"holds {len(state.x)} of others"
            )
        return images

    def _denoise(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
        if len(_now.get()) != len(x):
            raise CompatibilityError(
                "adapters of several pictures cannot be told apart here (tiles, or a method that wraps the prior); "
                "reconstruct the pictures one by one"
            )
        return super()._denoise(x, t)


_now: ContextVar[tuple[int, ...]] = ContextVar("pellucid_adapters", default=())


@contextmanager
def _acting(images: list[int]) -> Iterator[None]:
    token = _now.set(tuple(images))
    try:
        yield
    finally:
        _now.reset(token)


def _mixed(network: nn.Module, adapters: Sequence[Adapter]) -> nn.Module:
    """The network with all adapters beside its layers; which acts on which row of a batch, `_acting` says."""
    try:
        import peft
        from peft.tuners.lora import LoraLayer
    except ImportError as error:
        raise PriorError("adapters in one batch need the extra: pip install 'pellucid[adapt]'") from error
    copied = sharing(network)
    style = adapters[0].style
    assert isinstance(style, Lora)
    words: dict[str, Any] = {"r": style.rank, "lora_alpha": style.alpha, "target_modules": style.targets(copied)}
    for number in range(len(adapters)):
        with warnings.catch_warnings():  # it announces that there will be several, which is what is wanted
            warnings.filterwarnings("ignore", "Already found a `peft_config`")
            peft.inject_adapter_in_model(peft.LoraConfig(**words), copied, adapter_name=str(number))
    for name, layer in copied.named_modules():
        if isinstance(layer, LoraLayer) and isinstance(layer, nn.Module):
            for number, adapter in enumerate(adapters):
                for letter in "AB":
                    factor = getattr(layer, f"lora_{letter}")[str(number)]
                    own = adapter.state[f"{name}.lora_{letter}"]
                    factor.weight.data = own.reshape(factor.weight.shape).to(layer.weight)
            layer.register_forward_pre_hook(_named, with_kwargs=True)
    return copied.eval().requires_grad_(False)


def _named(layer: nn.Module, inputs: tuple[Any, ...], words: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return inputs, {**words, "adapter_names": [str(image) for image in _now.get()]}
