"""TOML into dataclasses: keys are fields, an unknown key is an error that names the known ones."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pellucid.errors import ConfigError

T = TypeVar("T")
LARGEST = 2**20  # bytes of a plan


def read(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        ConfigError: it is missing, too large to be meant, or no TOML.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path} is larger than {LARGEST >> 20} MiB, so it is no plan")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def build(kind: type[T], raw: object, where: str, elsewhere: Mapping[str, str] | None = None) -> T:
    """The dataclass of a table, whose fields check their own values.

    Args:
        kind: the dataclass.
        raw: the table.
        where: its place in the file, for messages.
        elsewhere: keys that belong to another place of the file, and which.

    Raises:
        ConfigError: it is no table, or a key is unknown or missing.
    """
    if not isinstance(raw, dict):
        raise ConfigError(f"{where} is a table, not {raw!r}")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in raw:
        if key not in fields:
            hint = (elsewhere or {}).get(key)
            known = f"known are {', '.join(fields)}"
            raise ConfigError(f"{where}: unknown key {key!r}; {f'it belongs {hint}' if hint else known}")
    for name, f in fields.items():
        bare = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if bare and name not in raw:
            raise ConfigError(f"{where}: the key {name!r} is missing")
    return kind(**raw)


def listed(value: object) -> list[Any]:
    """A list as it is, anything else as a list of one."""
    return value if isinstance(value, list) else [value]


def require(condition: bool, text: str) -> None:
    """Raises `ConfigError` with the text unless the condition holds."""
    if not condition:
        raise ConfigError(text)


def is_whole(value: object) -> bool:
    """A whole number, which true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """A finite number, which true and false are not."""
    return (is_whole(value) or isinstance(value, float)) and abs(value) < float("inf")  # type: ignore[arg-type]
