"""The optimisation of an adaptation: Adam on what may move, and nothing else in memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pellucid.adapt.adapter import Adapter
from pellucid.adapt.lora import Style, factors
from pellucid.errors import CompatibilityError, require_range

Loss = Callable[[nn.Module, torch.Generator], Tensor]
"""(network, randomness) -> the loss of one step."""

HeldOut = Callable[[nn.Module], float]
"""network -> loss on what is not trained on; the same random numbers at every call."""


@dataclass(frozen=True)
class Training:
    """How long and how fast.

    Args:
        steps: of Adam, each on one batch.
        lr: its rate, constant.
        seed: of batches, times and noise; 0 is one.
        check_every: steps between looks at the held-out loss, where there is one.
        patience: how many looks without a better one end the training; the best look's weights are returned.

    Raises:
        CompatibilityError: a number is out of its range.
    """

    steps: int = 400
    lr: float = 1e-4
    seed: int = 0
    check_every: int = 25
    patience: int = 3

    def __post_init__(self) -> None:
        for name, least in (("steps", 0), ("check_every", 1), ("patience", 1), ("seed", 0)):
            require_range(name, getattr(self, name), least)
        require_range("lr", self.lr, 0, 1, above=True)


def fit(
    network: nn.Module,
    loss: Loss,
    training: Training = Training(),
    *,
    style: Style,
    held_out: HeldOut | None = None,
    watch: Callable[[int, float], object] | None = None,
) -> Adapter:
    """Trains what `trainable` left free in a network, and returns it as an adapter.

    Args:
        network: from `trainable`; its free weights are moved.
        loss: of one step, a scalar; drawn with a generator that is seeded once.
        training: how long and how fast.
        style: that the network was made with.
        held_out: where given, training ends when it no longer falls.
        watch: told every step, counted from 1, and its loss; returning True ends the training there.

    Raises:
        CompatibilityError: the loss is no longer finite.
    """
    free = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(free, lr=training.lr, foreach=True)
    generator = torch.Generator().manual_seed(training.seed)
    began, losses, cut = time.perf_counter(), list[float](), False
    looks = _Looks(network, style, held_out, training)
    looks.look(0)
    # A caller's inference mode or no_grad would leave nothing to train with.
    with torch.inference_mode(False), torch.enable_grad():
        for step in range(1, training.steps + 1):
            value = loss(network, generator)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            losses.append(float(value.detach()))
            if not math.isfinite(losses[-1]):
                raise CompatibilityError(
                    f"the adaptation's loss is not finite after {step} steps; take a smaller rate than {training.lr:g}"
                )
            optimiser.step()
            cut = watch is not None and watch(step, losses[-1]) is True
            if cut or (step % training.check_every == 0 and looks.look(step)):
                break
    state = looks.best if looks.best is not None else factors(network, style)
    about = {
        "steps": len(losses),
        "kept": looks.at if looks.best is not None else len(losses),
        "seconds": time.perf_counter() - began,
        "losses": losses,
        "held_out": looks.seen,
        "cut": cut,
    }
    return Adapter(style, {name: value.float().cpu().clone() for name, value in state.items()}, about)


class _Looks:
    """Looks at the held-out loss: what was seen, and the weights of the best."""

    def __init__(self, network: nn.Module, style: Style, held_out: HeldOut | None, training: Training) -> None:
        self.network, self.style, self.held_out, self.training = network, style, held_out, training
        self.seen: list[tuple[int, float]] = []
        self.best: dict[str, Tensor] | None = None
        self.at = 0

    def look(self, step: int) -> bool:
        """Whether the training should end."""
        if self.held_out is None:
            return False
        with torch.no_grad():
            value = self.held_out(self.network)
        if not self.seen or value < min(seen for _, seen in self.seen):
            self.best = {name: weight.clone() for name, weight in factors(self.network, self.style).items()}
            self.at = step
        self.seen.append((step, value))
        return sum(at > self.at for at, _ in self.seen) >= self.training.patience
