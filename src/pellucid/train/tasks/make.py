"""From a configuration to its task."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from pellucid.errors import ConfigError, UnknownNameError
from pellucid.train.config import (
    AutoencoderConfig,
    DenoiserConfig,
    DiracConfig,
    LatentPriorConfig,
    ParameterConfig,
    PriorConfig,
    RunConfig,
    SeverityConfig,
    SupervisedConfig,
)
from pellucid.train.init import with_network
from pellucid.train.tasks.autoencoder import AutoencoderTask
from pellucid.train.tasks.base import Task
from pellucid.train.tasks.denoiser import DenoiserTask
from pellucid.train.tasks.dirac import DiracTask
from pellucid.train.tasks.parameter import ParameterTask
from pellucid.train.tasks.prior import LatentPriorTask, PriorTask
from pellucid.train.tasks.severity import SeverityTask
from pellucid.train.tasks.supervised import SupervisedTask

TASKS: dict[str, tuple[type[RunConfig], Any]] = {
    "prior": (PriorConfig, PriorTask),
    "autoencoder": (AutoencoderConfig, AutoencoderTask),
    "latent-prior": (LatentPriorConfig, LatentPriorTask),
    "denoiser": (DenoiserConfig, DenoiserTask),
    "dirac": (DiracConfig, DiracTask),
    "parameter": (ParameterConfig, ParameterTask),
    "severity": (SeverityConfig, SeverityTask),
    "supervised": (SupervisedConfig, SupervisedTask),
}


def read_task(kind: str, path: Path, /, *, begin: bool = True, **overrides: Any) -> Task:
    """The task of a TOML file or of a run's folder, its model begun from `init` where it says so and `begin` is set.

    Raises:
        UnknownNameError: there is no such kind of training.
        ConfigError: the file is wrong, or its data cannot be used.
    """
    if kind not in TASKS:
        raise UnknownNameError("training", kind, TASKS)
    return make_task(kind, TASKS[kind][0].load(path, **overrides), begin)


def training_of(path: Path) -> str:
    """The kind of training of a run: of its folder, or of the one that a TOML file names as `out`.

    Raises:
        ConfigError: there is no such run, or it does not say its kind.
    """
    folder = path if path.is_dir() else Path(_out(path))
    try:
        kind = json.loads((folder / "config.json").read_text()).get("training")
    except (OSError, ValueError, AttributeError, RecursionError):
        kind = None
    if kind not in TASKS:
        raise ConfigError(
            f"{folder} is no run of a training (its config.json would say so); train first, or say --kind"
        )
    return str(kind)


def _out(path: Path) -> str:
    try:
        return str(tomllib.loads(path.read_text())["out"])
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path} is neither a run's folder nor a configuration: {error}") from error


def make_task(kind: str, config: RunConfig, begin: bool = True) -> Task:
    """The task of a configuration; its model begins from `init` unless a checkpoint will replace it anyway."""
    config = with_network(config)
    try:
        task: Task = TASKS[kind][1](config)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    except (TypeError, ValueError, RuntimeError) as error:
        said = str(error).partition("__init__() ")[2] or str(error)
        raise ConfigError(f"[network], [source] or [crop] of this configuration cannot be used: {said}") from error
    _check_sides(task, config)
    if begin and config.init is not None:
        task.begin(config.init)
    return task


def _check_sides(task: Task, config: RunConfig) -> None:
    """Raises `ConfigError` where the network does not take a crop's side."""
    network = {"prior": getattr(task.model, "network", None), "dirac": getattr(task.model, "restorer", None)}
    multiple = getattr(network.get(task.kind), "multiple", 1)
    wrong = [side for side in config.crops if side % multiple]
    if wrong:
        raise ConfigError(f"crops must be multiples of {multiple} for this network, not {wrong[0]}")
