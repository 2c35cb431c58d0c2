"""The trainers' configurations: TOML keys mirror these fields one to one, an unknown key is an error."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from pellucid.errors import ConfigError

T = TypeVar("T")
DECAYS = ("linear", "cosine", "constant")
PRECISIONS = ("no", "bf16", "fp16")


@dataclass(frozen=True)
class ShipConfig:
    """Where a trained network goes, and what its card says beside the figures.

    Args:
        to: the folder of the shipped network.
        summary: one line.
        data: what it was trained on.
        sources: a SOURCES.tsv whose licences the card counts; it lies beside the folder of training pictures.
        evaluate: held-out data: a folder, or anything that the trainer reads; the card gets the quality measured there.
        evaluate_source: options of that data (`window`, `z_range`, ...).
        also: further held-out sets by name: a `path` and its source's options, or `phantoms = COUNT`.
        licences: the licences outright, where there is no SOURCES.tsv: a table such as { "CC0-1.0" = 3 }.
        notes: further keys of the card.
    """

    to: Path
    summary: str
    data: str
    evaluate: Path
    sources: Path | None = None
    evaluate_source: dict[str, Any] = field(default_factory=dict)
    also: dict[str, dict[str, Any]] = field(default_factory=dict)
    licences: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every training has.

    Args:
        data: training pictures: a folder, a list file, an .npz or a DICOM stack.
        out: folder of checkpoints, samples and logs.
        source: options of the data: `window`, `planes`, `z_range`, `memory`, ... (`pellucid.train.data.open_source`).
        crop: options of the crops: `jitter`, `dead_leaves`, `phantoms`, ... (`pellucid.train.data.Crops`).
        channels: 3, or 1 for grey pictures and CT.
        steps: optimiser steps; the rate rises over `warmup` steps and then falls to zero, or stays if `decay` says so.
        pixels: pixels in one micro-batch of crops: a crop of side s comes in batches of pixels / s^2.
        crops: crop sides, each step takes one of them.
        crop_odds: their probabilities.
        accumulate: micro-batches whose gradients one step averages; n processes with k each equal one with n k.
        lr: Adam's peak rate.
        warmup: steps over which the rate rises.
        clip: limit of the gradient's norm.
        decay: how the rate falls: "linear", "cosine", or "constant" for not at all.
        ema: the exponential moving average's memory as a share of the steps so far (Karras' power-law average).
        seed: of the weights, the crops and the noise.
        checkpoint_every: steps between checkpoints.
        keep: how many of the newest checkpoints stay.
        validation: held-out pictures; none: no validation.
        validation_source: options of those, where they differ from `source`.
        validate_every: steps between validations.
        sample_every: steps between sample grids; 0 for none.
        precision: "bf16", "fp16" or "no".
        threads: CPU threads of this process (0: torch's default).
        workers: threads that decode and cut crops beside the training (0: none).
        init: a shipped prior's name or a folder: its weights are where training begins.
        network: what the network is made of; the words depend on the kind of training.
        ship: what `pellucid train ship` needs to know.
    """

    data: Path
    out: Path
    source: dict[str, Any] = field(default_factory=dict)
    crop: dict[str, Any] = field(default_factory=dict)
    channels: int = 3
    steps: int = 20000
    pixels: int = 65536
    crops: tuple[int, ...] = (64, 96, 128, 192)
    crop_odds: tuple[float, ...] = (0.55, 0.2, 0.2, 0.05)
    accumulate: int = 1
    lr: float = 8e-4
    warmup: int = 500
    clip: float = 1.0
    decay: str = "linear"
    ema: float = 0.05
    seed: int = 0
    checkpoint_every: int = 1000
    keep: int = 2
    validation: Path | None = None
    validation_source: dict[str, Any] = field(default_factory=dict)
    validate_every: int = 1000
    sample_every: int = 2000
    precision: str = "bf16"
    threads: int = 0
    workers: int = 0
    init: str | None = None
    network: dict[str, Any] = field(default_factory=dict)
    ship: ShipConfig | None = None

    def __post_init__(self) -> None:
        if len(self.crops) != len(self.crop_odds):
            raise ConfigError("crops and crop_odds must have the same length")
        numbers = [*self.crops, *self.crop_odds]
        if not all(isinstance(value, int | float) for value in numbers):
            raise ConfigError("crops and crop_odds must be lists of numbers")
        if not self.crops or min(self.crops) < 1 or min(self.crop_odds) < 0 or not sum(self.crop_odds) > 0:
            raise ConfigError("crops must be positive, and crop_odds not negative and not all zero")
        if self.steps < 1 or self.pixels < max(self.crops) ** 2:
            raise ConfigError("steps must be at least 1, and pixels at least the square of the largest crop")
        for name in ("accumulate", "checkpoint_every", "keep", "validate_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name, least in (("seed", 0), ("workers", 0), ("threads", 0), ("warmup", 0), ("sample_every", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, not {getattr(self, name)}")
        for name in ("lr", "clip", "ema"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.channels not in (1, 3):
            raise ConfigError(f"channels must be 1 or 3, not {self.channels}")
        _among("precision", self.precision, PRECISIONS)
        _among("decay", self.decay, DECAYS)

    @classmethod
    def load(cls, path: Path, **overrides: Any) -> Self:
        """Reads a TOML file, or the config.json of a run's folder; `overrides` win over the file.

        Relative folders are taken from the working directory.

        Raises:
            ConfigError: the file is missing or is no TOML, or a key is unknown or missing, or of the wrong type.
        """
        try:
            if path.is_dir():
                raw = {k: v for k, v in json.loads((path / "config.json").read_text()).items() if v is not None}
                raw.pop("training", None)
            else:
                raw = tomllib.loads(path.read_text())
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"cannot read {path}: {error}") from error
        if raw.get("ship"):
            words = {k: v for k, v in raw["ship"].items() if v is not None}
            raw["ship"] = build(ShipConfig, words, f"{path} [ship]")
        return build(cls, raw | {key: value for key, value in overrides.items() if value is not None}, str(path))


@dataclass(frozen=True, kw_only=True)
class PriorConfig(RunConfig):
    """A pixel prior: `[network]` holds arguments of `pellucid.nn.unet.UNet`, or `class = "UNet2DModel"` and its own.

    Args:
        sigma_mean, sigma_std: ln sigma ~ N(mean, std^2), in units of the prior's space, with odds 1 - sigma_wide.
        sigma_wide: odds of ln sigma ~ U(ln 0.01, ln 160) instead. (A UNet2DModel draws its timesteps uniformly.)
        sigma_data: standard deviation of the data in the prior's space.
        weighting: "edm" (every noise level counts alike) or "min-snr": min(SNR, snr_limit) |x0_hat - x0|^2.
        snr_limit: gamma of min-SNR (Hang et al., ICCV 2023, eq. 9).
        schedule: of a UNet2DModel: a diffusers scheduler's `beta_schedule`, `beta_start`, `beta_end`,
            `num_train_timesteps`, `prediction_type`.
    """

    sigma_mean: float = -1.2
    sigma_std: float = 1.2
    sigma_wide: float = 0.25
    sigma_data: float = 0.5
    weighting: str = "edm"
    snr_limit: float = 5.0
    schedule: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        _among("weighting", self.weighting, ("edm", "min-snr"))


@dataclass(frozen=True, kw_only=True)
class LatentPriorConfig(PriorConfig):
    """A prior on an autoencoder's latents.

    Args:
        codec: a shipped autoencoder's name, or its folder; the crops are encoded by it as they are drawn.
    """

    codec: str
    sigma_mean: float = -0.6
    sigma_std: float = 1.4
    sigma_data: float = 1.0


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(RunConfig):
    """A VQ or KL autoencoder: `[network]` holds arguments of diffusers' VQModel or AutoencoderKL.

    Args:
        kind: "vq" or "kl".
        loss: "l1" or "l2" between pixels in [-1, 1].
        perceptual: weight of the feature distance of an ImageNet network (`pellucid.metrics`), 0 for none.
        adversarial: weight of a patch discriminator (Isola et al., CVPR 2017, as in Esser et al., CVPR 2021), 0: none.
        adversarial_from: the step from which it counts.
        kl: weight of KL(q(z | x) | N(0, I)), per pixel ("kl" only).
        commitment: weight of the codebook and commitment terms ("vq" only).
        quantise_from: until then a "vq" learns as a plain autoencoder; then its codebook begins as latents of crops.
        resampling: begin as block means and linear enlargement, not with random weights.
    """

    kind: str = "vq"
    loss: str = "l2"
    perceptual: float = 0.0
    adversarial: float = 0.0
    adversarial_from: int = 0
    kl: float = 1e-6
    commitment: float = 0.25
    quantise_from: int = 0
    resampling: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _among("kind", self.kind, ("vq", "kl"))
        _among("loss", self.loss, ("l1", "l2"))


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig(RunConfig):
    """A blind residual denoiser x0_hat = x - F(x): `[network]` is a UNet's, or `class = "dncnn"` with its own.

    Args:
        noise: the range of noise levels, of 255; drawn uniformly.
    """

    noise: tuple[float, float] = (0.0, 55.0)


@dataclass(frozen=True, kw_only=True)
class SupervisedConfig(RunConfig):
    """A network y -> x for one degradation or a family of them; `[network]` holds its arguments.

    Args:
        operator: as on the command line, with ranges: "gaussian-blur:std=0.3..3" draws one value a crop.
        kind: "swinir" or "unet".
        noise: range of the noise's standard deviation, in [0, 1] units.
        loss: "l1" (as SwinIR) or "l2".
    """

    operator: str
    kind: str = "swinir"
    noise: tuple[float, float] = (0.0, 0.0)
    loss: str = "l1"

    def __post_init__(self) -> None:
        super().__post_init__()
        _among("kind", self.kind, ("swinir", "unet"))
        _among("loss", self.loss, ("l1", "l2"))


@dataclass(frozen=True, kw_only=True)
class SeverityConfig(RunConfig):
    """Flash-Diffusion's severity encoder: `[network]` may say `head = "features"`; for a pixel prior it is a UNet's.

    Args:
        operators: the families of degradations, with ranges; every crop draws one of them.
        codec: the autoencoder whose latents are estimated: a shipped one's name, or a folder; "" for pixels.
        noise: range of the noise's standard deviation, in [0, 1] units.
        weighting: "paper" averages the image term over a batch, "released" adds it up.
        lambda_sigma, lambda_im: weights of the variance's and of the image's term: 10 and 1 in the paper, 1 and 1 in
            the released code.
        severity: what is learned beside the estimate: "scalar", the variance of its error, or "map", that of every
            entry.
        detached: the variance's term does not move the estimate (the paper's and the code's does).
        relative: errors of variances count as shares of the predicted variance, so that hard families do not drown easy
            ones; what is least in the mean is the same.
    """

    operators: tuple[str, ...]
    codec: str = ""
    noise: tuple[float, float] = (0.05, 0.05)
    weighting: str = "paper"
    lambda_sigma: float = 10.0
    lambda_im: float = 1.0
    severity: str = "scalar"
    detached: bool = False
    relative: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _among("weighting", self.weighting, ("paper", "released"))
        _among("severity", self.severity, ("scalar", "map"))
        for name in ("lambda_sigma", "lambda_im"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, not {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class DiracConfig(RunConfig):
    """Dirac's network: `[network]` is a UNet's, or `class = "songunet"` or `"UNet2DModel"` with its own.

    Args:
        family: the degradations A_t: "blur", "hole:widest=40", "views:least=16" (`pellucid.operators.families`).
        noise: sigma_0 and sigma_1 of sigma_t = sigma_0 (sigma_1 / sigma_0)^t, in [0, 1] units.
        look_ahead: delta_t of the incremental reconstruction loss, in [0, 1]: 0 is eq. (12), 1 is eq. (28).
        weighting: "inverse-variance", 1 / sigma_t^2 (the paper's and the code's), or "uniform".
        predicts: "x0" (the paper's), "degraded", that is A_t(x_0), or "noise".
        increment: d above 0: the network also learns (A_{t-d}(x_0) - A_t(x_0)) / d, to step without the family.
        lifted: the network is shown where pixels stand in the hole and what they say outright, not y_t alone: for
            families that weigh pixels.
        severity: whether a small head learns to tell t from a measurement.
        sigma_data: standard deviation of pictures in [-1, 1], for our UNet's preconditioning.
    """

    family: str
    noise: tuple[float, float] = (0.01, 0.05)
    look_ahead: float = 1.0
    weighting: str = "inverse-variance"
    predicts: str = "x0"
    increment: float = 0.0
    lifted: bool = False
    severity: bool = True
    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        _among("weighting", self.weighting, ("inverse-variance", "uniform"))
        _among("predicts", self.predicts, ("x0", "degraded", "noise"))
        for name in ("look_ahead", "increment"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be in [0, 1], not {getattr(self, name)}")
        if self.lifted and self.predicts != "x0":
            raise ConfigError("lifted goes with predicts = 'x0' alone")
        if self.predicts != "x0" and self.increment == 0:
            raise ConfigError(f"predicts = {self.predicts!r} steps by what the network learns: set increment above 0")


@dataclass(frozen=True, kw_only=True)
class ParameterConfig(RunConfig):
    """A head that tells an operator's parameters from the measurement: `[network]` may say its hidden `width`.

    Args:
        encoder: the severity encoder whose features it looks at: a shipped one's name, or a folder; it is not trained.
        operator: as on the command line, with a range for every parameter to be told: "gaussian-blur:std=0.3..3".
        noise: range of the noise's standard deviation, in [0, 1] units.
    """

    encoder: str
    operator: str
    noise: tuple[float, float] = (0.05, 0.05)


def build(kind: type[T], raw: dict[str, Any], where: str) -> T:
    """The dataclass from TOML values: strings become paths and lists tuples where the field says so."""
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(raw) - set(fields)):
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(sorted(fields))}")
    bare = (
        f.name for f in fields.values() if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    )
    if missing := sorted(set(bare) - set(raw)):
        raise ConfigError(f"{where}: the key {missing[0]!r} is missing")
    try:
        return kind(**{key: _value(str(fields[key].type), value, key) for key, value in raw.items()})
    except (TypeError, ConfigError) as error:
        raise ConfigError(f"{where}: {error}") from error


def _value(kind: str, value: Any, key: str) -> Any:
    """A TOML value as a field of the annotated type; `ConfigError` where it is of another one."""
    if "Path" in kind and isinstance(value, str):
        return Path(value)
    if kind.startswith("tuple"):
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{key} must be a list, not {value!r}")
        return tuple(value)
    if kind.startswith("dict") and not isinstance(value, dict):
        raise ConfigError(f"{key} must be a table, as in [{key}], not {value!r}")
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = {"int": int, "float": float, "str": str, "bool": bool}.get(kind)
    if plain is not None and (not isinstance(value, plain) or (plain is int and isinstance(value, bool))):
        raise ConfigError(f"{key} must be of type {kind}, not {value!r}")
    return value


def _among(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name} must be {', '.join(map(repr, known[:-1]))} or {known[-1]!r}, not {value!r}")
