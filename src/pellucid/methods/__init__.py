"""Methods by name: one paper, one file, each a preset that bundles the parts of `pellucid.method.Method`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pellucid.errors import ConfigError, UnknownNameError
from pellucid.method import Method, needs_of_pictures
from pellucid.methods.adir import adir
from pellucid.methods.admm import admm_tv, pnp_admm
from pellucid.methods.ccdf import ccdf, ccdf_dps
from pellucid.methods.ccdf_l import ccdf_l
from pellucid.methods.daps import daps
from pellucid.methods.ddnm import ddnm, ddnm_plus
from pellucid.methods.ddrm import ddrm
from pellucid.methods.diffpir import diffpir
from pellucid.methods.dirac import dirac
from pellucid.methods.dmps import dmps
from pellucid.methods.dps import dps
from pellucid.methods.fbp import cgls, fbp
from pellucid.methods.flash import ae, flash
from pellucid.methods.gml_dps import gml_dps
from pellucid.methods.latent_ddnm import latent_ddnm
from pellucid.methods.ldps import ldps
from pellucid.methods.mcg import mcg
from pellucid.methods.pigdm import pigdm
from pellucid.methods.pinv import pinv
from pellucid.methods.psld import psld
from pellucid.methods.red_diff import red_diff
from pellucid.methods.repaint import repaint
from pellucid.methods.resample import resample
from pellucid.methods.ssd import ssd, ssd_plus
from pellucid.methods.supervised import estimators, is_estimator, supervised
from pellucid.methods.unconditional import unconditional
from pellucid.operators.base import Operator
from pellucid.operators.color import Grey


@dataclass(frozen=True, eq=False)
class Preset:
    """A method by name.

    Args:
        name: what the command line calls it.
        make: the function that builds it; its keyword arguments are the method's options.
        models_noise: whether the method knows the noise level; the others are made for noiseless measurements.
        by_operator: defaults that the paper changes for a kind of operator.
        calls: network calls at defaults, where the option `nfe` is None because they depend on other options.
    """

    name: str
    make: Callable[..., Method]
    models_noise: bool = True
    by_operator: Mapping[type[Operator], Mapping[str, Any]] = field(default_factory=dict)
    calls: int | None = None

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return self.doc.splitlines()[0]

    @property
    def doc(self) -> str:
        """The docstring: reference, map of equations, defaults, differences from the released code."""
        return inspect.getdoc(self.make) or ""

    @property
    def reference(self) -> str:
        """The paper: the docstring's line that starts with "Reference:"."""
        return next(
            (line.removeprefix("Reference: ") for line in self.doc.splitlines() if line[:10] == "Reference:"), ""
        )

    @property
    def needs(self) -> type[Operator]:
        """The rung of the operator ladder that the method stands on: the higher of its start's and consistency's."""
        method = self.make()
        parts = (method.start, method.consistency)
        rungs = [rung for part in parts for rung in (part.needs, needs_of_pictures(part))]
        return max(rungs, key=lambda rung: len(rung.__mro__))

    @property
    def options(self) -> dict[str, Any]:
        """Options and their defaults."""
        return {name: parameter.default for name, parameter in inspect.signature(self.make).parameters.items()}

    @property
    def annotations(self) -> dict[str, str]:
        """Options and what kind of value they take, as written."""
        return {name: str(parameter.annotation) for name, parameter in inspect.signature(self.make).parameters.items()}

    @property
    def default_nfe(self) -> int | None:
        """Network calls at defaults; None for a method that has no such setting."""
        return self.options.get("nfe") or self.calls

    def build(self, nfe: int | None = None, operator: Operator | None = None, **options: Any) -> Method:
        """The method with some options changed, and with the paper's defaults for the operator if one is given.

        Raises:
            ConfigError: the method has no such option.
            CompatibilityError: a value is out of its range.
        """
        for kind, defaults in self.by_operator.items():
            if isinstance(operator, kind):
                options = {**defaults, **options}
        if nfe is not None:
            options["nfe"] = nfe
        for option in options:
            if option not in self.options:
                known = ", ".join(self.options) or "none"
                raise ConfigError(f"{self.name} has no option {option!r}; its options are: {known}")
        return self.make(**options)


SSD_GREY = {"t0": 0.75, "eta": 0.8}  # colourisation starts higher and with more noise (SSD's run scripts)

METHODS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("ssd", ssd, models_noise=False, by_operator={Grey: SSD_GREY}),
        Preset("ssd+", ssd_plus, by_operator={Grey: SSD_GREY}),
        Preset("ddnm", ddnm, models_noise=False),
        Preset("ddnm+", ddnm_plus),
        Preset("ddrm", ddrm),
        Preset("dps", dps),
        Preset("pigdm", pigdm),
        Preset("dmps", dmps),
        Preset("diffpir", diffpir),
        Preset("mcg", mcg, models_noise=False),
        Preset("repaint", repaint, models_noise=False),
        Preset("ccdf", ccdf, models_noise=False),
        Preset("ccdf-dps", ccdf_dps),
        Preset("resample", resample, calls=50),
        Preset("ldps", ldps),
        Preset("gml-dps", gml_dps),
        Preset("psld", psld),
        Preset("ccdf-l", ccdf_l),
        Preset("latent-ddnm", latent_ddnm),
        Preset("flash", flash),
        Preset("ae", ae, models_noise=False),
        Preset("dirac", dirac),
        Preset("adir", adir),
        Preset("daps", daps),
        Preset("red-diff", red_diff),
        Preset("pnp-admm", pnp_admm),
        Preset("admm-tv", admm_tv),
        Preset("pinv", pinv, models_noise=False),
        Preset("fbp", fbp, models_noise=False),
        Preset("cgls", cgls, models_noise=False),
        Preset("unconditional", unconditional, models_noise=False),
    )
}


def get(name: str) -> Preset:
    """The preset of that name; the name or folder of a supervised network stands for that network alone.

    Raises:
        UnknownNameError: there is none; the message names the nearest.
    """
    if name not in METHODS and is_estimator(name):
        return Preset(name, partial(supervised, name), models_noise=False)
    if name not in METHODS:
        raise UnknownNameError("method", name, [*METHODS, *estimators()])
    return METHODS[name]


__all__ = [
    "METHODS",
    "Preset",
    "adir",
    "admm_tv",
    "ae",
    "ccdf",
    "ccdf_dps",
    "ccdf_l",
    "cgls",
    "daps",
    "ddnm",
    "ddnm_plus",
    "ddrm",
    "diffpir",
    "dirac",
    "dmps",
    "dps",
    "fbp",
    "flash",
    "get",
    "gml_dps",
    "latent_ddnm",
    "ldps",
    "mcg",
    "pigdm",
    "pinv",
    "pnp_admm",
    "psld",
    "red_diff",
    "repaint",
    "resample",
    "ssd",
    "ssd_plus",
    "supervised",
    "unconditional",
]
