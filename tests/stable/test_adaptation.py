"""Adaptation: the losses are the training's own, they fall on what is held out, and the base stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pellucid.adapt import Adapter, Lora, Training
from pellucid.errors import CompatibilityError, ShapeError
from pellucid.operators.resize import Bicubic
from pellucid.stable import Inpainter, InpaintLoss, UpscaleLoss, Upscaler, learned
from pellucid.stable.adaptation import Crops

pytest.importorskip("peft")
PICTURES = [0.5 + 0.4 * torch.sin(torch.arange(48 * 40).reshape(1, 48, 40) / (9 + k)).repeat(3, 1, 1) for k in range(3)]
FAST = Training(steps=25, lr=1e-2, seed=3)


class Seen(nn.Module):
    """In place of a network: keeps what it is given, and answers with a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, Any]] = []

    def forward(self, x: Tensor, time: Tensor, **rest: Any) -> tuple[Tensor]:
        self.calls.append({"x": x, "time": time, **rest})
        return (torch.full_like(x[:, :4], 0.25),)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_crops_are_of_the_pictures_and_repeat() -> None:
    crops = Crops(PICTURES, 16, 4)
    first, again = crops.draw(generator()), crops.draw(generator())
    assert first.shape == (4, 3, 16, 16) and torch.equal(first, again)
    windows = [picture.unfold(1, 16, 1).unfold(2, 16, 1).permute(1, 2, 0, 3, 4) for picture in PICTURES]
    for crop in first:
        assert any(bool((window == crop).flatten(2).all(2).any()) for window in windows)
    grey = Crops([torch.rand(1, 5, 9)], 16, 2).draw(generator())
    assert grey.shape == (2, 3, 16, 16) and torch.equal(grey[:, 0], grey[:, 2])
    bytes_ = [(255 * picture).round().to(torch.uint8) for picture in PICTURES]
    assert torch.allclose(Crops(bytes_, 16, 4).draw(generator()), first, atol=0.51 / 255)
    with pytest.raises(ShapeError, match="no pictures"):
        Crops([])
    with pytest.raises(ShapeError, match="height, width"):
        Crops([torch.rand(4, 8, 8)])


def test_crops_follow_the_pictures_down_to_half(upscaler_folder: Path) -> None:
    model = Upscaler.load(upscaler_folder)
    large, small, tiny = (torch.rand(3, n, n) for n in (200, 50, 9))
    for pictures, side in (([large], 64), ([large, small], 48), ([large, tiny], 32)):
        loss = UpscaleLoss(model, pictures, crop=64)
        assert loss.crops.side == side and loss.crops.draw(generator()).shape == (6, 3, side, side)


def test_the_upscalers_loss(upscaler_folder: Path) -> None:
    model, network = Upscaler.load(upscaler_folder), Seen()
    picture = PICTURES[0][:, :32, :32]
    loss = UpscaleLoss(model, [picture], crop=35, batch=2)
    assert loss.crops.side == 32
    value = loss(network, generator(5))
    (call,) = network.calls
    assert call["x"].shape == (2, 7, 8, 8) and len(set(call["time"].tolist())) == 1
    levels = call["class_labels"]
    assert levels.shape == (2,) and int(levels.max()) <= 350
    # What the network is shown, and what it is asked for, from the definition.
    y = Bicubic((3, 32, 32), 4)(picture[None]).clamp(0, 1).expand(2, -1, -1, -1)
    z, t = model.parts.codec.encode(picture[None]).expand(2, -1, -1, -1), call["time"].double() + 1
    a, s = (c(t).float()[:, None, None, None] for c in (model.parts.process.alpha, model.parts.process.sigma))
    eps = (call["x"][:, :4] - a * z) / s
    assert float(eps.std()) == pytest.approx(1, abs=0.15)
    assert float(value) == pytest.approx(float(((a * eps - s * z - 0.25) ** 2).mean()), rel=1e-4)
    la, ls = (c(levels + 1.0).float()[:, None, None, None] for c in (model.lowres.alpha, model.lowres.sigma))
    n = (call["x"][:, 4:] - la * (2 * y - 1)) / ls
    assert float(n.std()) == pytest.approx(1, abs=0.15)
    assert torch.equal(call["encoder_hidden_states"][0], model.parts.words("")[0][0])
    assert float(loss(Seen(), generator(5))) == float(value) != float(loss(Seen(), generator(6)))
    with pytest.raises(CompatibilityError, match="8 pixels"):
        UpscaleLoss(model, PICTURES, crop=7)


def test_the_inpainters_loss(inpainter_folder: Path) -> None:
    model, network = Inpainter.load(inpainter_folder), Seen()
    loss = InpaintLoss(model, PICTURES, "a cat", drop=0.5, crop=32, batch=40)
    value = loss(network, generator(1))
    (call,) = network.calls
    assert call["x"].shape == (40, 9, 4, 4) and call["class_labels"] is None and float(value) > 0
    masks = call["x"][:, 4]
    assert set(masks.unique().tolist()) == {0.0, 1.0} and 1 < int((masks.flatten(1).mean(1) == 1).sum()) < 25
    cat, empty = model.parts.words("a cat", "")
    words = call["encoder_hidden_states"]
    dropped = torch.stack([torch.equal(one, empty[0]) * torch.ones(()) for one in words]) > 0
    assert 8 < int(dropped.sum()) < 32 and all(torch.equal(one, cat[0]) for one in words[~dropped])
    # Where all is covered, what is kept is mid-grey.
    grey = model.parts.codec.encode(torch.full((1, 3, 32, 32), 0.5))
    covered = masks.flatten(1).mean(1) == 1
    blank = torch.tensor([torch.allclose(one, grey[0], atol=1e-5) for one in call["x"][:, 5:]])
    assert int((blank & covered).sum()) >= 3 and not bool(blank[~covered].any())
    with pytest.raises(CompatibilityError, match="drop"):
        InpaintLoss(model, PICTURES, drop=1.5)


def held_out(loss: UpscaleLoss | InpaintLoss, network: nn.Module) -> float:
    with torch.no_grad():
        return float(torch.stack([loss(network, generator(1000 + i)) for i in range(12)]).mean())


@pytest.mark.parametrize("family", ["upscaler", "inpainter"])
@pytest.mark.parametrize("attention", [False, True])
def test_the_loss_on_a_held_out_picture_falls_and_the_base_stays(
    family: str, attention: bool, upscaler_folder: Path, inpainter_folder: Path, tmp_path: Path
) -> None:
    model: Any
    if family == "upscaler":
        model = Upscaler.load(upscaler_folder)
        loss, test = (UpscaleLoss(model, part, crop=32, batch=3) for part in (PICTURES[:2], PICTURES[2:]))
    else:
        model = Inpainter.load(inpainter_folder)
        loss, test = (InpaintLoss(model, part, "a cat", crop=32, batch=3) for part in (PICTURES[:2], PICTURES[2:]))
    base = {name: value.clone() for name, value in model.parts.unet.state_dict().items()}
    steps: list[int] = []
    style = Lora(rank=4, alpha=4, attention=attention)
    adapter = learned(model.parts, loss, style, FAST, watch=lambda step, _: steps.append(step))
    assert steps == list(range(1, 26))
    network = adapter.into(model.parts.unet)
    before, after = held_out(test, model.parts.unet), held_out(test, network)
    assert after < 0.9 * before, (before, after)
    for name, value in model.parts.unet.state_dict().items():
        assert torch.equal(value, base[name]), name
    assert any("to_q" in name for name in adapter.state) is attention
    assert all(name.rpartition(".")[0] + ".weight" in base for name in adapter.state)

    adapter.save(tmp_path / "adapter.safetensors")
    read = Adapter.load(tmp_path / "adapter.safetensors").into(model.parts.unet)
    picture = torch.rand(1, 3, 8, 8) if family == "upscaler" else torch.rand(1, 3, 32, 32)
    results = [_sample(model.with_network(unet), picture) for unet in (network, read, model.parts.unet)]
    assert torch.equal(results[0], results[1]) and not torch.allclose(results[0], results[2], atol=1e-3)


def _sample(model: Any, picture: Tensor) -> Tensor:
    if isinstance(model, Upscaler):
        return model.upscale(picture, seeds=1, steps=3).image
    return model.edit(picture, torch.ones(1, 1, 32, 32), prompt="a cat", seeds=1, steps=3).image


def test_the_same_seed_learns_the_same(upscaler_folder: Path) -> None:
    model = Upscaler.load(upscaler_folder)
    loss = UpscaleLoss(model, PICTURES, crop=16, batch=2)
    short = [learned(model.parts, loss, Lora(rank=2), Training(steps=3, seed=seed)).state for seed in (0, 0, 1)]
    assert all(torch.equal(short[0][name], short[1][name]) for name in short[0])
    assert not all(torch.equal(short[0][name], short[2][name]) for name in short[0])


def test_the_papers_defaults(upscaler_folder: Path) -> None:
    model = Upscaler.load(upscaler_folder)
    loss = UpscaleLoss(model, PICTURES)
    assert (loss.batch, loss.crop) == (6, 512) and (Training().steps, Training().lr) == (400, 1e-4)
    adapter = learned(model.parts, UpscaleLoss(model, PICTURES, crop=16, batch=2), training=Training(steps=1))
    assert (adapter.style.rank, adapter.style.alpha) == (16, 8)  # type: ignore[union-attr]
    convolutions = [name for name, module in model.parts.unet.named_modules() if isinstance(module, nn.Conv2d)]
    assert {name.rpartition(".")[0] for name in adapter.state} == set(convolutions)
