"""The kinds of foreign checkpoints: how each is recognised, renamed, rebuilt and used.

A kind is one short file of this package that ends with `KINDS = (Kind(...),)`; nothing else has to know about it. It
says

1. `recognise`: from {key: shape} of the state dict alone, whether a file is of this kind;
2. `plan`: from the file's description (no tensor has been read yet), which configuration the module has and which
   weight comes from which key: `Plan((Part(config, weights, build),), card)`. Infer every size from shapes, so that
   reduced files work as the published ones do. `same_names` is the mapping of a module that keeps the original names;
3. `load`: what the finished folder is when it is used: a `DiffusionPrior` for the role "prior", an `Operator` for
   "operator", a module otherwise: y -> x for "estimator", as the shipped ones of that kind; (picture, how degraded it
   still is) -> picture for "restoration-prior". `folder.read_part` gives the module with its weights.

Everything else is shared: reading without executing anything, the strict comparison of keys and shapes, conversion to
float32, writing tensor by tensor, the card. `card` must hold what `load` needs beside the configuration (schedule,
range).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pellucid.errors import ConfigError, UnknownNameError

Shapes = Mapping[str, tuple[int, ...]]
Role = Literal["prior", "operator", "encoder", "autoencoder", "estimator", "restoration-prior", "embedding"]

DIFFUSERS = "diffusion_pytorch_model"  # the stem of its weight files; own modules and transformers say "model"


@dataclass(frozen=True)
class Stored:
    """A tensor that lies in a file: its description, and a way to read it.

    Attributes:
        shape, dtype: of the tensor.
        read: reads it, anew at every call.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]

    @classmethod
    def of(cls, tensor: Tensor) -> Stored:
        """A tensor that is already there."""
        return cls(tuple(tensor.shape), tensor.dtype, lambda: tensor)


@dataclass(frozen=True)
class Foreign:
    """A checkpoint, described: no tensor has been read.

    Attributes:
        tensors: the state dict under its original names; a prefix `module.` that all names share is gone.
        tree: the whole file: dicts, lists, numbers, strings, `Stored` tensors; any other object is inert
            (`reader.Inert`). `hyper_parameters` of a Lightning file are found here.
        options: what the user set (`--set key=value`), on top of the kind's defaults.
        averaged: whether averaged weights are wanted where the file holds both; None leaves it to the kind.
        path: of the file.
    """

    tensors: Mapping[str, Stored]
    tree: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    averaged: bool | None = None
    path: Path = Path("checkpoint")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every entry of the state dict."""
        return {key: stored.shape for key, stored in self.tensors.items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], **rest: Any) -> Foreign:
        """From tensors in memory."""
        return cls({key: Stored.of(value) for key, value in tensors.items()}, **rest)


def unchanged(tensor: Tensor) -> Tensor:
    """The tensor itself."""
    return tensor


@dataclass(frozen=True)
class Weight:
    """Where a weight comes from.

    Attributes:
        source: the key in the file.
        change: applied to the tensor; works on the meta device too (reshape, transpose, index).
    """

    source: str
    change: Callable[[Tensor], Tensor] = unchanged


@dataclass(frozen=True)
class Part:
    """One module of a folder.

    Attributes:
        config: written as config.json, and what `build` takes.
        weights: key of the module's state dict -> where it comes from. Compared strictly with the built module.
        build: config -> module.
        folder: below the checkpoint's folder; "." is the folder itself.
        stem: of the weights' file.
    """

    config: dict[str, Any]
    weights: Mapping[str, Weight]
    build: Callable[[dict[str, Any]], nn.Module]
    folder: str = "."
    stem: str = "model"


@dataclass(frozen=True)
class Plan:
    """What a file becomes.

    Attributes:
        parts: the modules.
        card: facts for card.json that `Kind.load` needs: schedule, range, what the time argument is.
        ignored: begins of keys that are left out on purpose (buffers, losses, what another option would take).
        files: other JSON files, by their path below the folder (a scheduler's configuration).
        tensors: where `Weight.source` is looked up, if not in the file's state dict.
    """

    parts: tuple[Part, ...]
    card: Mapping[str, Any] = field(default_factory=dict)
    ignored: Sequence[str] = ()
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tensors: Mapping[str, Stored] | None = None


@dataclass(frozen=True)
class Option:
    """A fact that shapes do not tell, asked for by `--set name=value`.

    Attributes:
        default: its value where nothing is said; its type is the option's.
        summary: one line.
    """

    default: Any
    summary: str


@dataclass(frozen=True)
class Kind:
    """A kind of checkpoint; see the head of this file.

    Attributes:
        name: what `--kind` takes.
        summary: one line.
        role: what the folder is used as.
        recognise: whether a state dict of these shapes is of this kind. Kinds must exclude each other.
        plan: the file's description -> configuration and mapping. Raises `PriorError` where the file is no such kind.
        load: (folder, card, device, autocast dtype) -> what the role says.
        published: (file, address) of what is known to be of this kind.
        licence: of the published weights, as far as known.
        options: by name.
        method: of `pellucid restore` for priors that most methods do not suit; None for the usual choice.
    """

    name: str
    summary: str
    role: Role
    recognise: Callable[[Shapes], bool]
    plan: Callable[[Foreign], Plan]
    load: Callable[[Path, Mapping[str, Any], str, torch.dtype | None], Any]
    published: tuple[tuple[str, str], ...] = ()
    licence: str = "not stated"
    options: Mapping[str, Option] = field(default_factory=dict)
    method: str | None = None

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The options with their defaults filled in.

        Raises:
            ConfigError: one is unknown or of another type than its default.
        """
        for name, value in given.items():
            if name not in self.options:
                known = ", ".join(self.options) or "it has none"
                raise ConfigError(f"{self.name} has no option {name!r}; known: {known}")
            default = self.options[name].default
            number = isinstance(default, int | float) and not isinstance(default, bool)
            fits = isinstance(value, int | float) if number else isinstance(value, type(default))
            if default is not None and (not fits or (number and isinstance(value, bool))):
                raise ConfigError(f"{self.name}: {name} is of the type {type(default).__name__}, not {value!r}")
        return {name: given.get(name, option.default) for name, option in self.options.items()}


def same_names(foreign: Foreign) -> dict[str, Weight]:
    """The mapping of a module that keeps the file's own names."""
    return {key: Weight(key) for key in foreign.tensors}


@cache
def kinds() -> dict[str, Kind]:
    """All kinds by name: those that the files of this package declare."""
    package = importlib.import_module("pellucid.checkpoints")
    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    return {kind.name: kind for module in modules for kind in getattr(module, "KINDS", ())}


def get(name: str) -> Kind:
    """A kind by name. Raises `UnknownNameError`."""
    known = kinds()
    if name not in known:
        raise UnknownNameError("kind of checkpoint", name, known)
    return known[name]
