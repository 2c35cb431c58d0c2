"""R6: the memory that methods take beside their networks, each in a fresh process, on the shapes of the papers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pellucid import zoo
from pellucid.bench.claims.hard import opened
from pellucid.bench.run import save_json
from pellucid.cli.console import say
from pellucid.codec.autoencoder import AutoencoderCodec
from pellucid.consistency.hard_released import ReleasedHardConsistency
from pellucid.errors import PriorError
from pellucid.loop import reconstruct
from pellucid.method import Method
from pellucid.methods.dps import dps
from pellucid.methods.ldps import ldps
from pellucid.methods.psld import psld
from pellucid.methods.resample import released, resample
from pellucid.methods.unconditional import unconditional
from pellucid.metrics.memory import peak_memory
from pellucid.operators import parse
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.problem import Problem
from pellucid.process import DiscreteVP

OPERATOR = "gaussian-blur:std=3"
PAPER = {"resample": 26, "psld": 140, "dps": 175}
"""Percent, Table 4: in resample's row 3969 MB of model and 1040 MB beside it."""

UNET = {
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": (224, 448, 672, 896),
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", *("AttnDownBlock2D",) * 3),
    "up_block_types": (*("AttnUpBlock2D",) * 3, "UpBlock2D"),
    "attention_head_dim": 32,
    "norm_eps": 1e-5,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "downsample_padding": 1,
}
VQ = {
    "latent_channels": 3,
    "vq_embed_dim": 3,
    "num_vq_embeddings": 8192,
    "block_out_channels": (128, 256, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "scaling_factor": 1.0,
}
PIXELS = {
    "in_channels": 3,
    "out_channels": 6,
    "block_out_channels": (128, 128, 256, 256, 512, 512),
    "layers_per_block": 1,
    "down_block_types": (*("ResnetDownsampleBlock2D",) * 4, "AttnDownBlock2D", "ResnetDownsampleBlock2D"),
    "up_block_types": ("ResnetUpsampleBlock2D", "AttnUpBlock2D", *("ResnetUpsampleBlock2D",) * 4),
    "downsample_type": "resnet",
    "upsample_type": "resnet",
    "resnet_time_scale_shift": "scale_shift",
    "attention_head_dim": 64,
    "attn_norm_num_groups": 32,
    "norm_eps": 1e-5,
    "freq_shift": 0,
}


class Sampled(nn.Module):
    """A diffusers model as a function of (x, timestep)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.model(x, timestep, return_dict=False)[0]
        return out


def latent_diffusion(precision: str, checkpoint: bool) -> DiffusionPrior:
    """LDM-VQ-4's shape, with random weights: 274 million parameters, and 55 million of the autoencoder VQ-f4."""
    diffusers = _diffusers()
    torch.manual_seed(0)
    dtype = torch.bfloat16 if precision == "bfloat16" else None
    codec = AutoencoderCodec(_frozen(diffusers.VQModel(**VQ)), checkpoint=checkpoint, autocast=dtype)
    unet = Sampled(_frozen(diffusers.UNet2DModel(**UNET)))
    return DiffusionPrior(unet, DiscreteVP.scaled_linear(), codec=codec, channels=3, autocast=dtype)


def pixel_diffusion(precision: str, checkpoint: bool) -> DiffusionPrior:
    """The shape of ADM as DPS trained it on faces, with random weights: 94 million parameters."""
    torch.manual_seed(0)
    dtype = torch.bfloat16 if precision == "bfloat16" else None
    unet = Sampled(_frozen(_diffusers().UNet2DModel(**PIXELS)))
    return DiffusionPrior(unet, DiscreteVP.linear(), learned_variance=True, channels=3, autocast=dtype)


def shipped(precision: str, checkpoint: bool) -> DiffusionPrior:
    """`photo-latent`."""
    return zoo.load("photo-latent", "cpu", precision, checkpoint=checkpoint)


def hard() -> Method:
    """ReSample's latent stage, once and short: as much memory as its whole run but for L-BFGS's pairs of latents."""
    return resample(2, every=1, latent_steps=1, begin=1.0, switch=1.0, finish=False)


def hard_as_released() -> Method:
    """As published, with few and short visits, which take the memory of long ones."""
    method = released(2, 1, 1)
    assert isinstance(method.consistency, ReleasedHardConsistency)
    return replace(method, consistency=replace(method.consistency, every=1, begin=1.0, switch=0.0, lookahead=1))


Make = Callable[[str, bool], DiffusionPrior]
MODELS: dict[str, Make] = {"ldm-vq-4": latent_diffusion, "adm-ffhq": pixel_diffusion, "photo-latent": shipped}
LATENT: dict[str, tuple[Callable[[], Method], bool]] = {
    "unconditional": (partial(unconditional, 2), False),
    "unconditional, checkpoint": (partial(unconditional, 2), True),
    "resample, checkpoint": (hard, True),
    "resample": (hard, False),
    "psld": (partial(psld, 2), False),
    "ldps": (partial(ldps, 2), False),
    "resample as released": (hard_as_released, False),
}
VARIANTS: dict[str, dict[str, tuple[Callable[[], Method], bool]]] = {
    "ldm-vq-4": LATENT,
    "adm-ffhq": {"unconditional": (partial(unconditional, 2), False), "dps": (partial(dps, 2), False)},
    "photo-latent": LATENT,
}


def study(out: Path, size: int, precision: str, models: Sequence[str] = tuple(MODELS)) -> dict[str, Any]:
    """Measures what `out` does not hold yet, one process after the other, and writes it after each.

    Args:
        out: a JSON file.
        size: side of the picture.
        precision: of all networks.
        models: of `MODELS`.

    Raises:
        ConfigError: the file is of another size or precision.
    """
    whole = opened(out, {"size": size, "precision": precision, "operator": OPERATOR})
    for model in models:
        done = whole["runs"].setdefault(model, {})
        for name in VARIANTS[model]:
            if name in done:
                continue
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
                done[name] = fresh.submit(measured, model, name, size, precision).result()
            save_json(out, whole)
            say(f"{model:13} {name:22} {line(done[name])}")
    return whole


def measured(model: str, name: str, size: int, precision: str) -> dict[str, float]:
    """Megabytes (10^6 bytes) of one method, in this process."""
    make, checkpoint = VARIANTS[model][name]
    with peak_memory("cpu") as loading:
        prior = MODELS[model](precision, checkpoint)
    operator = parse(OPERATOR).build((3, size, size))
    problem = Problem(torch.full((1, *operator.measurement_shape), 0.5), operator, noise_std=0.005)
    with peak_memory("cpu") as peak:
        result = reconstruct(problem, prior, make())
    return {
        "weights_mb": round(weights(prior) / 1e6, 1),
        "loaded_mb": round(peak.before / 1e6, 1),
        "loading_peak_mb": round(loading.increment / 1e6, 1),
        "increment_mb": round(peak.increment / 1e6, 1),
        "gradients": int(result.decode_vjps.sum() + result.vjp.sum()),
        "seconds": round(result.seconds, 1),
    }


def weights(prior: DiffusionPrior) -> int:
    """Bytes of the parameters and buffers of the network and the autoencoder."""
    parts = [prior.network, getattr(prior.codec, "module", None)]
    tensors = [t for part in parts if isinstance(part, nn.Module) for t in (*part.parameters(), *part.buffers())]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def shares(run: Mapping[str, float], idle: Mapping[str, float] | None = None) -> tuple[float, float]:
    """Percent of the weights, and percent beyond a run that samples without a measurement, weights included.

    Args:
        run: of a method.
        idle: of unconditional sampling with the same network; NaN without it.
    """
    held = run["weights_mb"]
    beyond = math.nan
    if idle is not None:
        beyond = 100 * (run["increment_mb"] - idle["increment_mb"]) / (held + idle["increment_mb"])
    return 100 * run["increment_mb"] / held, beyond


def line(run: Mapping[str, float]) -> str:
    """For the console."""
    return (
        f"{run['weights_mb']:.0f} MB of weights, +{run['increment_mb']:.0f} MB ({shares(run)[0]:.0f} %), "
        f"{run['gradients']:.0f} gradients, {run['seconds']:.0f} s"
    )


def _frozen(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False)


def _diffusers() -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise PriorError("networks of the papers' shapes need the extra: pip install 'pellucid[diffusers]'") from error
    return diffusers
