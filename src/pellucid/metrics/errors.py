"""What keeps a metric from being computed."""

from __future__ import annotations

from pellucid.errors import PellucidError


class MetricError(PellucidError):
    """A metric cannot be computed: its weights or its library are missing, or the pictures do not suit it."""

    exit_code = 12
