"""The adaptation of `pellucid upscale` and `pellucid edit`: its options, where it learns from, what is told of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pellucid.account import Cost
from pellucid.adapt import Adapter, Lora, Training
from pellucid.adapt.training import Loss
from pellucid.cli import adapting
from pellucid.cli.progress import bar
from pellucid.errors import ConfigError
from pellucid.stable.adaptation import CROP, learned
from pellucid.stable.folder import Parts

if TYPE_CHECKING:
    from pellucid.retrieval import Index, Neighbour

NEIGHBOURS = 50
SMALLEST_CROP = 8  # pixels


@dataclass(frozen=True)
class Learning:
    """How the network is adapted.

    Attributes:
        asked: what both kinds of commands ask for.
        crop: side of crops in pixels.
        attention: whether attention is adapted too.
    """

    asked: adapting.Wanted
    crop: int = CROP
    attention: bool = False

    @classmethod
    def of(
        cls,
        index: str | None,
        neighbours: int | None,
        steps: int | None,
        lr: float | None,
        crop: int | None,
        attention: bool,
        adapter: Path | None,
        save: Path | None,
    ) -> Learning | None:
        """The options, understood; None where no adaptation is asked for.

        Raises:
            ConfigError: options that contradict each other, or are out of their range.
        """
        index = None if index == adapting.NONE else index
        given: dict[str, Any] = {"--neighbours": neighbours, "--adapt-steps": steps, "--adapt-lr": lr}
        given |= {"--adapt-crop": crop, "--adapt-attention": attention or None, "--save-adapter": save}
        if index is None and (alone := next((name for name, value in given.items() if value is not None), None)):
            raise ConfigError(f"{alone} is for learning from pictures: add --adapt INDEX")
        if crop is not None and crop < SMALLEST_CROP:
            raise ConfigError(f"--adapt-crop must be at least {SMALLEST_CROP}, not {crop}")
        found = NEIGHBOURS if index is not None and neighbours is None else neighbours
        if index is not None:  # the paper's for Stable Diffusion, where `restore` has others
            usual = Training()
            steps, lr = usual.steps if steps is None else steps, usual.lr if lr is None else lr
        asked = adapting.wanted(index, found, steps, lr, False, None, adapter, save, False)
        return None if asked is None else cls(asked, CROP if crop is None else crop, attention)

    @property
    def words(self) -> dict[str, Any]:
        """For the settings."""
        words = {key: value for key, value in self.asked.words.items() if key not in ("query", "own")}
        return words if self.asked.adapter is not None else {**words, "crop": self.crop, "attention": self.attention}


@dataclass(frozen=True)
class Adapted:
    """An adaptation that was made.

    Attributes:
        learned: from what, and what it took.
        first, last: the mean loss of the first and of the last tenth of the steps.
    """

    learned: adapting.Learned
    first: float
    last: float

    @property
    def report(self) -> dict[str, Any]:
        """For --json."""
        told = {key: value for key, value in self.learned.report.items() if key not in ("own", "cached")}
        return {**told, "loss_first": self.first, "loss_last": self.last}

    @property
    def text(self) -> str:
        """For people."""
        head, *rest = self.learned.text.splitlines()
        return "\n".join([f"{head}; loss {self.first:.4g} at first, {self.last:.4g} at last", *rest])


def look(learning: Learning | None, find: Callable[[Index, int], list[Neighbour]]) -> adapting.Found | None:
    """The nearest pictures, as `find` finds them in an index; None where none are asked for."""
    if learning is None or learning.asked.index is None:
        return None
    began = time.perf_counter()
    neighbours = find(adapting.opened(learning.asked.index), learning.asked.neighbours)
    # As bytes they take a quarter of the memory.
    pictures = tuple((255 * neighbour.picture()).round().to(torch.uint8) for neighbour in neighbours)
    return adapting.Found(tuple(neighbours), pictures, time.perf_counter() - began)


def adapted(
    parts: Parts,
    learning: Learning | None,
    found: adapting.Found | None,
    loss: Callable[[Sequence[Tensor]], Loss],
    seed: int,
    *,
    model: str,
    save: Path | None,
    title: str,
    quiet: bool,
) -> tuple[nn.Module, Adapted | None]:
    """The network, adapted if that was asked for, and what is to be reported of it.

    Args:
        parts: of the pipeline.
        learning: how; None for not at all.
        found: what is learned from, where no adapter is given.
        loss: of the adaptation to pictures.
        seed: of all that is random in it.
        model: name of the pipeline's folder, for the adapter's file.
        save: the adapter's file, if one is wanted.
        title, quiet: of the bar.
    """
    if learning is None:
        return parts.unet, None
    if learning.asked.adapter is not None:
        return Adapter.load(learning.asked.adapter).into(parts.unet), None
    assert found is not None
    training = Training(learning.asked.steps, learning.asked.lr, seed)
    with bar(f"{title}, adaptation", quiet=quiet) as (progress, line):

        def watch(step: int, value: float) -> None:
            progress.update(line, completed=step, total=training.steps, calls=f"loss {value:.4f}")

        style = Lora(attention=learning.attention)
        adapter = learned(parts, loss(found.pictures), style, training, watch=watch)
    if save is not None:
        about = {**adapter.about, "model": model, "neighbours": found.listed}
        Adapter(adapter.style, adapter.state, about).save(save)
    cost = Cost(int(adapter.about["steps"]), float(adapter.about["seconds"]))
    losses = [float(value) for value in adapter.about["losses"]] or [0.0]
    tenth = max(1, len(losses) // 10)
    first, last = (sum(part) / tenth for part in (losses[:tenth], losses[-tenth:]))
    return adapter.into(parts.unet), Adapted(adapting.Learned(found, False, cost, save), first, last)
