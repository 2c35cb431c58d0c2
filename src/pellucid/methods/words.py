"""Methods as text, `name:option=value,option=value`: for methods that are made of another one."""

from __future__ import annotations

from typing import Any

from pellucid.errors import ConfigError


def option_value(text: str) -> Any:
    """true, false, none, a whole number, a number, or the word itself."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def understood(text: str) -> tuple[str, dict[str, Any]]:
    """`"ldps:scale=2,rule=released"` -> `("ldps", {"scale": 2, "rule": "released"})`.

    Raises:
        ConfigError: an item is not of the form option=value.
    """
    name, _, rest = text.partition(":")
    options: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise ConfigError(f"an option of {name} is written option=value, not {item!r}")
        options[key.strip().replace("-", "_")] = option_value(value.strip())
    return name.strip(), options
