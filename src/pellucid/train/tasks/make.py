"""From a configuration to its task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pellucid.errors import ConfigError, UnknownNameError
from pellucid.train.config import (
    AutoencoderConfig,
    DenoiserConfig,
    LatentPriorConfig,
    PriorConfig,
    RunConfig,
    SupervisedConfig,
)
from pellucid.train.init import initialise, with_network
from pellucid.train.tasks.autoencoder import AutoencoderTask
from pellucid.train.tasks.base import Task
from pellucid.train.tasks.denoiser import DenoiserTask
from pellucid.train.tasks.prior import LatentPriorTask, PriorTask
from pellucid.train.tasks.supervised import SupervisedTask

TASKS: dict[str, tuple[type[RunConfig], Any]] = {
    "prior": (PriorConfig, PriorTask),
    "autoencoder": (AutoencoderConfig, AutoencoderTask),
    "latent-prior": (LatentPriorConfig, LatentPriorTask),
    "denoiser": (DenoiserConfig, DenoiserTask),
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
    """The kind of training of a run's folder. Raises `ConfigError` where the path is none, or does not say."""
    try:
        kind = json.loads((path / "config.json").read_text()).get("training")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path} is no run's folder: say the kind of training with --kind ({error})") from error
    if kind not in TASKS:
        raise ConfigError(f"{path / 'config.json'} does not say its kind of training: say it with --kind")
    return str(kind)


def make_task(kind: str, config: RunConfig, begin: bool = True) -> Task:
    """The task of a configuration; its model begins from `init` unless a checkpoint will replace it anyway."""
    config = with_network(config)
    try:
        task: Task = TASKS[kind][1](config)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"[network] or [source] cannot be used: {error}") from error
    if begin and config.init is not None:
        initialise(task.model, config.init)
    return task
