"""A state dict on the way that an import takes, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.checkpoints import convert
from pellucid.checkpoints.kinds import Foreign, Plan
from tests.nn.golden import no_numbers


def through(kind: str, weights: Mapping[str, Tensor], tree: Any = None) -> tuple[nn.Module, Plan]:
    """Recognised as `kind`, planned, compared, renamed and loaded: the module in eval mode, and the plan."""
    foreign = Foreign.of(dict(weights))
    found = convert.recognise(foreign.shapes)
    assert found.name == kind
    foreign = Foreign(foreign.tensors, tree, found.settings({}))
    plan = convert.planned(found, foreign)
    convert.check(found, plan, foreign)
    (part,) = plan.parts
    module = part.build(part.config)
    module.load_state_dict({key: convert.converted(plan, foreign, part, key) for key in part.weights})
    return module.eval().requires_grad_(False), plan


def fits(kind: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes of the module that a file of these shapes becomes; raises where they do not fit."""
    foreign = Foreign.of(no_numbers(dict(shapes)))
    found = convert.recognise(foreign.shapes)
    assert found.name == kind
    foreign = Foreign(foreign.tensors, None, found.settings({}))
    plan = convert.planned(found, foreign)
    with torch.no_grad():
        return convert.check(found, plan, foreign)[plan.parts[0].folder]
