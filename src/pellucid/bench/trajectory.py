"""What the estimates are worth while a method is under way: a callback of the loop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pellucid.account import current, uncounted
from pellucid.bench import scores
from pellucid.metrics import METRICS, Protocol
from pellucid.metrics.memory import unmeasured
from pellucid.operators import Operator
from pellucid.prior.base import Prior
from pellucid.problem import Problem
from pellucid.step import Step


class Recorder:
    """Scores two estimates after every step: the network's own, and the one after it was made to agree with y.

    Args:
        names: psnr, residual, effnet_distance.
        protocol: how pictures are prepared.
        prior: whose codec decodes.
        truth: (b, c, h, w).
        y: the measurements.
        operator: the true one.
        device: of the prior.

    Attributes:
        rows: (index in the batch, columns).
        seconds: spent in here, which is not the method's time; nor is the memory the method's.
    """

    def __init__(
        self,
        names: Sequence[str],
        protocol: Protocol,
        prior: Prior,
        truth: Tensor,
        y: Tensor,
        operator: Operator,
        device: str = "cpu",
    ) -> None:
        self.names, self.protocol, self.prior, self.device = names, protocol, prior, device
        self.truth, self.y, self.operator = truth, y, operator
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self.seconds = 0.0

    def __call__(self, step: Step) -> None:
        """Called after every step; never ends the run."""
        began = time.perf_counter()
        account = current()
        live = torch.arange(len(self.y)) if account is None or account.live is None else account.live
        with uncounted(), unmeasured(self.device):
            columns = {**self._scored(step.raw.x0, live, "raw_"), **self._scored(step.reached, live, "")}
        for row, i in enumerate(live.tolist()):
            place = {
                "step": step.index,
                "t": float(step.state.t[row]),
                "s": float(step.s[row]),
                "nfe": None if account is None else int(account.nfe[i]),
            }
            self.rows.append((i, place | {name: float(value[row]) for name, value in columns.items()}))
        self.seconds += time.perf_counter() - began

    def _scored(self, x0: Tensor, live: Tensor, prefix: str) -> dict[str, Tensor]:
        image = self.prior.codec.picture(x0, tuple(self.truth.shape[1:])).detach().cpu()
        columns = {}
        for name in self.names:
            if name == "residual":
                problem = Problem(self.y[live], self.operator.select(live), 0.0)
                columns[prefix + name] = METRICS["residual_rms"](image, problem=problem)
            else:
                columns[prefix + name] = scores.find(name)(image, self.truth[live], protocol=self.protocol)
        return columns
