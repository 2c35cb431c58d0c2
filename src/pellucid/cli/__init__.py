"""The command line. Modules of heavy libraries are imported by the commands that need them, so that help is fast."""

from pellucid.cli.guard import main, run

__all__ = ["main", "run"]
