"""Vision-language models of transformers, as embedders of pictures and texts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.checkpoints import folder as imported
from pellucid.checkpoints.announced import announced, elements
from pellucid.checkpoints.folder import read_json, weights_files
from pellucid.errors import CompatibilityError, PriorError
from pellucid.retrieval.embedder import SHORT, pieces, unit
from pellucid.retrieval.fit import fit
from pellucid.retrieval.hashing import digest

MODELS = ("CLIPModel", "SiglipModel", "BlipModel", "BlipForImageTextRetrieval", "AltCLIPModel", "ChineseCLIPModel")
# What CLIP was trained with, and all that do not say otherwise.
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model")
SLACK = 2**20  # weights that a configuration may announce beyond twice those in the files
LARGEST_SIDE = 4096


class VisionLanguageEmbedder:
    """A folder of CLIP (Radford et al., 2021), BLIP (Li et al., 2022) or SigLIP, safetensors only.

    The picture is cut to the square in its middle and reduced (bicubic) to the side of the model's configuration, then
    normalised by the mean and deviation of preprocessor_config.json, or CLIP's own. BLIP and SigLIP as published
    squeeze the whole picture into the square instead.

    Args:
        folder: config.json and weights, as transformers writes them or `pellucid import` makes them (kind clip); for
            texts its tokenizer's files too.
        device: where the network goes.

    Raises:
        PriorError: files are missing, damaged or do not fit, it is another model, or transformers is not installed.
    """

    unit = True

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        config = read_json(folder / "config.json")
        kind = _kind(config, folder)
        files = weights_files(folder, "model")
        library = _library()
        self.folder, self.device, self._tokenizer = folder, device, None
        self.model: Any = _load(library, kind, config, folder, device)
        settings: Any = self.model.config
        self.side = int(settings.vision_config.image_size)
        if not 1 <= self.side <= LARGEST_SIDE:
            raise PriorError(f"{folder} takes pictures of {self.side} pixels, which cannot be")
        self._mean, self._std = _normalisation(folder)
        self.text = str(folder.resolve())
        self.name = f"{kind}:{_identity(files, folder)}"
        with torch.no_grad():
            self.dimension = int(self._pictures(torch.zeros(1, 3, self.side, self.side)).shape[1])

    @torch.no_grad()
    def pictures(self, x: Tensor) -> Tensor:
        return torch.cat([unit(self._pictures(part)).cpu() for part in pieces(fit(x, self.side), self.device)])

    @torch.no_grad()
    def texts(self, words: Sequence[str]) -> Tensor:
        tokens = self._tokens(words)
        if hasattr(self.model, "get_text_features"):
            return unit(_tensor(self.model.get_text_features(**tokens))).cpu()
        hidden = self.model.text_encoder(**tokens).last_hidden_state
        return unit(self.model.text_proj(hidden[:, 0])).cpu()

    def _pictures(self, x: Tensor) -> Tensor:
        mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (self._mean, self._std))
        x = ((x - mean) / std).to(self.device)
        if hasattr(self.model, "get_image_features"):
            return _tensor(self.model.get_image_features(pixel_values=x))
        projected: Tensor = self.model.vision_proj(self.model.vision_model(pixel_values=x).last_hidden_state[:, 0])
        return projected

    def _tokens(self, words: Sequence[str]) -> dict[str, Tensor]:
        if self._tokenizer is None:
            if not any((self.folder / name).is_file() for name in TOKENIZERS):
                raise CompatibilityError(
                    f"{self.folder} holds no tokenizer, so it has no use for texts; copy tokenizer.json (of CLIP: "
                    "vocab.json and merges.txt) from the place where the model was published into it"
                )
            try:
                self._tokenizer = _library().AutoTokenizer.from_pretrained(
                    str(self.folder), local_files_only=True, trust_remote_code=False
                )
            except Exception as error:  # whatever a damaged file makes of the library
                raise PriorError(f"the tokenizer of {self.folder} cannot be loaded: {error}") from error
        tokenizer: Any = self._tokenizer
        longest = int(self.model.config.text_config.max_position_embeddings)
        made = tokenizer(list(words), padding="max_length", max_length=longest, truncation=True, return_tensors="pt")
        wanted = ("input_ids", "attention_mask")
        return {key: value.to(self.device) for key, value in made.items() if key in wanted}


def _kind(config: dict[str, Any], folder: Path) -> str:
    named = config.get("architectures")
    kind = str(named[0]) if isinstance(named, list) and named else ""
    if kind not in MODELS:
        what = f"a {kind}" if kind else "no model that is named"
        raise PriorError(f"{folder} holds {what}; embedders are {', '.join(MODELS)}")
    return kind


def _library() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise PriorError("vision-language models need the extra: pip install 'pellucid[retrieval]'") from error
    return transformers


def _load(library: Any, kind: str, config: dict[str, Any], folder: Path, device: str) -> nn.Module:
    if (folder / "card.json").is_file() and "checkpoint" in read_json(folder / "card.json"):
        module: nn.Module = imported.load(folder, device, role="embedding")
        return module
    made = getattr(library, kind)
    _check_size(made, config, folder)
    try:
        with _without_bars(library):
            model, info = made.from_pretrained(
                str(folder), use_safetensors=True, local_files_only=True, output_loading_info=True, dtype=torch.float32
            )
    except Exception as error:  # whatever a damaged file makes of the library
        raise PriorError(f"{folder} cannot be loaded: {error}") from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        # Older files also hold the places' numbers, which the library now counts itself.
        if found := [key for key in map(str, info.get(what) or ()) if not key.endswith("position_ids")]:
            raise PriorError(f"{folder}: its weights do not fit its config.json: {len(found)} {what}, first {found[0]}")
    loaded: nn.Module = model.eval().requires_grad_(False).to(device)
    return loaded


def _check_size(kind: Any, config: dict[str, Any], folder: Path) -> None:
    """Refuses a configuration that announces far more numbers than its files hold, before memory is taken for them."""
    from safetensors import SafetensorError, safe_open

    what = f"{folder / 'config.json'} describes no network"
    wanted = elements(announced(lambda: kind(kind.config_class.from_dict(dict(config))), what))
    held = 0
    for path in weights_files(folder, "model"):
        try:
            with safe_open(path, framework="pt") as file:
                held += sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise PriorError(f"{folder} cannot be loaded: {error}") from error
    if wanted > 2 * held + SLACK:
        raise PriorError(f"{folder / 'config.json'} announces {wanted:,} weights, its files hold {held:,}")


def _normalisation(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return MEAN, STD
    config = read_json(path)
    try:
        mean = tuple(float(v) for v in config.get("image_mean", MEAN))
        std = tuple(float(v) for v in config.get("image_std", STD))
    except (TypeError, ValueError) as error:
        raise PriorError(f"{path}: its image_mean and image_std are no numbers") from error
    if len(mean) != 3 or len(std) != 3 or not all(0 < v < math.inf for v in std) or not all(map(math.isfinite, mean)):
        raise PriorError(f"{path}: its image_mean and image_std are not three numbers each, above 0 for the latter")
    return mean, std


def _identity(files: list[Path], folder: Path) -> str:
    """Of the weights and of how pictures are brought to them."""
    total = hashlib.sha256()
    for path in [*files, folder / "config.json", folder / "preprocessor_config.json"]:
        if path.is_file():
            total.update(digest(path).encode())
    return total.hexdigest()[:SHORT]


def _tensor(found: Any) -> Tensor:
    """Features, which newer versions of the library wrap."""
    features: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return features


@contextmanager
def _without_bars(library: Any) -> Iterator[None]:
    logging = library.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
