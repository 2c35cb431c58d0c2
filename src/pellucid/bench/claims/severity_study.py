"""What severity encoders know: predicted against true errors of z_hat, on pictures that they did not learn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from pellucid.bench.claims.hard import opened
from pellucid.bench.run import save_json
from pellucid.cli.console import say
from pellucid.codec import AffineCodec, Codec
from pellucid.codec.autoencoder import AutoencoderCodec
from pellucid.errors import UnknownNameError
from pellucid.metrics.association import pearson, ranks
from pellucid.noise import SeededNoise
from pellucid.operators import parse
from pellucid.operators.shown import picture_input
from pellucid.severity import NetworkSeverity, load_severity
from pellucid.train.degradation import Families
from pellucid.train.tasks.severity import in_units
from pellucid.zoo import Card, find, load_autoencoder

BLUR, ANY, PIXEL = "photo-severity-blur", "photo-severity-any", "photo-severity-pixel"
ONES = {"blur": BLUR, "missing pixels": "photo-severity-inpaint", "nonlinear blur": "photo-severity-nlblur"}
SHIPPED = (*ONES.values(), ANY, PIXEL)
HEADS = {
    "z_hat, one number (the paper)": "runs/severity-blur-latent-scalar/shipped",
    "features, one number": "runs/severity-blur-features-scalar/shipped",
    "features, map": "runs/severity-blur-features-map/shipped",
}
TUNED = {
    f"{begin}, {steps} steps": f"runs/severity-motion-{name}-{steps}/shipped"
    for begin, name in (("from photo-severity-any", "tuned"), ("from the autoencoder", "scratch"))
    for steps in (150, 300)
}
MOTION = "motion-blur:seed=0..1000000,size=31"
STDS = tuple(round(0.3 * k, 1) for k in range(1, 11))
DARK = "runs/severity-dark/shipped"
OPENING = {"any factor from 0.2 to 1": (ANY, (0.9, 0.8, 0.7)), "a factor of 0.5, or none": (DARK, (0.5,))}
NOISE, REPEATS, SIZES = 0.05, 8, (128, 256)
BLOCK, FACTOR = 4, 4  # latents a side, where maps are compared, of so many pixels a side
Study = dict[str, Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pictures:
    """Held-out pictures, of every size the same ones.

    Args:
        crops: size -> (n, c, size, size) in [0, 1].
    """

    crops: Mapping[int, Tensor]

    def judged(self, size: int) -> Tensor:
        """Every other one: the rest served calibration."""
        return self.crops[size][1::2]


def pictures_of(folder: Path, sizes: Sequence[int] = SIZES) -> Pictures:
    """Centre crops. Raises `ConfigError` where no picture is large enough."""
    from pellucid.train.quality import centre_crops

    large = centre_crops(folder, max(sizes))
    return Pictures({size: _middle(large, size) for size in sizes})


def _middle(x: Tensor, size: int) -> Tensor:
    top, left = ((side - size) // 2 for side in x.shape[-2:])
    return x[..., top : top + size, left : left + size]


@dataclass(frozen=True)
class Encoder:
    """A severity encoder with the codec that it was trained for.

    Attributes:
        severity: the network with its calibration.
        codec: between pictures and what it estimates.
        card: of its folder.
    """

    severity: NetworkSeverity
    codec: Codec
    card: Card

    @property
    def about(self) -> dict[str, Any]:
        """What names it in a result file."""
        training = self.card.data.get("training", {})
        said = {key: training[key] for key in ("steps", "seconds") if key in training}
        return {"sha256": self.card.data["sha256"], "temperature": self.severity.temperature, **said}

    def tell(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(z_hat, calibrated variances), both (b, ...), in the codec's units, for pictures y in [0, 1]."""
        with torch.no_grad():
            z, field = self.severity.network.field(2 * y - 1)
        scale = self.codec.scaling_factor if isinstance(self.codec, AutoencoderCodec) else 1.0
        return in_units(self.codec, z), self.severity.temperature * scale**2 * field

    def both(self, y: Tensor, z0: Tensor) -> tuple[float, float]:
        """(predicted, true) variance of the error of one picture's estimate."""
        z, field = self.tell(y)
        return float(field.mean()), float((z - z0).var())


@lru_cache(maxsize=16)
def encoder(name: str) -> Encoder:
    """By name or folder. Raises `UnknownNameError` or `PriorError`."""
    severity, card = load_severity(name), Card.read(find(name, "severity"))
    codec: Codec = load_autoencoder(card.data["codec"]) if "codec" in card.data else AffineCodec()
    return Encoder(severity, codec, card)


def present(names: Sequence[str]) -> list[str]:
    """Those that are there; what is missing is said."""
    found = []
    for name in names:
        try:
            encoder(name)
        except UnknownNameError:
            say(f"passed over: {name} is not there yet")
            continue
        found.append(name)
    return found


def study(out: Path, about: Mapping[str, Any], pictures: Pictures, only: Sequence[str] = ()) -> Study:
    """Measures what `out` does not hold yet, or holds of an encoder that has changed; writes after every part.

    Args:
        out: a JSON file.
        about: what names the pictures; a study goes on only in a file of the same.
        pictures: held-out ones.
        only: parts to measure, all if empty: errors, blur, opening, families, tuned.

    Raises:
        ConfigError: the file is of other pictures.
    """
    whole = opened(out, about)
    for part, name, needs, measure in _parts(pictures):
        if (only and part not in only) or present(needs) != list(needs):
            continue
        known = {key: encoder(key).about for key in needs}
        done = whole["runs"].setdefault(part, {})
        if done.get(name, {}).get("encoders") != known:
            with torch.no_grad():
                done[name] = {"encoders": known, **measure()}
            save_json(out, whole)
            say(f"measured {part}: {name}")
    return whole


Part = tuple[str, str, tuple[str, ...], Callable[[], Study]]


def _parts(pictures: Pictures) -> list[Part]:
    parts: list[Part] = [("errors", name, (name,), partial(errors, name, pictures)) for name in SHIPPED]
    parts += [("errors", name, (folder,), partial(errors, folder, pictures)) for name, folder in HEADS.items()]
    parts += [("blur", BLUR, (BLUR,), partial(blur, BLUR, pictures))]
    for light, (name, factors) in OPENING.items():
        parts += [("opening", light, (name,), partial(opening, name, pictures, factors))]
    small = Pictures({size: pictures.crops[size] for size in [min(pictures.crops)]})
    for family, name in ONES.items():
        texts = partial(_families_of, name)
        parts += [("families", family, (name, ANY), partial(families, (name, ANY), texts, small))]
    for name, folder in TUNED.items():
        parts += [("tuned", name, (folder,), partial(families, (folder,), lambda: (MOTION,), small))]
    parts += [("tuned", f"{ANY} as it is", (ANY,), partial(families, (ANY,), lambda: (MOTION,), small))]
    return parts


def _families_of(name: str) -> Sequence[str]:
    return encoder(name).severity.families


def errors(name: str, pictures: Pictures) -> Study:
    """On the encoder's own degradations, by size: see `_cases`, lists of pictures x repeats."""
    severity = encoder(name).severity
    own = Families(severity.families, severity.noise or (NOISE, NOISE))
    return {"sizes": _by_size(name, own, pictures)}


def families(names: Sequence[str], texts: Callable[[], Sequence[str]], pictures: Pictures) -> Study:
    """Several encoders on the same degradations, at noise 0.05, for pictures of the smallest size."""
    own = Families(texts(), (NOISE, NOISE))
    return {"of": {name: {"sizes": _by_size(name, own, pictures)} for name in names}}


def _by_size(name: str, own: Families, pictures: Pictures) -> Study:
    one = encoder(name)
    return {str(size): _cases(one, own, pictures.judged(size)) for size in pictures.crops}


def _cases(one: Encoder, own: Families, x: Tensor) -> dict[str, list[float]]:
    """Predicted and true variance of every case, and how the two go together within it, in blocks of the picture.

    "map" is the rank correlation of predicted variances and squared errors, "edges" that of the edges in the
    measurement at the same places and the squared errors: what a look at it would say.
    """
    rows: dict[str, list[float]] = {"predicted": [], "true": [], "map": [], "edges": []}
    for k, picture in enumerate(x.split(1)):
        z0 = one.codec.encode(picture)
        for repeat in range(REPEATS):
            y = own.measure(picture, np.random.default_rng([1, k, repeat]))
            z, field = one.tell(y)
            errors = (z - z0).square()
            ratio = y.shape[-1] // z.shape[-1]
            told, true = (_blocks(v, BLOCK * FACTOR // ratio) for v in (field, errors))
            rows["predicted"].append(round(float(field.mean()), 7))
            rows["true"].append(round(float((z - z0).var()), 7))
            rows["map"].append(round(pearson(ranks(told), ranks(true)), 4))
            rows["edges"].append(round(pearson(ranks(_blocks(gradient(y), BLOCK * FACTOR)), ranks(true)), 4))
    return rows


def blur(name: str, pictures: Pictures) -> Study:
    """Every picture at rising blur and one noise: (pictures, levels); and what its detail is."""
    one, x = encoder(name), pictures.crops[max(pictures.crops)]
    shape = tuple(x.shape[1:])
    operators = [parse(f"gaussian-blur:std={std}").build(shape) for std in STDS]
    predicted, true = [], []
    for k, picture in enumerate(x.split(1)):
        z0, noise = one.codec.encode(picture), NOISE * SeededNoise([k]).normal(picture, 0, "measurement")
        told = [one.both(picture_input(a(picture) + noise, a), z0) for a in operators]
        predicted.append([round(p, 7) for p, _ in told])
        true.append([round(t, 7) for _, t in told])
    return {
        "stds": list(STDS),
        "predicted": predicted,
        "true": true,
        "edges": listed(edges(x)),
        "fine": listed(fine(x)),
    }


def edges(x: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels, of the mean over the channels, (b,)."""
    grey = x.mean(1)
    return (grey.diff(dim=-1).square().flatten(1).mean(1) + grey.diff(dim=-2).square().flatten(1).mean(1)) / 2


def fine(x: Tensor) -> Tensor:
    """Mean square of what a mean over 5 x 5 pixels takes away, (b,)."""
    smooth = avg_pool2d(pad(x, (2, 2, 2, 2), mode="reflect"), 5, stride=1)
    return (x - smooth).square().flatten(1).mean(1)


def opening(name: str, pictures: Pictures, factors: Sequence[float]) -> Study:
    """y = c x, and x with noise of the same PSNR: predicted and true variances of both, by factor."""
    one, x = encoder(name), pictures.crops[max(pictures.crops)]
    found: Study = {}
    for c in factors:
        dark = parse(f"hdr:scale={c},pivot=0").build(tuple(x.shape[1:]))
        rows: dict[str, list[float]] = {}
        for k, picture in enumerate(x.split(1)):
            z0, y = one.codec.encode(picture), dark(picture)
            level = (y - picture).square().mean().sqrt()
            noisy = picture + level * SeededNoise([k]).normal(picture, 0, "measurement")
            for kind, shown in (("dark", y), ("noisy", noisy)):
                told = one.both(shown, z0)
                rows.setdefault(f"{kind} predicted", []).append(round(told[0], 7))
                rows.setdefault(f"{kind} true", []).append(round(told[1], 7))
            rows.setdefault("psnr", []).append(round(float(-20 * level.log10()), 3))
        found[str(c)] = rows
    return {"factors": found}


def gradient(y: Tensor) -> Tensor:
    """Squared differences of neighbouring pixels, of the size of y."""
    right, down = pad(y, (0, 1, 0, 0), mode="replicate"), pad(y, (0, 0, 0, 1), mode="replicate")
    return right.diff(dim=-1).square() + down.diff(dim=-2).square()


def _blocks(values: Tensor, side: int) -> Floats:
    return np.asarray(avg_pool2d(values.mean(1, keepdim=True), side).flatten().double().numpy())


def listed(values: Tensor) -> list[float]:
    """For JSON, 7 digits after the point."""
    return [round(float(v), 7) for v in values]
