"""Quality without a truth: MUSIQ and NIQE, as pyiqa computes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from pellucid.metrics.errors import MetricError
from pellucid.metrics.features import three_channels


@lru_cache(maxsize=4)
def _model(name: str, device: torch.device) -> Any:
    try:
        pyiqa = import_module("pyiqa")
    except ImportError as error:
        raise MetricError(f"{name} needs pyiqa: pip install 'pellucid[iqa]'") from error
    try:
        return pyiqa.create_metric(name, device=device)
    except OSError as error:  # it downloads its weights when it is first used
        raise MetricError(f"pyiqa cannot load the weights of {name}: {error}") from error


def blind(name: str) -> Callable[[Tensor], Tensor]:
    """x (b, 1 or 3, h, w) in [0, 1] -> (b,), picture by picture, by pyiqa's metric of that name.

    The returned function raises `MetricError` if pyiqa, or its weights, are missing, or if it gives no single number.
    """

    def score(x: Tensor) -> Tensor:
        model, scores = _model(name, x.device), []
        for picture in three_channels(x.float()):
            value = torch.as_tensor(model(picture[None]))
            if value.numel() != 1:
                raise MetricError(f"pyiqa's {name} gave {value.numel()} numbers for one picture")
            scores.append(value.reshape(()))
        return torch.stack(scores)

    return score
