"""Which libraries are here."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

from bench.peers.peer import Peer
from pellucid.errors import ConfigError

LIBRARIES = ("deepinv", "azula")


def installed(names: tuple[str, ...] = LIBRARIES) -> list[Peer]:
    """The samplers of the libraries that are here.

    Raises:
        ConfigError: none of them is.
    """
    found: list[Peer] = []
    for name in names:
        if find_spec(name) is None:
            print(f"bench.peers: without {name}, which is not installed here", file=sys.stderr)
        else:
            found += import_module(f"bench.peers.{name}_side").PEERS
    if not found:
        raise ConfigError(f"none of {', '.join(names)} is installed here; bench/README.md says how")
    return found
