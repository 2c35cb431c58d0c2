"""Words as a text-conditional network takes them: a pipeline's own tokenizer and text encoder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.checkpoints.announced import announced, elements
from pellucid.checkpoints.diffusers import MISSING, SLACK
from pellucid.checkpoints.folder import read_json, weights_files
from pellucid.errors import PriorError
from pellucid.stable.halves import plainly_named

STEM = "model"  # of the text encoder's weights
LONGEST = 10_000  # characters that are looked at at all
PARTS = ("tokenizer", "text_encoder")


class TextEncoder:
    """What a pipeline's text encoder makes of a text.

    The encoder is loaded when a text is asked for that is not known yet, and then let go: it is needed once, and some
    are larger than the network that is.

    Args:
        folder: of the pipeline, with tokenizer/ and text_encoder/ (a CLIPTextModel, safetensors).
        device: where the results go.

    Raises:
        PriorError: one of the two is missing.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        for part in PARTS:
            if not (folder / part).is_dir():
                raise PriorError(f"{folder} lacks {part}/, without which it does not understand words")
        self.folder, self.device = folder, device
        self._known: dict[str, Tensor] = {}

    def __call__(self, *texts: str) -> list[Tensor]:
        """The embedding of every text, (1, tokens, width) float32. A text too long is cut off, with a warning.

        Raises:
            PriorError: the encoder is damaged, or transformers is not installed.
        """
        if new := [text for text in dict.fromkeys(texts) if text not in self._known]:
            self._known.update(zip(new, self._encoded(new), strict=True))
        return [self._known[text] for text in texts]

    def _encoded(self, texts: list[str]) -> list[Tensor]:
        with plainly_named(self.folder / "text_encoder", STEM) as folder:
            return self._encoded_by(folder, texts)

    def _encoded_by(self, folder: Path, texts: list[str]) -> list[Tensor]:
        held = _require_size(folder)
        try:
            import transformers
        except ImportError as error:
            raise PriorError(f"text-conditional models: {MISSING.format('retrieval')}") from error
        try:
            tokenizer: Any = transformers.CLIPTokenizer.from_pretrained(
                str(self.folder / "tokenizer"), local_files_only=True
            )
            with _without_bars(transformers):
                encoder: Any = transformers.CLIPTextModel.from_pretrained(
                    str(folder), use_safetensors=True, local_files_only=True
                )
            length = int(min(tokenizer.model_max_length, encoder.config.max_position_embeddings))
            for text in texts:
                _warn_if_long(tokenizer, text[:LONGEST], length)
            words = tokenizer(
                [text[:LONGEST] for text in texts],
                padding="max_length",
                max_length=length,
                truncation=True,
                return_tensors="pt",
            )
            mask = words.attention_mask if getattr(encoder.config, "use_attention_mask", None) else None
            with torch.no_grad():
                found: Tensor = encoder.float().eval()(words.input_ids, attention_mask=mask)[0]
        except Exception as error:  # whatever a damaged file makes of the library
            raise PriorError(f"the text encoder of {self.folder} ({held:,} weights) cannot be used: {error}") from error
        return list(found.to(self.device).split(1))


def _require_size(folder: Path) -> int:
    """How many weights the files hold. Raises `PriorError` where the configuration announces far more."""
    from math import prod

    from safetensors import SafetensorError, safe_open

    config, held = read_json(folder / "config.json"), 0
    for path in weights_files(folder, STEM):
        try:
            with safe_open(path, framework="pt") as file:
                held += sum(prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise PriorError(f"{folder} cannot be loaded: {error}") from error

    def build() -> Any:
        import transformers

        words = {key: value for key, value in config.items() if not key.startswith("_")}
        return transformers.CLIPTextModel(transformers.CLIPTextConfig(**words))

    try:
        wanted = elements(announced(build, f"{folder / 'config.json'} describes no text encoder"))
    except ImportError as error:
        raise PriorError(f"text-conditional models: {MISSING.format('retrieval')}") from error
    if wanted > 2 * held + SLACK:
        raise PriorError(f"{folder / 'config.json'} announces {wanted:,} weights, its files hold {held:,}")
    return held


def _warn_if_long(tokenizer: Any, text: str, length: int) -> None:
    count = len(tokenizer(text, truncation=False, verbose=False).input_ids)
    if count > length:
        warnings.warn(
            f"the text has {count} tokens and the model reads {length}: the end is not seen, from about "
            f"{text[-max(1, len(text) * (count - length) // count) :][:40]!r} on",
            stacklevel=2,
        )


@contextmanager
def _without_bars(library: Any) -> Iterator[None]:
    """Without the library's progress bars, which it would write into whatever is running."""
    shown = library.utils.logging.is_progress_bar_enabled()
    library.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            library.utils.logging.enable_progress_bar()
