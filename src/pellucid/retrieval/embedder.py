"""What an embedder is, and which there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from pellucid.errors import CompatibilityError, UnknownNameError
from pellucid.metrics.effnet import BLOCKS, WEIGHTS, load_effnet
from pellucid.retrieval.fit import fit
from pellucid.retrieval.hashing import digest

SHORT = 12  # hexadecimal digits of a hash in a name


class Embedder(Protocol):
    """Pictures, and texts where it can, as vectors whose distance means likeness. It knows nothing of tables.

    Attributes:
        name: its identity, of kind and weights; a table holds vectors of one embedder and refuses every other.
        text: by which `embedder` gives it again; "" where it does not.
        dimension: d, of the vectors.
        side: of the squares that it sees, in pixels.
        unit: whether the vectors have length 1, their distance then being 1 - cosine; otherwise it is the mean square
            of the difference.
    """

    name: str
    text: str
    dimension: int
    side: int
    unit: bool

    def pictures(self, x: Tensor) -> Tensor:
        """(b, 1 or 3, h, w) in [0, 1], of any size -> (b, d) float32; a picture's vector depends on it alone.

        Raises:
            ShapeError: these are no pictures.
        """
        ...

    def texts(self, words: Sequence[str]) -> Tensor:
        """Texts -> (b, d) float32.

        Raises:
            CompatibilityError: the embedder has no text tower.
        """
        ...


def embedder(text: str = "effnet", device: str = "cpu") -> Embedder:
    """An embedder by name.

    Args:
        text: "effnet": EfficientNet-Lite0, from the package index, no download by hand; "pixel": thumbnails, whose
            distance is the mean squared error; or the folder of a vision-language model of transformers (CLIP, BLIP,
            SigLIP), safetensors only, or of one that `pellucid import` made.
        device: where its network goes.

    Raises:
        UnknownNameError: it is neither a name nor a folder.
        MetricError: the weights of EfficientNet-Lite0 are not installed.
        PriorError: the folder's files are missing, damaged, or of no such model.
    """
    if text == "effnet":
        return EffnetEmbedder(device=device)
    if text == "pixel":
        return PixelEmbedder()
    if Path(text).is_dir():
        from pellucid.retrieval.vision_language import VisionLanguageEmbedder

        return VisionLanguageEmbedder(Path(text), device)
    raise UnknownNameError("embedder (or folder)", text, ("effnet", "pixel"))


class EffnetEmbedder:
    """The 1280 numbers before the classifier of EfficientNet-Lite0 (Tan and Le, ICML 2019), averaged over positions.

    It was trained on ImageNet's classes: what it finds is alike in content first, in texture second.

    Args:
        path: a file of weights; None: the published one, wherever it is found.
        device: where the network goes.

    Raises:
        MetricError: the weights are missing or do not fit.
    """

    text, dimension, side, unit = "effnet", 1280, 224, True

    def __init__(self, path: Path | None = None, device: str = "cpu") -> None:
        path = path or WEIGHTS.find()
        self.network, self.device = load_effnet(path).to(device), device
        self.name = f"effnet-lite0:{digest(path)[:SHORT]}"

    @torch.no_grad()
    def pictures(self, x: Tensor) -> Tensor:
        return torch.cat([self._pictures(part) for part in pieces(fit(x, self.side), self.device)])

    def _pictures(self, x: Tensor) -> Tensor:
        network = self.network
        (last,) = network.features(x.to(self.device), (len(BLOCKS) - 1,))
        return unit(network._bn1(network._conv_head(last)).clamp(0, 6).mean((2, 3))).cpu()

    def texts(self, words: Sequence[str]) -> Tensor:
        raise _wordless("effnet")


class PixelEmbedder:
    """Thumbnails of 32 x 32 x 3, for the comparison: |x - x'|^2 / 3072 is their mean squared error."""

    name, text, dimension, side, unit = "pixel:32", "pixel", 3 * 32**2, 32, False

    def pictures(self, x: Tensor) -> Tensor:
        return fit(x, self.side).flatten(1).cpu().contiguous()

    def texts(self, words: Sequence[str]) -> Tensor:
        raise _wordless("pixel")


def pieces(x: Tensor, device: str) -> tuple[Tensor, ...]:
    """A batch in parts whose activations stay small: on a CPU half a gigabyte a layer costs more than it computes."""
    return x.split(8 if device == "cpu" else 128)


def unit(x: Tensor) -> Tensor:
    """Rows of length 1, float32; a row of zeros stays."""
    x = x.float()
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=1e-12)


def _wordless(name: str) -> CompatibilityError:
    return CompatibilityError(
        f"the embedder {name} has no text tower; texts need a vision-language model: --embedder with the folder of CLIP"
    )
