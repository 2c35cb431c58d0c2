"""Tiny Stable Diffusion pipelines with random weights, saved as diffusers saves the published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = 9


def tokenizer(folder: Path) -> None:
    """A CLIP tokenizer of single letters."""
    words = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": TOKENS, "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def _modules(channels: int, levels: int, scaling_factor: float, seed: int, **options: Any) -> dict[str, Any]:
    diffusers, transformers = pytest.importorskip("diffusers"), pytest.importorskip("transformers")
    torch.manual_seed(seed)
    unet = diffusers.UNet2DConditionModel(
        in_channels=channels, out_channels=4, block_out_channels=[8, 16], norm_num_groups=4, layers_per_block=1,
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"], up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
        cross_attention_dim=16, attention_head_dim=2, sample_size=64, **options,
    ).eval()  # fmt: skip
    vae = diffusers.AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * levels, up_block_types=["UpDecoderBlock2D"] * levels,
        block_out_channels=[8] * (levels - 1) + [16], norm_num_groups=4, latent_channels=4,
        scaling_factor=scaling_factor, sample_size=32,
    ).eval()  # fmt: skip
    config = transformers.CLIPTextConfig(
        vocab_size=2 * len(LETTERS) + 2, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=TOKENS, bos_token_id=52, eos_token_id=53, pad_token_id=53,
    )  # fmt: skip
    return {"unet": unet, "vae": vae, "text_encoder": transformers.CLIPTextModel(config).eval()}


def _scheduler(**betas: Any) -> dict[str, Any]:
    return {
        "num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "clip_sample": False, "set_alpha_to_one": False,
        "steps_offset": 1, **betas,
    }  # fmt: skip


def _save(folder: Path, parts: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, module in parts.items():
        module.save_pretrained(folder / name)
    tokenizer(folder / "tokenizer")


def upscaler(folder: Path, seed: int = 0, scaling_factor: float = 0.08333) -> Path:
    """An x4 upscaler: 7 channels, v-prediction, classes for the noise level."""
    diffusers = pytest.importorskip("diffusers")
    parts = _modules(7, 3, scaling_factor, seed, num_class_embeds=400)
    config = _scheduler(beta_start=0.0001, beta_end=0.02)
    parts["scheduler"] = diffusers.DDIMScheduler(**config, prediction_type="v_prediction")
    parts["low_res_scheduler"] = diffusers.DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.0001, beta_end=0.02
    )
    _save(folder, parts)
    (folder / "model_index.json").write_text(json.dumps({"max_noise_level": 350}))
    return folder


def inpainter(folder: Path, seed: int = 0) -> Path:
    """An inpainting model: 9 channels, eps-prediction."""
    diffusers = pytest.importorskip("diffusers")
    parts = _modules(9, 4, 0.18215, seed)
    parts["scheduler"] = diffusers.DDIMScheduler(**_scheduler(beta_start=0.00085, beta_end=0.012))
    _save(folder, parts)
    return folder
