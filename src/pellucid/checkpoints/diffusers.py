"""Priors from diffusers folders: a U-Net alone, or a pipeline of a U-Net with its autoencoder and text encoder."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.checkpoints.announced import announced, elements
from pellucid.checkpoints.folder import read_json, weights_files
from pellucid.checkpoints.kinds import DIFFUSERS
from pellucid.codec import AffineCodec, Codec
from pellucid.errors import PriorError
from pellucid.prior.diffusion import DiffusionPrior, Prediction
from pellucid.process import VE, DiscreteVP, Process

PREDICTIONS: dict[str, Prediction] = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
VARIANCE_EXPLODING = "ScoreSdeVeScheduler"
SLACK = 2**20  # weights that a configuration may announce beyond twice those in the files
MOST_STEPS = 100_000
MISSING = "this needs the extra: pip install 'pellucid[{}]'"


def load_folder(
    folder: Path, device: str = "cpu", autocast: torch.dtype | None = None, label: int | None = None
) -> DiffusionPrior:
    """A prior from a diffusers folder; safetensors only.

    Takes `folder/config.json` of a UNet2DModel, or a pipeline: `folder/unet/` with `folder/scheduler/`, and where it is
    a latent one `folder/vqvae/` or `folder/vae/`; a UNet2DConditionModel (Stable Diffusion) is conditioned on the empty
    text by `folder/tokenizer/` and `folder/text_encoder/`. Without a scheduler the linear schedule of 1000 betas and
    eps-prediction are assumed, as UNet2DModel's own examples do; a ScoreSdeVeScheduler means noise that explodes, a
    network that takes pictures in [0, 1] and the noise level and gives the score.

    Args:
        folder: see above.
        device: where the networks go.
        autocast: dtype of their forward passes.
        label: the class, for a class-conditional network.

    Raises:
        PriorError: the folder is none of these, its weights are no safetensors or do not fit, its schedule is unknown,
            or a class-conditional network is given no class.
    """
    unet = folder / "unet" if (folder / "unet").is_dir() else folder
    codec = _codec(folder, device, autocast)
    model = load_model(unet, ("UNet2DModel", "UNet2DConditionModel"), device)
    config: Any = model.config  # with the defaults of what the file leaves out
    channels, out = config["in_channels"], config["out_channels"]
    if out not in (channels, 2 * channels):
        raise PriorError(
            f"{unet} takes {channels} channels and gives {out}: it is conditioned on a picture (an upscaler, "
            "an inpainting model), which a prior is not"
        )
    network: nn.Module
    if type(model).__name__ == "UNet2DConditionModel":
        network = Conditioned(model, empty_text(folder, device))
    elif config.get("num_class_embeds") and config.get("class_embed_type") is None:
        network = _Sample(model, _label(folder, label, int(config["num_class_embeds"])))
    else:
        network = _Sample(model, None)
    scheduler = scheduler_config(folder)
    exploding = scheduler.get("_class_name") == VARIANCE_EXPLODING
    return DiffusionPrior(
        network,
        process(scheduler),
        "score" if exploding else _prediction(scheduler),
        learned_variance=out == 2 * channels,
        codec=codec or (AffineCodec(1.0, 0.0) if exploding else AffineCodec()),
        multiple=2 ** (len(config["block_out_channels"]) - 1),
        channels=channels,
        autocast=autocast,
    )


def load_model(folder: Path, kinds: tuple[str, ...], device: str = "cpu") -> nn.Module:
    """A diffusers model from its folder, strictly, in eval mode and without gradients.

    Args:
        folder: with config.json and safetensors.
        kinds: names of the diffusers classes that will do.
        device: where it goes.

    Raises:
        PriorError: it is of another class, its weights are missing, damaged or no safetensors, or do not fit.
    """
    config = read_json(folder / "config.json")
    name = config.get("_class_name")
    if name not in kinds:
        raise PriorError(f"{folder} holds a {name}, not a {' or '.join(kinds)}")
    try:
        import diffusers
    except ImportError as error:
        raise PriorError(f"diffusers folders: {MISSING.format('diffusers')}") from error
    _check_size(getattr(diffusers, name), config, folder)
    try:
        model, info = getattr(diffusers, name).from_pretrained(
            str(folder), use_safetensors=True, local_files_only=True, output_loading_info=True, low_cpu_mem_usage=False
        )
    except Exception as error:  # whatever a damaged file makes of the library
        raise PriorError(f"{folder} cannot be loaded: {error}") from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if found := list(info.get(what) or ()):
            raise PriorError(f"{folder}: its weights do not fit its config.json: {len(found)} {what}, first {found[0]}")
    loaded: nn.Module = model.eval().requires_grad_(False)
    return loaded.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def _check_size(kind: Any, config: dict[str, Any], folder: Path) -> None:
    """Refuses a configuration that announces far more numbers than its files hold, before memory is taken for them.

    Names are not compared: diffusers itself renames some of older folders.
    """
    from safetensors import SafetensorError, safe_open

    known = inspect.signature(kind.__init__).parameters
    words = {key: value for key, value in config.items() if key in known}
    wanted = elements(announced(lambda: kind(**words), f"{folder / 'config.json'} describes no network"))
    held = 0
    for path in weights_files(folder, DIFFUSERS):
        try:
            with safe_open(path, framework="pt") as file:
                held += sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise PriorError(f"{folder} cannot be loaded: {error}") from error
    if wanted > 2 * held + SLACK:
        raise PriorError(f"{folder / 'config.json'} announces {wanted:,} weights, its files hold {held:,}")


class _Sample(nn.Module):
    """A diffusers model as a function of (x, timestep), for one class where it has classes."""

    def __init__(self, model: nn.Module, label: int | None) -> None:
        super().__init__()
        self.model, self.label = model, label

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        label = None if self.label is None else torch.full((len(x),), self.label, device=x.device)
        out: Tensor = self.model(x, timestep, class_labels=label, return_dict=False)[0]
        return out


class Conditioned(nn.Module):
    """A UNet2DConditionModel with one text for all, as a function of (x, timestep).

    Args:
        model: the U-Net.
        text: embedding of the text, (1, tokens, width).
    """

    text: Tensor

    def __init__(self, model: nn.Module, text: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("text", text)

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        text = self.text.to(x.dtype).expand(len(x), -1, -1)
        out: Tensor = self.model(x, timestep, encoder_hidden_states=text, return_dict=False)[0]
        return out


def empty_text(folder: Path, device: str = "cpu") -> Tensor:
    """What a pipeline's own tokenizer and text encoder make of the empty text, (1, tokens, width).

    Raises:
        PriorError: they are missing or damaged, or transformers is not installed.
    """
    for part in ("tokenizer", "text_encoder"):
        if not (folder / part).is_dir():
            raise PriorError(f"{folder} lacks {part}/, which a text-conditional model needs for its empty text")
    weights_files(folder / "text_encoder", "model")
    try:
        import transformers
    except ImportError as error:
        raise PriorError(f"text-conditional models: {MISSING.format('retrieval')}") from error
    try:
        tokenizer = transformers.CLIPTokenizer.from_pretrained(str(folder / "tokenizer"), local_files_only=True)
        with _without_bars(transformers):
            encoder: Any = transformers.CLIPTextModel.from_pretrained(
                str(folder / "text_encoder"), use_safetensors=True, local_files_only=True
            )
        length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
        tokens = tokenizer("", padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        with torch.no_grad():
            text: Tensor = encoder.float().eval()(tokens.input_ids)[0]
    except Exception as error:  # whatever a damaged file makes of the library
        raise PriorError(f"the text encoder of {folder} cannot be loaded: {error}") from error
    return text.to(device)


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


def _label(folder: Path, label: int | None, classes: int) -> int:
    if label is None or not 0 <= label < classes:
        raise PriorError(
            f"{folder} is class-conditional: say the class, 0 to {classes - 1}, when it is imported "
            '(pellucid import ... --set label=N) or as "label" in its card.json'
        )
    return label


def _codec(folder: Path, device: str, autocast: torch.dtype | None) -> Codec | None:
    """The autoencoder of a latent pipeline; None where there is none."""
    for part in ("vqvae", "vae"):
        if (folder / part).is_dir():
            from pellucid.checkpoints.autoencoders import load_autoencoder

            return load_autoencoder(folder / part, device, autocast)
    return None


def process(config: dict[str, Any]) -> Process:
    """The process of a diffusers scheduler configuration. Raises `PriorError` for an unknown one."""
    if config.get("_class_name") == VARIANCE_EXPLODING:
        return VE(float(config.get("sigma_max", 1348.0)), float(config.get("sigma_min", 0.01)))
    return schedule(config)


def schedule(config: dict[str, Any]) -> DiscreteVP:
    """The variance-preserving process of a scheduler configuration. Raises `PriorError` for unknown betas."""
    try:
        betas = torch.tensor(config.get("trained_betas") or (), dtype=torch.float64)
        steps = int(config.get("num_train_timesteps", 1000))
        first, last = float(config.get("beta_start", 1e-4)), float(config.get("beta_end", 0.02))
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise PriorError(f"the scheduler's configuration cannot be read: {error}") from error
    if not 1 <= steps <= MOST_STEPS or not (0 < first < 1 and 0 < last < 1):
        raise PriorError(
            f"the scheduler has {steps} betas from {first} to {last}; wanted: up to {MOST_STEPS} in (0, 1)"
        )
    if betas.ndim != 1 or not bool(((betas > 0) & (betas < 1)).all()):
        raise PriorError("the scheduler's trained_betas are no list of numbers in (0, 1)")
    if len(betas):
        return DiscreteVP(betas)
    kind = config.get("beta_schedule", "linear")
    if kind == "linear":
        return DiscreteVP.linear(steps, first, last)
    if kind == "scaled_linear":
        return DiscreteVP.scaled_linear(steps, first, last)
    if kind == "squaredcos_cap_v2":
        return DiscreteVP.cosine(steps)
    raise PriorError(
        f"the scheduler's beta_schedule {kind!r} is unknown; known are linear, scaled_linear, squaredcos_cap_v2"
    )


def _prediction(config: dict[str, Any]) -> Prediction:
    kind = config.get("prediction_type", "epsilon")
    if kind not in PREDICTIONS:
        raise PriorError(f"the scheduler's prediction_type {kind!r} is unknown; known are {', '.join(PREDICTIONS)}")
    return PREDICTIONS[kind]


def scheduler_config(folder: Path) -> dict[str, Any]:
    """The scheduler's configuration of a pipeline folder, {} where it has none."""
    for path in (folder / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json"):
        if path.is_file():
            return read_json(path)
    return {}
