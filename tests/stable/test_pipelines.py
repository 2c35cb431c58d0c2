"""The same noise gives the networks the same inputs, and the same pictures, as diffusers' own pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pellucid.noise import RecordedNoise
from pellucid.stable import Inpainter, Upscaler

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
STEPS = 5


def parts(folder: Path) -> dict[str, Any]:
    quiet = {"local_files_only": True, "low_cpu_mem_usage": False}
    return {
        "unet": diffusers.UNet2DConditionModel.from_pretrained(folder / "unet", **quiet),
        "vae": diffusers.AutoencoderKL.from_pretrained(folder / "vae", **quiet),
        "scheduler": diffusers.DDIMScheduler.from_pretrained(folder / "scheduler"),
        "text_encoder": transformers.CLIPTextModel.from_pretrained(folder / "text_encoder").eval(),
        "tokenizer": transformers.CLIPTokenizer.from_pretrained(folder / "tokenizer"),
    }


def recorded(latents: Tensor, **more: Tensor) -> RecordedNoise:
    steps = {(i, "step"): torch.zeros_like(latents) for i in range(STEPS)}
    return RecordedNoise({(0, "start"): latents, **steps, **{(0, key): value for key, value in more.items()}})


class Inputs:
    """What a network is called with."""

    def __init__(self, module: Any) -> None:
        self.calls: list[dict[str, Any]] = []
        module.register_forward_pre_hook(self._see, with_kwargs=True)

    def _see(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        labels = kwargs.get("class_labels")
        self.calls.append(
            {
                "x": args[0].clone(),
                "time": torch.as_tensor(args[1]).double().reshape(-1)[0],
                "text": kwargs["encoder_hidden_states"].clone(),
                "labels": labels,
            }
        )


def same_inputs(ours: Inputs, theirs: Inputs) -> None:
    assert len(ours.calls) == len(theirs.calls) == STEPS
    for mine, other in zip(ours.calls, theirs.calls, strict=True):
        assert torch.allclose(mine["x"], other["x"], rtol=1e-4, atol=1e-5)
        assert float(mine["time"]) == float(other["time"])
        assert torch.allclose(mine["text"], other["text"], atol=1e-6)
        if other["labels"] is not None:
            assert mine["labels"].tolist() == other["labels"].tolist()


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_upscaling(upscaler_folder: Path, guidance: float) -> None:
    pipe = diffusers.StableDiffusionUpscalePipeline(
        **parts(upscaler_folder),
        low_res_scheduler=diffusers.DDPMScheduler.from_pretrained(upscaler_folder / "low_res_scheduler"),
    )
    pipe.set_progress_bar_config(disable=True)
    ours = Upscaler.load(upscaler_folder)
    y, latents = torch.rand(1, 3, 8, 12), torch.randn(1, 4, 8, 12)
    lowres = torch.randn(y.shape, generator=torch.Generator().manual_seed(7))
    mine, other = Inputs(ours.parts.unet), Inputs(pipe.unet)
    wanted = pipe(
        "a cat", y, STEPS, guidance, 100, "a dog", latents=latents, output_type="pt",
        generator=torch.Generator().manual_seed(7),
    ).images  # fmt: skip
    result = ours.upscale(
        y, seeds=recorded(latents, lowres=lowres), prompt="a cat", negative="a dog", guidance=guidance,
        noise_level=100, steps=STEPS,
    )  # fmt: skip
    same_inputs(mine, other)
    assert wanted.shape == (1, 3, 32, 48) and wanted.std() > 0.01
    assert torch.allclose(result.image.clamp(0, 1), wanted, atol=1e-4)
    assert result.nfe.tolist() == [STEPS * (1 if guidance == 1 else 2)]


@pytest.mark.parametrize("aligned", [True, False])
def test_inpainting(inpainter_folder: Path, aligned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = diffusers.StableDiffusionInpaintPipeline(
        **parts(inpainter_folder), safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    # The pipeline draws the latents of the masked picture; here, and there, their mean is taken.
    kind = diffusers.models.autoencoders.vae.DiagonalGaussianDistribution
    monkeypatch.setattr(kind, "sample", lambda self, generator=None: self.mode())
    ours = Inpainter(Inpainter.load(inpainter_folder).parts, cover="any" if aligned else "nearest")
    image, latents = torch.rand(1, 3, 32, 48), torch.randn(1, 4, 4, 6)
    mask = torch.zeros(1, 1, 32, 48)
    if aligned:
        mask[..., 8:24, 16:40] = 1
    else:
        mask = (torch.rand(1, 1, 32, 48) > 0.4).float()
    mine, other = Inputs(ours.parts.unet), Inputs(pipe.unet)
    wanted = pipe(
        "a cat", image, mask, height=32, width=48, num_inference_steps=STEPS, guidance_scale=4.0,
        negative_prompt="a dog", latents=latents, output_type="pt",
    ).images  # fmt: skip
    result = ours.edit(
        image, mask, seeds=recorded(latents), prompt="a cat", negative="a dog", guidance=4.0, steps=STEPS
    )
    same_inputs(mine, other)
    inside = (mask > 0.5).expand_as(image)
    assert torch.allclose(result.image.clamp(0, 1)[inside], wanted[inside], atol=1e-4)
    assert torch.equal(result.image[~inside], image[~inside])
    assert not torch.allclose(wanted[~inside], image[~inside], atol=1e-2)  # the pipeline's own does not keep them


@pytest.mark.parametrize("steps", [1, 7, 50])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("clean", [True, False])
def test_the_times_are_those_of_the_scheduler(steps: int, spacing: str, clean: bool) -> None:
    from pellucid.process import DiscreteVP
    from pellucid.stable.sampling import Sampler

    config = {"timestep_spacing": spacing, "set_alpha_to_one": clean, "steps_offset": 1 if spacing == "leading" else 0}
    scheduler = diffusers.DDIMScheduler(**config)
    scheduler.set_timesteps(steps)
    grid, process = Sampler.of(dict(config)).method(steps).grid, DiscreteVP.linear()
    times = grid.times(process, torch.tensor([grid.top(process)], dtype=torch.float64))[:, 0]
    assert (times[:-1] - 1).tolist() == scheduler.timesteps.tolist()
    assert float(times[-1]) == (0 if clean else 1)
