"""One picture of a restoration: its problem, the method for it, and what it will take."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pellucid.account import uncounted
from pellucid.blind import estimated_specs, needs_operator, severity_for
from pellucid.budget import Forecast, survey
from pellucid.cli import adapting
from pellucid.cli.dirac import DIRAC, Entry, entry
from pellucid.cli.settings import Setup
from pellucid.cli.sinograms import gives_pictures
from pellucid.consistency.guidance import PseudoinverseGuidance
from pellucid.consistency.proximal import Proximal
from pellucid.errors import OperatorError, ProblemError, ShapeError
from pellucid.grid import Nowhere
from pellucid.images.ct import CT
from pellucid.images.picture import Picture
from pellucid.method import Method
from pellucid.methods import Preset
from pellucid.operators.base import LinearOperator, Operator
from pellucid.operators.text import Spec
from pellucid.operators.unknown import Unknown
from pellucid.prior.base import Prior, State
from pellucid.prior.tiled import TiledPrior, tiled
from pellucid.problem import Problem
from pellucid.start.severity import Severity
from pellucid.typing import Shape

SPREAD = 0.25  # standard deviation of pictures, as methods assume it
AT_ONCE = 2**19  # pixels in a batch of samples


@dataclass(frozen=True)
class Case:
    """A picture that is ready to be restored.

    Attributes:
        setup: what was asked for.
        picture: the measurement, reduced if that was asked for.
        operator, preset, method, prior: made for it.
        nfe: network calls that the method is set to; 0 if it makes none.
        estimated: the operator, where a number of it was told from the measurement.
        learned: what the prior was adapted to, once it has been.
    """

    setup: Setup
    picture: Picture
    operator: Operator
    preset: Preset
    nfe: int
    method: Method
    prior: Prior
    estimated: Spec | None = None
    learned: adapting.Learned | None = None

    @classmethod
    def make(cls, setup: Setup, picture: Picture) -> Case:
        """Builds all parts and refuses what does not fit.

        Raises:
            PellucidError: of the kind that says what does not.
        """
        request = setup.request
        if picture.ct is not None and picture.quantity == "picture" and not gives_pictures(setup.spec):
            raise ProblemError(
                f"this is a slice in Hounsfield units, and {setup.spec} measures sinograms; make one of it first: "
                f"pellucid degrade SLICE -A '{setup.spec}' -o sinogram.npz"
            )
        picture = _in_units_of(setup.window, picture)
        if request.max_side and picture.is_image:
            picture = picture.at_most(request.max_side)
        shape = setup.shape or picture.image_shape or _shape_for(setup.spec, tuple(picture.pixels.shape))
        setup, operator, estimated = _operator(setup, picture, shape)
        preset, nfe = setup.choose(operator)
        method = preset.build(nfe, operator, **setup.options)
        if "nfe" in preset.options and not (nfe := nfe or preset.options["nfe"]):  # the method's own, by its options
            nfe = method.steps(setup.prior.process)
        case = cls(setup, picture, operator, preset, nfe or 0, method, tiled(setup.prior, shape), estimated)
        method.check(case.problem(1), case.prior)
        adapting.require_fit(case)
        return case

    @cached_property
    def severity(self) -> Forecast | None:
        """Where the picture begins by its predicted severity; None for methods that begin elsewhere."""
        if not isinstance(self.method.start, Severity) or isinstance(self.method.grid, Nowhere):
            return None
        return survey(self.method, self.problem(1), self.prior).forecast(self.method, self.prior.process)

    @cached_property
    def entry(self) -> Entry | None:
        """Where the picture enters a degradation's path; None for methods that begin elsewhere."""
        return entry(self.problem(1), self.prior, self.method)

    @property
    def calls(self) -> int:
        """Network calls, as far as they can be foretold."""
        if self.entry is not None:
            return self.entry.steps
        return self.nfe if self.severity is None else int(self.severity.calls)

    @property
    def tiles(self) -> int:
        """How many tiles the prior sees the picture in; 1 for the whole."""
        height, width = self.operator.image_shape[-2:]
        return len(self.prior.boxes(height, width)) if isinstance(self.prior, TiledPrior) else 1

    @property
    def at_once(self) -> int:
        """How many samples are drawn together: small pictures in batches, large ones one by one."""
        height, width = self.operator.image_shape[-2:]
        return max(1, min(self.setup.request.samples, AT_ONCE // (height * width)))

    def problem(self, copies: int) -> Problem:
        """The measurement, once for every sample drawn together."""
        y = self.picture.pixels[None].expand(copies, *self.picture.pixels.shape).to(self.setup.device)
        return Problem(y, self.operator, self.setup.request.noise, self.setup.request.gain)

    def call_seconds(self) -> float:
        """How long one network call on this picture takes: measured, on one tile of a large one."""
        side = self.prior.tile if isinstance(self.prior, TiledPrior) else 10**9
        prior = self.prior.prior if isinstance(self.prior, TiledPrior) else self.prior
        channels, height, width = prior.codec.shape(self.operator.image_shape)
        x = torch.zeros(1, channels, min(height, side), min(width, side), device=self.setup.device)
        once = _seconds(prior, x)
        # The first call of a network is slower; where it was short, a second one tells the truth.
        return (_seconds(prior, x) if once < 2 else once) * self.tiles

    def predicted_seconds(self) -> float:
        """All network calls of all samples, their vector-Jacobian products, and solves that are iterative."""
        if not self.calls:
            return 0.0
        # A vector-Jacobian product costs about two calls.
        each = self.call_seconds() * (3 if self.method.consistency.needs_vjp else 1) + self._solve_seconds()
        return (self.calls * each + self._decoding_seconds()) * self.setup.request.samples

    def _decoding_seconds(self) -> float:
        """Gradients through an autoencoder's decoder, which cost more than calls of a latent network."""
        codec, finish = self.prior.codec, self.method.finish
        passes = self.method.consistency.gradients(self.calls) + getattr(finish, "gradients", 0)
        if codec.linear or not passes:
            return 0.0
        z = torch.zeros(1, *codec.shape(self.operator.image_shape), device=self.setup.device, requires_grad=True)
        seconds = []
        for _ in range(2):  # the first call is slower
            began = time.perf_counter()
            with torch.enable_grad(), uncounted():
                torch.autograd.grad(codec.decode(z).sum(), z)
            seconds.append(time.perf_counter() - began)
        return passes * min(seconds)

    def _solve_seconds(self) -> float:
        """One solve by conjugate gradients, for methods that need one a step; nothing where it is exact.

        A^+ y, or, for methods that weigh the prior against the noise, the better conditioned system that they solve.
        """
        operator = self.operator
        if self.preset.needs is Operator or not isinstance(operator, LinearOperator) or not operator.iterative_pinv:
            return 0.0
        problem = self.problem(1)
        rhs = operator.adjoint(problem.y)
        operator(rhs)  # what an operator makes once, at its first use, is not part of every step
        began = time.perf_counter()
        level = problem.variance.flatten(1).mean(1)
        if isinstance(self.method.consistency, PseudoinverseGuidance | Proximal) and float(level) > 0:
            operator.solve_normal(rhs, level / SPREAD**2)
        else:
            operator.pinv(problem.y)
        return time.perf_counter() - began


def _operator(setup: Setup, picture: Picture, shape: Shape) -> tuple[Setup, Operator, Spec | None]:
    """The operator, and its text where a number of it is told from the measurement.

    Where the method never asks for the operator, nothing is estimated; "auto" is then replaced by the severity encoder
    that was trained for what is sought, since the operator cannot say which it is. Dirac's path says more where the
    operator is known, so that a number that can be estimated is.
    """
    if setup.sought is None and not setup.unknown:
        return setup, setup.spec.build(shape), None
    y, preset = picture.pixels, setup.preset
    alone = preset is not None and not needs_operator(preset.build(setup.request.nfe, **setup.options))
    if not alone or (preset is not None and preset.name == DIRAC and setup.sought is not None):
        assert setup.sought is not None
        (spec,) = estimated_specs(setup.sought, y[None], shape)
        return setup, spec.build(shape), spec
    encoder = None if setup.sought is None else severity_for(setup.sought)
    if encoder is not None and setup.options.get("encoder", "auto") == "auto":
        setup = replace(setup, options={**setup.options, "encoder": encoder})
    return setup, Unknown(shape, tuple(y.shape)), None


def _shape_for(spec: Spec, measurement_shape: Shape) -> Shape:
    try:
        return spec.image_shape_for(measurement_shape)
    except ShapeError:
        raise
    except OperatorError as error:
        raise OperatorError(f"{error}: --shape 1x256x256, channels first") from error


def _in_units_of(window: tuple[float, float] | None, picture: Picture) -> Picture:
    """The picture as CT if the prior is: what does not say its units is taken to be in the prior's window.

    Raises:
        ProblemError: it was measured in another window.
    """
    if window is None:
        return picture
    if picture.ct is None:
        return replace(picture, ct=CT(window))
    if picture.ct.window != window:
        low, high = picture.ct.window
        raise ProblemError(
            f"the measurement is of a picture whose 0 and 1 are {low:g} and {high:g} HU, and the prior's are "
            f"{window[0]:g} and {window[1]:g}; take a prior of that window, or measure again in the prior's"
        )
    return picture


def _seconds(prior: Prior, x: Tensor) -> float:
    middle = torch.full((1,), prior.process.t_max / 2, dtype=torch.float64)
    began = time.perf_counter()
    with uncounted():
        estimate = prior.estimate(State(x, middle))
        float(estimate.x0.sum())  # waits for a GPU
    return time.perf_counter() - began
