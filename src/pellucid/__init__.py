"""Image reconstruction with diffusion models.

The nouns, one sentence each:

- An **Operator** is the forward model A, from a picture to its measurement.
- A **Problem** is all that a solver may know: the measurement y, the operator, and the noise level.
- A **Process** says how a picture dissolves into noise: x_t = alpha_t x_0 + sigma_t eps.
- A **Codec** goes between pictures in [0, 1] and the space that the diffusion lives in.
- A **Prior** says what pictures look like: E[x_0 | x_t], with its process and its codec.
- A **Method** is a bundle of five parts: Start, Grid, Transition, Consistency, Stop.
- A **Result** is the picture and what it cost.

`reconstruct(problem, prior, method)` is the verb; `stream(problems, prior, method)` does it to many, in one batch.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid import errors, methods, operators
    from pellucid.codec import AffineCodec, Codec
    from pellucid.consistency.base import Consistency
    from pellucid.errors import PellucidError
    from pellucid.grid import Grid
    from pellucid.loop import Result, reconstruct
    from pellucid.method import Method
    from pellucid.operators.base import LinearOperator, Operator, Spectral
    from pellucid.prior.base import Estimate, Prior, State
    from pellucid.prior.diffusion import DiffusionPrior
    from pellucid.prior.gaussian import GaussianPrior
    from pellucid.problem import Problem
    from pellucid.process import Process
    from pellucid.slots import stream
    from pellucid.start.base import Start
    from pellucid.step import Step
    from pellucid.stop import Stop
    from pellucid.transition import Transition

    __version__: str

__all__ = [
    "AffineCodec",
    "Codec",
    "Consistency",
    "DiffusionPrior",
    "Estimate",
    "GaussianPrior",
    "Grid",
    "LinearOperator",
    "Method",
    "Operator",
    "PellucidError",
    "Prior",
    "Problem",
    "Process",
    "Result",
    "Spectral",
    "Start",
    "State",
    "Step",
    "Stop",
    "Transition",
    "__version__",
    "errors",
    "load_prior",
    "methods",
    "operators",
    "reconstruct",
    "stream",
]


PARTS = {"errors", "methods", "operators"}
HOMES = {
    "codec": "AffineCodec Codec",
    "consistency.base": "Consistency",
    "errors": "PellucidError",
    "grid": "Grid",
    "loop": "Result reconstruct",
    "method": "Method",
    "operators.base": "LinearOperator Operator Spectral",
    "prior.base": "Estimate Prior State",
    "prior.diffusion": "DiffusionPrior",
    "prior.gaussian": "GaussianPrior",
    "problem": "Problem",
    "process": "Process",
    "slots": "stream",
    "start.base": "Start",
    "step": "Step",
    "stop": "Stop",
    "transition": "Transition",
}
HOME = {name: module for module, names in HOMES.items() for name in names.split()}


def load_prior(name: str | Path = "photo", device: str = "cpu", precision: str = "auto") -> DiffusionPrior:
    """A shipped prior by its name, or any prior by its folder; the arguments are those of `pellucid.zoo.load`.

    Raises:
        UnknownNameError: there is no prior of that name.
        PriorError: its files are missing or damaged.
    """
    from pellucid.zoo import load

    return load(name, device, precision)


def __getattr__(name: str) -> Any:
    """Loads a name where it is first used: `pellucid --help` need not wait for PyTorch."""
    if name == "__version__":
        from importlib.metadata import version

        return version("pellucid")
    if name in PARTS:
        return importlib.import_module(f"pellucid.{name}")
    if name in HOME:
        return getattr(importlib.import_module(f"pellucid.{HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
