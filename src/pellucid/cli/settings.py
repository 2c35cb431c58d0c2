"""What a restoration was asked for, as written, and as understood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.blind import UNKNOWN, Sought, example, is_sought, needs_operator
from pellucid.budget import severity_start
from pellucid.cli import adapting
from pellucid.cli.dirac import AUTO, DIRAC, SWITCHED_OFF, aimed, is_dirac, prior_for, require_named, shape_of
from pellucid.errors import CompatibilityError, ConfigError, NeedsCapability, ProblemError
from pellucid.methods.words import option_value
from pellucid.start.severity import Severity

if TYPE_CHECKING:
    from pellucid.cli.adapting import Wanted
    from pellucid.methods import Preset
    from pellucid.operators.base import Operator
    from pellucid.operators.text import Spec
    from pellucid.prior.base import Prior

PLUG_AND_PLAY = "pnp-admm"
# A blind denoiser cannot follow falling levels. One level throughout, in few iterations, gave 0.9 (noise), 1.2 (blur)
# and 3.5 dB (both) more than the method's defaults, with `photo-denoiser` on six crops of 64 pixels of one photograph.
BLIND, BLIND_CALLS = {"sigma_d": 0.25, "sigma_first": 0.25}, 12


@dataclass(frozen=True)
class Request:
    """The options of `restore` that decide what the picture becomes; the names are the command line's."""

    operator: str = "identity"
    noise: float = 0.0
    method: str = "auto"
    prior: str = AUTO
    seed: int = 0
    nfe: int | None = None
    samples: int = 1
    settings: tuple[str, ...] = ()
    seconds: float | None = None
    max_side: int | None = None
    shape: str | None = None
    device: str = "auto"
    precision: str = "auto"
    gain: float = 0.0
    save_memory: bool = False
    max_nfe: float | None = None
    optimise: str | None = None
    adapt: Wanted | None = None


@dataclass(frozen=True)
class Setup:
    """A request, understood: everything that does not depend on the picture.

    Attributes:
        spec: the operator; where it is not wholly known, one of those that it could be.
        window: Hounsfield units of 0 and 1, where the prior is one of CT.
        sought: the operator's text, where a number of it is to be estimated.
        budgeted: whether calls or seconds are allotted to all pictures together, by scaling where they begin.
    """

    request: Request
    spec: Spec
    preset: Preset | None
    options: dict[str, Any]
    shape: tuple[int, int, int] | None
    device: str
    prior: Prior
    window: tuple[float, float] | None = None
    sought: Sought | None = None
    budgeted: bool = False

    @property
    def operator_text(self) -> str:
        """The operator as far as it is known."""
        return UNKNOWN if self.unknown else str(self.sought or self.spec)

    @property
    def unknown(self) -> bool:
        """Whether nothing is known of the operator."""
        return self.request.operator.strip() == UNKNOWN

    @property
    def limit(self) -> float | None:
        """Seconds after which a picture's run is ended."""
        return None if self.budgeted else self.request.seconds

    def choose(self, operator: Operator) -> tuple[Preset, int | None]:
        """The method, and its network calls where they are not its default.

        If none was asked for, what did best on noisy measurements with the shipped priors: plug-and-play ADMM for
        sinograms, DDRM where the operator's spectrum is known, PiGDM where it is linear, else DPS, which needs nothing
        but A. DPS also for processes in continuous time, which DDRM's grid is not made for; ReSample for latent priors,
        behind which no operator is linear; plug-and-play ADMM for denoisers that no diffusion can begin with.

        Raises:
            NeedsCapability: the operator is not linear, and the prior is such a denoiser.
        """
        from pellucid import methods
        from pellucid.operators.base import LinearOperator, Spectral
        from pellucid.operators.tomography import Tomograph

        if self.preset is not None:
            return self.preset, self.request.nfe
        if is_denoiser(self.prior):
            if not isinstance(operator, LinearOperator):
                raise NeedsCapability(
                    f"--prior {self.request.prior} is a denoiser for plug-and-play methods, which need a linear "
                    f"operator; for {type(operator).__name__} take a diffusion prior, such as --prior photo"
                )
            preset = methods.get(PLUG_AND_PLAY)
            if getattr(self.prior, "plug_and_play", None) != "blind":
                return preset, self.request.nfe
            return replace(preset, by_operator={LinearOperator: BLIND}), self.request.nfe or BLIND_CALLS
        if not self.prior.codec.linear:
            return methods.get("resample"), self.request.nfe
        if isinstance(operator, Tomograph):
            return methods.get(PLUG_AND_PLAY), self.request.nfe
        ladder = ((Spectral, "ddrm", 50), (LinearOperator, "pigdm", 30), (object, "dps", 100))
        discrete = self.prior.process.discrete
        name, nfe = next(
            (name, nfe) for rung, name, nfe in ladder if isinstance(operator, rung) and (discrete or rung is object)
        )
        return methods.get(name), self.request.nfe or nfe


def understand(request: Request, first: Path | None = None) -> Setup:
    """Checks everything that can be checked without a picture, cheap things first, and loads the prior.

    Args:
        request: what was asked for.
        first: one of the pictures, whose shape says which prior fits where none is named.

    Raises:
        PellucidError: of the kind that says what is wrong.
    """
    from pellucid import methods
    from pellucid.operators.text import parse
    from pellucid.zoo import load

    _check_numbers(request)
    if request.method == "auto" and request.prior != AUTO and is_dirac(request.prior):
        request = replace(request, method=DIRAC)  # the only one that its prior is for
    if request.optimise is not None and request.method != DIRAC:
        raise ConfigError("--optimise takes a stop that a dirac prior stores: take -m dirac")
    unknown = request.operator.strip() == UNKNOWN
    sought = Sought(request.operator) if not unknown and is_sought(request.operator) else None
    spec = _example(sought, request) if sought else parse("identity" if unknown else request.operator)
    if unknown and request.method == "auto":
        raise ConfigError("--operator unknown needs a method that asks for none: -m flash --set inner=none")
    if request.noise == request.gain == 0 and str(spec) == "identity" and request.method == "auto":
        raise ConfigError(
            "say what happened to the picture: --operator gaussian-blur:std=2 or another of `pellucid list operators`, "
            "--noise 0.05 for noise alone"
        )
    preset = None if request.method == "auto" else methods.get(request.method)
    if request.method == DIRAC and request.max_nfe is not None:
        raise ConfigError("--max-nfe scales where pictures begin, for flash; with dirac none takes more than --nfe")
    if preset is None and request.max_nfe is not None:
        raise ConfigError(
            "--max-nfe scales where pictures begin by their severity: take -m flash; --nfe sets the calls"
        )
    options, budgeted = method_options(request.settings), False
    if preset is not None:
        options = worded(preset, options)
        check_types(preset, options)
        method = preset.build(request.nfe, **options)
        if unknown and needs_operator(method):
            raise CompatibilityError(
                f"{preset.name} asks what the operator does, and it is unknown; say which it is, leave a number of it "
                "to be estimated (gaussian-blur:std=?), or take -m flash --set inner=none, which needs none"
                + (", or dirac with eta=0" if preset.name == DIRAC else "")
            )
        if request.max_nfe is not None:
            severity_start(method)
            if "share" not in preset.options:
                raise ConfigError(f"--max-nfe shortens the way of flash; {preset.name} takes no steps to begin with")
        budgeted = isinstance(method.start, Severity) and "share" in preset.options
        budgeted = budgeted and (request.max_nfe is not None or request.seconds is not None)
    shape, device = _shape(request.shape), _device(request.device)
    if request.adapt is not None:
        adapt = adapting.require_possible(request.adapt, request.method, request.precision)
        request = replace(request, adapt=adapt)
    if request.prior == AUTO:
        request = replace(request, prior=_prior(request, spec, shape, first))
    prior = load(request.prior, device, request.precision, checkpoint=request.save_memory)
    if preset is not None and is_denoiser(prior) and not _takes_denoisers(preset):
        raise CompatibilityError(
            f"--prior {request.prior} is a denoiser for plug-and-play methods, and {preset.name} begins with more "
            f"noise than it was made for; take -m {PLUG_AND_PLAY}, or a diffusion prior such as --prior photo"
        )
    if request.adapt is not None:
        prior = adapting.require_adaptable(request.adapt, prior, preset)
    if preset is not None and preset.name == DIRAC:
        name, nfe, words = aimed(request.optimise, getattr(prior, "points", {}), options, preset, request.prior)
        request = replace(request, optimise=name, nfe=request.nfe or nfe)
        options = {**words, **(SWITCHED_OFF if unknown else {})}
    window = _window(request.prior)
    return Setup(request, spec, preset, options, shape, device, prior, window, sought, budgeted)


def _example(sought: Sought, request: Request) -> Spec:
    """See `blind.example`; what to do instead where no network estimates it, and the prior of dirac might."""
    try:
        return example(sought)
    except CompatibilityError as error:
        if request.method != DIRAC:
            raise
        raise CompatibilityError(
            f"{error}; a dirac prior tells itself how strong a degradation of its own family is: -A {UNKNOWN} -m dirac "
            "--prior NAME"
        ) from error


def _prior(request: Request, spec: Spec, shape: tuple[int, int, int] | None, first: Path | None) -> str:
    """The prior where none is named: `photo`, or for dirac the one that undoes the operator.

    Raises:
        CompatibilityError: there is none, or the operator is unknown.
    """
    from pellucid.zoo import DEFAULT

    if request.method != DIRAC:
        return DEFAULT
    if request.operator.strip() == UNKNOWN:
        raise require_named()
    return prior_for(spec, request.noise, shape_of(first, spec, shape))


def _window(name: str) -> tuple[float, float] | None:
    """Hounsfield units of 0 and 1, by the card of a prior of CT."""
    from pellucid.images.hu import require_window
    from pellucid.zoo import find
    from pellucid.zoo.card import Card

    folder = find(name)
    window = Card.read(folder).data.get("window") if (folder / "card.json").is_file() else None
    return None if window is None else require_window(window)


def poisson_gain(gain: float | None, photons: float | None) -> float:
    """The gain of Poisson noise: as given, or 1 / photons; 0 for neither.

    Raises:
        ConfigError: both are given.
        ProblemError: one is negative, not finite, or there are no photons.
    """
    if gain is not None and photons is not None:
        raise ConfigError("--gain is 1 / --photons: give one of them")
    if photons is not None:
        if not (math.isfinite(photons) and 1e-6 <= photons <= 1e15):
            raise ProblemError(
                f"--photons must be a number from 1e-6 to 1e15, counted where the value is 1, not {photons}"
            )
        return 1 / photons
    if gain is not None and not (gain == 0 or (math.isfinite(gain) and 1e-15 <= gain <= 1e6)):
        raise ProblemError(f"--gain must be 0 or from 1e-15 to 1e6 (1 / photons where the value is 1), not {gain}")
    return gain or 0.0


def is_denoiser(prior: Prior) -> bool:
    """Whether a prior is of use in plug-and-play methods alone: a denoiser that is blind, or one of weak noise."""
    return bool(getattr(prior, "plug_and_play", False))


def _takes_denoisers(preset: Preset) -> bool:
    """Plug-and-play ADMM, and what calls no prior at all: those without a number of calls."""
    return preset.name == PLUG_AND_PLAY or preset.default_nfe is None


def method_options(pairs: Sequence[str]) -> dict[str, Any]:
    """`["eta=0.4", "n_inv=none"]` -> `{"eta": 0.4, "n_inv": None}`.

    Raises:
        ConfigError: one is not of the form key=value.
    """
    options = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set takes key=value, not {pair!r}")
        name, value = key.strip().replace("-", "_"), option_value(text.strip())
        if name == "nfe":
            raise ConfigError(f"nfe has an option of its own: --nfe {text.strip()}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"--set {pair}: the value must be finite")
        options[name] = value
    return options


def worded(preset: Preset, options: dict[str, Any]) -> dict[str, Any]:
    """The options, none being a word where a word is asked for that cannot be missing: flash's `inner=none`."""
    kinds = {name: preset.annotations.get(name, "").split(" | ") for name in options}
    wanted = {name for name, kind in kinds.items() if "str" in kind and "None" not in kind}
    return {name: "none" if value is None and name in wanted else value for name, value in options.items()}


def configured(path: Path, method: str, nfe: int | None, pairs: Sequence[str]) -> tuple[str, int | None, list[str]]:
    """Method, nfe and settings of a file of `pellucid tune`, under what was given beside it.

    Raises:
        ConfigError: the file cannot be read, or is of another method than the one given.
    """
    from pellucid.bench.settings_file import load

    found = load(path)
    if method not in ("auto", found.method):
        raise ConfigError(f"{path} holds settings of {found.method}, not of {method}")
    return found.method, nfe or found.nfe, [*(f"{name}={value}" for name, value in found.options.items()), *pairs]


def check_types(preset: Preset, options: dict[str, Any]) -> None:
    """Raises `ConfigError` where an option is of another kind than its default."""
    for name, value in options.items():
        if name not in preset.options:  # said by the preset itself
            continue
        default = preset.options[name]
        if isinstance(default, int | float) and not isinstance(value, int | float):
            raise ConfigError(f"{preset.name}: {name} is a number such as {default}, not {value!r}")
        # A default of none stands for a number that is found by rule; which kind, the method's annotations say.
        kinds = preset.annotations[name].split(" | ")
        whole = type(default) is int or "int" in kinds
        if (default is None and isinstance(value, str) and "str" not in kinds) or (whole and isinstance(value, float)):
            raise ConfigError(f"{preset.name}: {name} is a {'whole ' if whole else ''}number, not {value!r}")


def _check_numbers(request: Request) -> None:
    if not (math.isfinite(request.noise) and request.noise >= 0):
        raise ProblemError(f"--noise must be finite and not negative, not {request.noise}")
    smallest = {"samples": 1, "nfe": 1, "max_side": 8}
    for name, least in smallest.items():
        value = getattr(request, name)
        if value is not None and value < least:
            raise ConfigError(f"--{name.replace('_', '-')} must be at least {least}, not {value}")
    if request.max_nfe is not None and not (math.isfinite(request.max_nfe) and request.max_nfe >= 0):
        raise ConfigError(f"--max-nfe must be finite and not negative, not {request.max_nfe}")
    if request.seconds is not None and not request.seconds > 0:
        raise ConfigError(f"--seconds must be above 0, not {request.seconds}")


def _shape(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    try:
        channels, height, width = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise ConfigError(f"--shape takes channels x height x width such as 3x256x256, not {text!r}") from None
    if min(channels, height, width) < 1:
        raise ConfigError(f"--shape must be positive, not {text!r}")
    return channels, height, width


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"--device {name} cannot be used here: {str(error).splitlines()[0]}") from error
    return name
