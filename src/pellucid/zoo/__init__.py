"""The shipped networks: a folder each, holding `model.safetensors` (float16) and `card.json`. Nothing is unpickled.

`photo` comes with the package; the others with the distribution `pellucid-zoo`, or lie in a checkout's `zoo/`.
"""

from __future__ import annotations

import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import torch

from pellucid.errors import PellucidError, PriorError, UnknownNameError
from pellucid.nn.edm import EDMDenoiser
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.process import DiscreteVP
from pellucid.zoo.card import Card
from pellucid.zoo.weights import read_weights

if TYPE_CHECKING:
    from pellucid.codec.autoencoder import AutoencoderCodec
    from pellucid.degradation import Degradation

DEFAULT = "photo"


def folders() -> list[Path]:
    """Where networks are looked for: $PELLUCID_ZOO, the package, the distribution `pellucid-zoo`, a checkout."""
    here = Path(__file__).resolve().parent
    places = [here, here.parents[2] / "zoo"]
    if (more := find_spec("pellucid_zoo")) is not None and more.submodule_search_locations:
        places[1:1] = [Path(place) for place in more.submodule_search_locations]
    if extra := os.environ.get("PELLUCID_ZOO"):
        places.insert(0, Path(extra))
    return [place for place in places if place.is_dir()]


def available() -> list[Card]:
    """The cards of all networks found, the first of each name; a damaged one is passed over with a warning."""
    cards: dict[str, Card] = {}
    for place in folders():
        for path in sorted(place.glob("*/card.json")):
            try:
                card = Card.read(path.parent)
            except PriorError as error:
                warnings.warn(f"passed over: {error}", stacklevel=2)
                continue
            cards.setdefault(card.name, card)
    return list(cards.values())


def load(
    name: str | Path = DEFAULT, device: str = "cpu", precision: str = "auto", *, checkpoint: bool = False
) -> DiffusionPrior:
    """A shipped prior by name, or any prior by its folder (ours, or a diffusers UNet2DModel or pipeline folder).

    Args:
        name: a name that `available` knows, or a folder.
        device: where the network goes.
        precision: "auto" is bfloat16 where it pays (see `fast_dtype`), "float32" or "bfloat16" say it outright;
            "openvino" and "onnxruntime" compile the network for the CPU, forward only (see `prior.compiled`).
        checkpoint: gradients through an autoencoder's decoder take less memory and more time: what it computed on the
            way is computed again, part by part. Results are the same to rounding.

    Raises:
        UnknownNameError: no prior of that name, and no such folder.
        PriorError: files are missing or damaged, the precision is none of these, or `checkpoint` is asked of a prior
            without an autoencoder.
    """
    prior = _load(name, device, precision)
    if checkpoint:
        from pellucid.codec.autoencoder import AutoencoderCodec

        if not isinstance(prior.codec, AutoencoderCodec):
            raise PriorError(f"{name} has no autoencoder whose decoder could save memory; only latent priors have one")
        prior.codec.checkpoint = True
    return prior


def _load(name: str | Path, device: str, precision: str) -> DiffusionPrior:
    if precision == "openvino" or precision == "onnxruntime":
        from pellucid.prior.compiled import compiled

        return compiled(load(name, "cpu", "float32"), precision)  # type: ignore[arg-type]
    autocast = _autocast(precision, device)
    folder = find(name)
    if (folder / "card.json").is_file():
        card = Card.read(folder)
        if card.kind == "estimator":
            raise PriorError(
                f"{name} is a supervised network, no prior; it is a method of its own: -m {quote(str(name))}"
            )
        if card.imported:
            if card.kind == "restoration-prior":
                from pellucid.checkpoints.restoration import load_restoration

                return load_restoration(folder, device, autocast)
            from pellucid.checkpoints.folder import load as load_imported

            prior: DiffusionPrior = load_imported(folder, device, autocast, role="prior")
            return prior
        return _own(card, device, autocast)
    if is_run(folder):
        raise PriorError(
            f"{folder} is a run of `pellucid train`, no prior; ship it first: "
            f"pellucid train ship {quote(str(folder))} --to OTHER, then --prior OTHER"
        )
    if any((folder / path).is_file() for path in ("config.json", "unet/config.json")):
        from pellucid.checkpoints.diffusers import load_folder

        return load_folder(folder, device, autocast)
    raise PriorError(f"{folder} holds neither card.json nor a diffusers config.json")


def is_run(folder: Path) -> bool:
    """Whether a folder is one that training writes: config.json beside checkpoints/, and no weights of diffusers."""
    written = (folder / "config.json").is_file() and (folder / "checkpoints").is_dir()
    return written and not any(folder.glob("*.safetensors"))


def find(name: str | Path, what: str = "prior") -> Path:
    """The folder of a shipped network, or the folder itself.

    Args:
        name: of the network, or its folder.
        what: it is looked for, for the error's text.

    Raises:
        UnknownNameError: there is neither.
    """
    cards = available()
    folder = {card.name: card.folder for card in cards}.get(str(name), Path(name))
    if not folder.is_dir():
        raise UnknownNameError(what, str(name), [card.name for card in cards if what in ("prior", card.kind)])
    return folder


def load_module(name: str | Path, kind: str, device: str = "cpu") -> tuple[torch.nn.Module, Card]:
    """A shipped network of one kind, with its card.

    Raises:
        UnknownNameError: there is none of that name.
        PriorError: it is of another kind, or files are missing or damaged.
    """
    from pellucid.zoo.networks import build, placed

    card = Card.read(find(name, kind))
    if card.kind != kind:
        same = ", ".join(known.name for known in available() if known.kind == kind) or "none is installed"
        raise PriorError(f"{card.name} is of the kind {card.kind!r}, not {kind!r}; of that kind: {same}")
    if card.imported:
        raise PriorError(f"{card.folder} was imported; pellucid.checkpoints.folder.load reads it")
    return placed(build(card), device), card


def load_estimator(name: str | Path, device: str = "cpu") -> torch.nn.Module:
    """A supervised network y -> x by name, or by its folder (ours, or an imported one of the role "estimator": SwinIR).

    Raises:
        UnknownNameError, PriorError: as `load_module`.
    """
    folder = find(name, "estimator")
    if (folder / "card.json").is_file() and Card.read(folder).imported:
        from pellucid.checkpoints.folder import load as load_imported

        imported: torch.nn.Module = load_imported(folder, device, role="estimator")
        return imported
    return load_module(name, "estimator", device)[0]


def load_autoencoder(name: str | Path, device: str = "cpu", precision: str = "float32") -> AutoencoderCodec:
    """A shipped autoencoder by name, or any by its folder (ours, or a diffusers VQModel or AutoencoderKL), as a codec.

    Raises:
        UnknownNameError, PriorError: as `load_module`.
    """
    from pellucid.checkpoints.autoencoders import load_autoencoder as load_foreign
    from pellucid.codec.autoencoder import AutoencoderCodec

    folder, autocast = find(name, "autoencoder"), _autocast(precision, device)
    if not (folder / "card.json").is_file() or "network" not in Card.read(folder).data:
        return load_foreign(folder, device, autocast)
    module, card = load_module(folder, "autoencoder", device)
    return AutoencoderCodec(module, autocast=autocast, origin=card.data.get("sha256"))


def _own(card: Card, device: str, autocast: torch.dtype | None) -> DiffusionPrior:
    """The prior of a card in our own format; a blind denoiser is one for plug-and-play methods."""
    from pellucid.zoo.networks import build, placed

    if card.kind == "denoiser":
        from pellucid.nn.picture_denoiser import PictureDenoiser

        blind = PictureDenoiser(placed(build(card), device), None)
        channels = card.data["network"].get("channels", 3)
        return DiffusionPrior(blind, predicts="denoiser", channels=channels, autocast=autocast, plug_and_play="blind")
    if card.kind == "dirac":
        return _restoration(card, device, autocast)
    if card.kind not in ("prior", "latent-prior"):
        raise PriorError(f"{card.name} is of the kind {card.kind!r}, no prior; `pellucid list priors` shows which are")
    denoiser = build(card)
    assert isinstance(denoiser, EDMDenoiser)
    network: Any = denoiser.network
    latent = card.kind == "latent-prior"
    return DiffusionPrior(
        placed(denoiser, device),
        _process(card),
        "denoiser",
        codec=_codec(card, device, autocast) if latent else None,
        multiple=network.multiple,
        channels=None if latent else card.data["network"].get("channels", 3),
        autocast=autocast,
    )


def _restoration(card: Card, device: str, autocast: torch.dtype | None) -> DiffusionPrior:
    """Dirac's prior of a card, on the process that it was trained on."""
    from pellucid.prior.dirac import DiracPrior
    from pellucid.zoo.networks import build, placed

    words = card.data.get("process")
    model: Any = placed(build(card), device)
    return DiracPrior.of(model, degradation(words, card), autocast=autocast, tuned=_tuned(card))


def _tuned(card: Card) -> dict[str, Any]:
    """`points` and `tradeoff` of a Dirac card's calibration, as `DiracPrior` takes them. Raises `PriorError`."""
    known = card.data.get("calibration", {})
    points, places = (known.get("points", {}), known.get("tradeoff", [])) if isinstance(known, dict) else (None, None)
    tables = isinstance(points, dict) and all(isinstance(words, dict) for words in points.values())
    if not tables or not isinstance(places, list) or not all(isinstance(place, dict) for place in places):
        raise PriorError(f"{card.folder / 'card.json'}: its calibration is no table of points and a list of places")
    return {"points": points, "tradeoff": places}


def degradation(words: Any, card: Card) -> Degradation:
    """The degradation process of a card: `family`, `noise`, and the points of a `schedule` of its own.

    Raises:
        PriorError: the card says none, or one that does not exist.
    """
    from pellucid.degradation import Degradation, Geometric
    from pellucid.operators.families.named import family

    try:
        low, high = (float(value) for value in words["noise"])
        return Degradation(family(str(words["family"]), words.get("schedule")), Geometric(low, high))
    except (TypeError, KeyError, ValueError, ArithmeticError, PellucidError) as error:
        raise PriorError(f"{card.folder / 'card.json'}: its process cannot be used: {error}") from error


def _process(card: Card) -> DiscreteVP:
    """The card's schedule; without one, latent diffusion's betas or DDPM's."""
    from pellucid.checkpoints.diffusers import schedule

    words = card.data.get("schedule")
    if words is None:
        return DiscreteVP.scaled_linear() if card.kind == "latent-prior" else DiscreteVP.linear()
    if not isinstance(words, dict):
        raise PriorError(f"{card.folder / 'card.json'}: its schedule is no table of words")
    return schedule(words)


def _codec(card: Card, device: str, autocast: torch.dtype | None) -> AutoencoderCodec:
    """The autoencoder of a latent prior: the one that lies beside it, or a shipped one."""
    name = card.data.get("codec")
    if not isinstance(name, str):
        raise PriorError(f"{card.folder / 'card.json'} is of a latent prior and names no codec")
    beside = card.folder.parent / name
    folder = beside if beside.is_dir() else find(name)
    known, found = card.data.get("codec_sha256"), _sha256(folder)
    if known is not None and found is not None and known != found:
        raise PriorError(
            f"{card.name} was trained on another {name}: its sha256 is {found[:12]}..., the card says {str(known)[:12]}"
            "...; take the two from one release, or train the prior again"
        )
    return load_autoencoder(folder, device, "bfloat16" if autocast is not None else "float32")


def _sha256(folder: Path) -> str | None:
    """Of a network in our own format, as its card says; None for another folder."""
    data = Card.read(folder).data if (folder / "card.json").is_file() else {}
    return data.get("sha256") if "network" in data else None


def fast_dtype(device: str) -> torch.dtype | None:
    """bfloat16 on a CPU with avx512_bf16 or AMX and on a GPU that has it; None elsewhere: emulated, it is slower."""
    if device.startswith("cpu"):
        features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return torch.bfloat16 if features.get("avx512_bf16") or features.get("amx_bf16") else None
    return torch.bfloat16 if device.startswith("cuda") and torch.cuda.is_bf16_supported() else None


def _autocast(precision: str, device: str) -> torch.dtype | None:
    if precision == "auto":
        return fast_dtype(device)
    try:
        return {"float32": None, "bfloat16": torch.bfloat16}[precision]
    except KeyError:
        raise PriorError(
            f"precision must be auto, float32, bfloat16, openvino or onnxruntime, not {precision!r}"
        ) from None


def example() -> Path:
    """The packaged example picture (its source and licence are in the card of `photo`).

    Raises:
        PriorError: it is not installed.
    """
    for place in folders():
        if (path := place / DEFAULT / "example.png").is_file():
            return path
    raise PriorError("the example picture is not installed; reinstall pellucid")


__all__ = [
    "DEFAULT",
    "Card",
    "available",
    "example",
    "fast_dtype",
    "find",
    "folders",
    "load",
    "load_autoencoder",
    "load_estimator",
    "load_module",
    "read_weights",
]
