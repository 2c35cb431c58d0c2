"""Flash-Diffusion, and the decoded estimate that it begins with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pellucid.errors import CompatibilityError
from pellucid.grid import Below, Nowhere
from pellucid.method import Method
from pellucid.methods.words import understood
from pellucid.start.severity import Constant, Encoder, Rule, Severity
from pellucid.transition import DDIM

ALONE = "none"


def flash(
    inner: str | Method = "ldps",
    encoder: str | Path | Encoder = "auto",
    nfe: int = 1000,
    rule: Rule = "exact",
    c: float = 1.2,
    match: bool = False,
    temperature: float | None = None,
    share: float = 1.0,
    fixed: float | None = None,
    as_released: bool = False,
) -> Method:
    """Flash-Diffusion: a severity encoder's estimate, and only those steps that its predicted error asks for.

    Reference: Fabian, Tinaz and Soltanolkotabi, Adapt and Diffuse: Sample-adaptive Reconstruction via Latent Diffusion
    Models, ICML 2024.

    Equations: t* has the SNR alpha^2 / sigma^2 = 1 / s2 (`Severity`). It begins at z = alpha_t* z_hat ("exact"), at
    sqrt(1 - c s2) z_hat + sqrt(c s2) n ("paper"), or at z_hat carried up by DDIM inversion ("inversion"); the steps are
    the inner method's, those of its grid that lie below t* (`Below`). The encoder's pass is not counted in NFE.

    Differences: z = alpha_t* z_hat instead of the paper's correction noise, which a white error does not need
    (`rule="paper"` has it, with c = 1.1 to 1.2); with fewer times than 1000 the start may lie between them, not only on
    the nearest (`match`); the inner method's own step rule instead of a tuned eta. `as_released` is the published
    sampler: c s2 as correction noise, 1000 steps, the first call one step below the matched time, eta |r|.

    Limits: what the encoder got wrong without knowing stays: on measurements unlike those that it was trained for, it
    starts too late; `docs/reproduction.md`, F5, has what a wrong encoder costs. z_hat is an average over all pictures
    that y leaves possible: samples from it are too alike with rule="exact" (`pellucid verify flash`), less so with
    "paper". Where only a few steps of a coarse grid are left, Latent-DPS's steps overshoot: to save calls, shorten the
    way (`share`, --max-nfe), not the grid.

    Args:
        inner: the method that goes on from there: a name with options, "gml-dps:weight=0.05", or a `Method`; "none" is
            the prior alone, which needs no operator.
        encoder: a severity encoder's name or folder; "auto" is a shipped one that suits prior and operator.
        nfe: calls of the whole way down, of which each image takes the last ones only; 1000 is DDPM.
        rule: see `Severity`: exact, paper, released or inversion.
        c: the paper's noise correction, for rule="paper" and "released".
        match: t* is one of the inner method's times, as in the paper; otherwise any.
        temperature: multiplies s2, instead of the card's calibration.
        share: of the way from clean to t*; below 1 for a budget.
        fixed: every image starts at this share of all time, whatever its s2: what adapting is compared with.
        as_released: the published sampler; with it rule, match, and nfe are its own.
    """
    if as_released:
        rule, match, nfe, inner = "released", True, 1000, _released(inner)
    held = inner_method(inner, nfe)
    told = _encoder(encoder, temperature)
    told = told if fixed is None else Constant(told, fixed)
    start = Severity(told, rule, c, held.grid if match or rule == "inversion" else None, share)
    return replace(held, start=start, grid=Below(held.grid), name="flash")


def ae(encoder: str | Path | Encoder = "auto") -> Method:
    """AE: decode the severity encoder's estimate and leave it at that; Flash-Diffusion without diffusion.

    Reference: Fabian, Tinaz and Soltanolkotabi, Adapt and Diffuse, ICML 2024 (as a baseline).

    Equations: D(z_hat). With a pixel prior it is the severity network's picture.

    Args:
        encoder: a severity encoder's name or folder; "auto" is a shipped one that suits prior and operator.
    """
    return Method(Nowhere(), DDIM(), start=Severity(_encoder(encoder, None), share=0.0), name="ae")


def inner_method(inner: str | Method, nfe: int) -> Method:
    """The method that flash goes on with.

    Raises:
        UnknownNameError, ConfigError: as `methods.get` and its `build`.
        CompatibilityError: a method without steps, which a start cannot shorten.
    """
    if isinstance(inner, str):
        from pellucid import methods

        name, options = understood(inner)
        if name == ALONE:
            name, options = "unconditional", {"eta": 1.0, **options}
        if name in ("flash", "ae"):
            raise CompatibilityError(f"flash cannot go on with {name}; name a method such as ldps, resample or dps")
        preset = methods.get(name)
        if "nfe" in preset.options:
            options = {"nfe": nfe, **options}
        inner = preset.build(**options)
    if isinstance(inner.grid, Nowhere):
        raise CompatibilityError(f"{inner.name} has no diffusion steps that flash could shorten")
    return inner


def _released(inner: str | Method) -> str | Method:
    """The inner method with Flash's code's step rule, where it has one and nothing else was asked for."""
    if not isinstance(inner, str) or understood(inner)[0] not in ("ldps", "gml-dps", "psld") or "rule=" in inner:
        return inner
    return inner + ("," if ":" in inner else ":") + "rule=released"


def _encoder(encoder: str | Path | Encoder, temperature: float | None) -> Encoder:
    from pellucid.severity import AutoSeverity, load_severity

    if encoder == "auto":
        return AutoSeverity(temperature)
    if isinstance(encoder, str | Path):
        return load_severity(encoder, temperature=temperature)
    if temperature is None:
        return encoder
    if not hasattr(encoder, "temperature"):
        raise CompatibilityError(f"{type(encoder).__name__} has no temperature to set")
    changed: Any = encoder
    tempered: Encoder = replace(changed, temperature=temperature)
    return tempered
