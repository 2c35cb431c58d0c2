"""A supervised network as a method: the baseline that is trained for one degradation."""

from __future__ import annotations

from pathlib import Path

from pellucid.grid import Nowhere
from pellucid.method import Method
from pellucid.start.admm import TotalVariation
from pellucid.start.base import Start
from pellucid.start.fbp import Fbp
from pellucid.start.initial import PseudoInverse
from pellucid.start.network import Restored
from pellucid.transition import DDIM


def supervised(network: str | Path) -> Method:
    """x = F(y): a network trained for one degradation, or one family, such as SwinIR; no prior, no noise level.

    Reference: Liang et al., SwinIR: Image Restoration Using Swin Transformer, ICCV Workshops 2021; as the baseline of
    Adapt and Diffuse, ICML 2024. For tomography a UNet is shown the filtered back-projection: Jin et al., Deep
    Convolutional Neural Network for Inverse Problems in Imaging, IEEE TIP 2017, the "FBP-UNet" of ReSample, ICLR 2024.

    Args:
        network: a shipped estimator's name (`photo-swinir-sr4`), or a folder: of `pellucid train ship`, or of an
            imported SwinIR.
    """
    return Method(Nowhere(), DDIM(), start=restored(network), name=str(network))


def initial_estimate(word: str | Start | None, otherwise: Start) -> Start:
    """The start that a word names: "pinv" (A^+ y), "fbp", "tv" (total variation), or a network's name or folder.

    Raises:
        UnknownNameError, PriorError: there is no such network, or it cannot be read.
    """
    if word is None:
        return otherwise
    if isinstance(word, Start):
        return word
    named: dict[str, Start] = {"pinv": PseudoInverse(), "fbp": Fbp(), "tv": TotalVariation()}
    return named[word] if word in named else restored(word)


def restored(network: str | Path) -> Restored:
    """A supervised network by name or folder, as a start.

    Raises:
        UnknownNameError, PriorError: there is no such network, or it cannot be read.
    """
    from pellucid.zoo import load_estimator

    return Restored(load_estimator(network))


def estimators() -> list[str]:
    """Names of the supervised networks at hand."""
    from pellucid.zoo import available

    return [card.name for card in available() if card.kind == "estimator"]


def is_estimator(name: str) -> bool:
    """Whether a name or folder is that of a supervised network."""
    from pellucid.zoo import Card

    if name in estimators():
        return True
    folder = Path(name)
    if not (folder / "card.json").is_file():
        return False
    return Card.read(folder).kind == "estimator"
