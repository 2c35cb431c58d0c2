"""The learning rate over a run."""

from __future__ import annotations

import math

from pellucid.train.config import RunConfig


def lr_factor(step: int, config: RunConfig) -> float:
    """Linear warm-up to 1, then linear or cosine decay to 0 at the last step, or none."""
    rise = (step + 1) / max(1, config.warmup)
    left = min(max((config.steps - step) / max(1, config.steps - config.warmup), 0.0), 1.0)
    fall = {"linear": left, "cosine": 0.5 - 0.5 * math.cos(math.pi * left), "constant": 1.0}[config.decay]
    return min(rise, fall, 1.0)
