"""Seeds, batches, sizes and seams of upscaling and editing; and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pellucid.checkpoints.diffusers import load_folder
from pellucid.errors import CompatibilityError, PriorError, ShapeError
from pellucid.noise import SeededNoise
from pellucid.prior.base import State
from pellucid.stable import Inpainter, Upscaler
from pellucid.stable.inpainter import surroundings
from pellucid.stable.masks import random_mask
from pellucid.stable.text import TextEncoder
from pellucid.stable.tiles import Tiles

FEW = {"steps": 3, "guidance": 2.0}


def smooth(height: int, width: int, seed: int = 0) -> Tensor:
    """A smooth picture (1, 3, height, width) in [0, 1]."""
    small = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return interpolate(small, (height, width), mode="bicubic", align_corners=True).clamp(0, 1)


# Seeds and batches.


def test_samples_of_one_picture_are_alike_alone_and_together(upscaler_folder: Path) -> None:
    model, y = Upscaler.load(upscaler_folder), torch.rand(1, 3, 6, 10)
    together = model.upscale(y.expand(3, -1, -1, -1), seeds=[4, 5, 6], **FEW)
    alone = model.upscale(y, seeds=5, **FEW)
    assert together.image.shape == (3, 3, 24, 40) and together.nfe.tolist() == [6, 6, 6]
    assert torch.allclose(together.image[1:2], alone.image, atol=1e-5)
    assert not torch.allclose(together.image[0], together.image[1], atol=1e-2)
    assert torch.equal(model.upscale(y, seeds=5, **FEW).image, alone.image)


def test_pictures_are_alike_alone_and_together(inpainter_folder: Path) -> None:
    model, image = Inpainter.load(inpainter_folder), torch.rand(2, 3, 24, 32)
    mask = torch.zeros(2, 1, 24, 32)
    mask[0, :, 3:20, 5:19], mask[1, :, :, 16:] = 1, 1
    together = model.edit(image, mask, prompt="a cat", seeds=[1, 2], **FEW)
    for i in range(2):
        alone = model.edit(image[i : i + 1], mask[i : i + 1], prompt="a cat", seeds=1 + i, **FEW)
        assert torch.allclose(together.image[i : i + 1], alone.image, atol=1e-5)


def test_the_words_the_level_and_the_guidance_matter(upscaler_folder: Path) -> None:
    model, y = Upscaler.load(upscaler_folder), torch.rand(1, 3, 8, 8)
    plain = model.upscale(y, steps=3).image
    for change in ({"prompt": "a cat"}, {"negative": "a dog"}, {"noise_level": 200}, {"guidance": 3.0}, {"eta": 1.0}):
        first = {"prompt": "x"} if "guidance" in change else {}
        before = model.upscale(y, steps=3, **first).image if first else plain  # type: ignore[arg-type]
        assert not torch.allclose(model.upscale(y, steps=3, **first, **change).image, before, atol=1e-5)  # type: ignore[arg-type]
    unguided = [model.upscale(y, steps=3, guidance=1.0, negative=words).image for words in ("", "a dog")]
    assert torch.equal(*unguided)


def test_what_the_network_is_shown_is_the_picture_with_noise_of_the_level(upscaler_folder: Path) -> None:
    model, y = Upscaler.load(upscaler_folder), torch.full((1, 3, 64, 64), 0.75)
    for level in (0, 20, 350):
        abar = float(model.lowres.alpha(torch.tensor([level + 1.0]))) ** 2
        shown = model.shown(y, level, SeededNoise([0]).normal(y, 0, "lowres"))
        assert float(shown.mean()) == pytest.approx(0.5 * abar**0.5, abs=0.03)
        assert float(shown.std()) == pytest.approx((1 - abar) ** 0.5, rel=0.03)


# Sizes and seams.


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (13, 8)])
def test_upscaling_takes_any_size_and_grey(upscaler_folder: Path, size: tuple[int, int]) -> None:
    model = Upscaler.load(upscaler_folder)
    result = model.upscale(torch.rand(1, 1, *size), seeds=1, **FEW)
    assert result.image.shape == (1, 1, 4 * size[0], 4 * size[1]) and torch.isfinite(result.image).all()


def test_editing_takes_any_size_and_keeps_what_is_outside(inpainter_folder: Path) -> None:
    model, image = Inpainter.load(inpainter_folder), torch.rand(1, 3, 29, 43)
    mask = torch.zeros(1, 1, 29, 43)
    mask[..., 20:29, 40:43] = 1
    result = model.edit(image, mask, prompt="a cat", seeds=1, **FEW)
    assert torch.equal(result.image * (1 - mask), image * (1 - mask))
    assert not torch.allclose(result.image[..., 20:, 40:], image[..., 20:, 40:], atol=1e-2)
    other = torch.where(mask > 0.5, torch.rand_like(image), image)
    assert torch.equal(model.edit(other, mask, prompt="a cat", seeds=1, **FEW).image, result.image)


def test_a_thin_line_is_not_lost(inpainter_folder: Path) -> None:
    parts = Inpainter.load(inpainter_folder).parts
    image, mask = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    mask[..., 11] = 1
    assert Inpainter(parts).shown(image, mask)[0, 0].tolist() == [[0.0, 1.0], [0.0, 1.0]]
    assert Inpainter(parts, "nearest").shown(image, mask)[0, 0].sum() == 0


def test_of_a_large_picture_the_surroundings_of_the_mask_are_seen() -> None:
    mask = torch.zeros(1, 1, 300, 1000)
    mask[..., 10:20, 500:700] = 1
    assert surroundings(mask, 100) == (slice(0, 100), slice(475, 725))
    assert surroundings(mask, 400) == (slice(0, 300), slice(400, 800))
    assert surroundings(mask, 2**24) == (slice(0, 300), slice(0, 1000))
    mask[..., 299, 999] = 1
    assert surroundings(mask, 100) == (slice(0, 300), slice(450, 1000))


def seam(difference: Tensor, tiles: Tiles, axis: int, scale: int = 1) -> tuple[float, float]:
    """The largest jump of whole - tiled between rows (axis -2) or columns: at the borders of tiles, and elsewhere."""
    jumps = difference.diff(dim=axis).abs().amax(dim=[d for d in range(4) if d != axis % 4])
    side = difference.shape[axis]
    boxes = tiles.boxes(side // scale, side // scale, 2 if scale == 1 else 1)
    begins = {edge * scale for box in boxes for edge in box[0] if 0 < edge * scale < side}
    at = torch.tensor([any(abs(i + 1 - edge) <= 1 for edge in begins) for i in range(side - 1)])
    return float(jumps[at].max()), float(jumps[~at].max())


def test_tiles_leave_no_seam(upscaler_folder: Path) -> None:
    tiles = Tiles(24, 10)
    whole, cut = Upscaler.load(upscaler_folder), Upscaler.load(upscaler_folder, tiles=tiles)
    y, noise = smooth(61, 61), SeededNoise([3])
    x, t = torch.randn(1, 4, 61, 61, generator=torch.Generator().manual_seed(1)), torch.tensor([500.0]).double()
    estimates = [model.prior(y, noise, guidance=2.0).estimate(State(x, t)).x0 for model in (whole, cut)]
    assert len(tiles.boxes(61, 61)) > 4
    difference = estimates[1] - estimates[0]
    assert 0 < float(difference.std()) < 0.1 * float(estimates[0].std())
    for axis in (-2, -1):
        border, elsewhere = seam(difference, tiles, axis)
        assert border <= 1.2 * elsewhere, (border, elsewhere)


def test_decoding_in_tiles_leaves_no_seam(upscaler_folder: Path) -> None:
    tiles = Tiles(40, 18)
    whole, cut = (Upscaler.load(upscaler_folder, tiles=t).parts.codec for t in (None, tiles))
    z = torch.randn(1, 4, 80, 80, generator=torch.Generator().manual_seed(2)) * whole.scaling_factor
    pictures = [codec.decode(z) for codec in (whole, cut)]
    assert pictures[0].shape == pictures[1].shape == (1, 3, 320, 320)
    difference = pictures[1] - pictures[0]  # what normalisations make of a tile's own mean and variance
    assert 0 < float(difference.std()) < 0.2 * float(pictures[0].std())
    for axis in (-2, -1):
        border, elsewhere = seam(difference, tiles, axis, scale=4)
        assert border <= 1.2 * elsewhere, (border, elsewhere)
    encoded = [codec.encode(smooth(4 * 60 - 3, 4 * 50 - 1)) for codec in (whole, cut)]
    assert encoded[0].shape == encoded[1].shape == (1, 4, 60, 50)


def test_blending_is_exact_for_what_sees_only_its_pixel() -> None:
    x = torch.randn(2, 3, 40, 53, dtype=torch.float64)
    for align in (1, 4):
        assert torch.allclose(Tiles(16, 6).blended(torch.sin, x, align=align), x.sin(), atol=1e-12)
    grown = Tiles(16, 6).blended(lambda part: interpolate(part, scale_factor=2.0, mode="nearest"), x, out=2)
    assert torch.allclose(grown, interpolate(x, scale_factor=2.0, mode="nearest"), atol=1e-12)
    shrunk = Tiles(8, 3).blended(lambda part: part[..., ::2, ::2], x[..., :52], into=2)
    assert torch.allclose(shrunk, x[..., :52][..., ::2, ::2], atol=1e-12)
    with pytest.raises(CompatibilityError, match="twice the overlap"):
        Tiles(16, 8)


def test_a_large_picture_goes_through_in_tiles(upscaler_folder: Path) -> None:
    model = Upscaler.load(upscaler_folder, tiles=Tiles(16, 6))
    result = model.upscale(torch.rand(1, 3, 21, 33), seeds=1, **FEW)
    assert result.image.shape == (1, 3, 84, 132) and result.nfe.tolist() == [6] and result.decodes.tolist() == [1]


def test_the_whole_way_in_tiles_leaves_no_seam(upscaler_folder: Path) -> None:
    tiles = Tiles(24, 10)
    y = smooth(49, 49) + 0.1 * torch.randn(1, 3, 49, 49, generator=torch.Generator().manual_seed(5))
    result = Upscaler.load(upscaler_folder, tiles=tiles).upscale(y.clamp(0, 1), seeds=1, steps=4, guidance=2.0)
    for axis in (-2, -1):
        jumps = result.image.diff(dim=axis).abs().mean(dim=[d for d in range(4) if d != axis % 4])
        edges = sorted({4 * edge for box in tiles.boxes(49, 49, 2) for edge in box[0] if 0 < edge < 49})
        at = torch.tensor([edge - 1 for edge in edges])
        phase = jumps[3::4]  # the same place between two latents, where decoders are uneven
        assert len(edges) > 2 and float(jumps[at].max()) <= 1.2 * float(phase.max())
        assert float(jumps[at].mean()) == pytest.approx(float(phase.mean()), rel=0.2)


# What is refused.


def test_folders_that_will_not_do(upscaler_folder: Path, inpainter_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PriorError, match=r"does not exist.*stable-diffusion-x4-upscaler"):
        Upscaler.load(tmp_path / "nowhere")
    with pytest.raises(PriorError, match=r"no unet/config.json.*stable-diffusion-inpainting"):
        Inpainter.load(tmp_path)
    with pytest.raises(PriorError, match=r"takes 9 channels.*7 in all"):
        Upscaler.load(inpainter_folder)
    with pytest.raises(PriorError, match=r"takes 7 channels.*9 in all"):
        Inpainter.load(upscaler_folder)
    with pytest.raises(PriorError, match="conditioned on a picture"):
        load_folder(upscaler_folder)
    for part, message in (
        ("tokenizer", "lacks tokenizer/"),
        ("scheduler", "lacks scheduler/"),
        ("low_res_scheduler", "low_res_scheduler"),
    ):
        shutil.copytree(upscaler_folder, tmp_path / part)
        shutil.rmtree(tmp_path / part / part)
        with pytest.raises(PriorError, match=message):
            Upscaler.load(tmp_path / part)


def altered(source: Path, target: Path, file: str, **words: object) -> Path:
    shutil.copytree(source, target)
    path = target / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **words}))
    return target


def test_hostile_configurations(upscaler_folder: Path, tmp_path: Path) -> None:
    huge = altered(upscaler_folder, tmp_path / "huge", "text_encoder/config.json", intermediate_size=10**9)
    with pytest.raises(PriorError, match="announces"):
        TextEncoder(huge)("a")
    file, way = "scheduler/scheduler_config.json", "rescale_betas_zero_snr"
    with pytest.raises(PriorError, match="no signal"):
        Upscaler.load(altered(upscaler_folder, tmp_path / "a", file, **{way: True}))
    with pytest.raises(PriorError, match="steps_offset"):
        Upscaler.load(altered(upscaler_folder, tmp_path / "b", file, steps_offset=-3))
    with pytest.raises(PriorError, match="max_noise_level"):
        Upscaler.load(altered(upscaler_folder, tmp_path / "c", "model_index.json", max_noise_level="all"))
    pickled = tmp_path / "pickled"
    shutil.copytree(upscaler_folder, pickled)
    (pickled / "text_encoder" / "model.safetensors").rename(pickled / "text_encoder" / "pytorch_model.bin")
    with pytest.raises(PriorError, match=r"holds no model\.safetensors"):
        TextEncoder(pickled)("a")


def test_the_scaling_factor_is_the_published_models_whatever_the_folder_says(tmp_path: Path) -> None:
    from tests.stable import folders

    assert Upscaler.load(folders.upscaler(tmp_path, scaling_factor=0.18215)).parts.codec.scaling_factor == 0.08333


def test_weights_published_in_half_precision_alone(inpainter_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    half = tmp_path / "half"
    shutil.copytree(inpainter_folder, half)
    for path in half.glob("*/*.safetensors"):
        weights = {name: value.half() for name, value in load_file(path).items()}
        save_file(weights, path.with_name(f"{path.stem}.fp16.safetensors"), metadata={"format": "pt"})
        path.unlink()
    model, image = Inpainter.load(half), torch.rand(1, 3, 16, 16)
    assert {p.dtype for p in model.parts.unet.parameters()} == {torch.float32}
    results = [m.edit(image, torch.ones(1, 1, 16, 16), prompt="a cat", **FEW).image for m in (
        model, Inpainter.load(inpainter_folder))]  # fmt: skip
    assert not torch.equal(*results) and torch.allclose(*results, atol=0.05)
    (half / "vae" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"no weights")
    with pytest.raises(PriorError, match=f"{half}/vae cannot be loaded"):
        Inpainter.load(half)


def test_the_times_of_other_solvers_configurations() -> None:
    from pellucid.stable.sampling import Sampler

    assert Sampler.of({"_class_name": "PNDMScheduler", "steps_offset": 1}) == Sampler(1, 1.0)
    assert Sampler.of({"_class_name": "EulerDiscreteScheduler"}) == Sampler(0, 0.0)


def test_numbers_out_of_range(upscaler_folder: Path, inpainter_folder: Path) -> None:
    model, y = Upscaler.load(upscaler_folder), torch.rand(1, 3, 8, 8)
    for wrong in ({"noise_level": 351}, {"noise_level": -1}, {"guidance": float("nan")}, {"steps": 501}, {"eta": 2.0}):
        with pytest.raises(CompatibilityError):
            model.upscale(y, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ShapeError):
        model.upscale(torch.rand(1, 2, 8, 8))
    edit, image = Inpainter.load(inpainter_folder), torch.rand(1, 3, 16, 16)
    with pytest.raises(CompatibilityError, match="mask is empty"):
        edit.edit(image, torch.zeros(1, 1, 16, 16), prompt="a")
    with pytest.raises(ShapeError, match="16 x 8 and the picture 16 x 16"):
        edit.edit(image, torch.ones(1, 1, 16, 8), prompt="a")
    with pytest.raises(CompatibilityError, match="cover"):
        Inpainter(edit.parts, "all")  # type: ignore[arg-type]
    prior = model.prior(torch.rand(2, 3, 8, 8), SeededNoise([0, 1]))
    with pytest.raises(CompatibilityError, match="shown 2 pictures"):
        prior.estimate(State(torch.randn(3, 4, 8, 8), torch.full((3,), 5.0).double()))


def test_words(upscaler_folder: Path) -> None:
    encoder = TextEncoder(upscaler_folder)
    cat, again, dog = encoder("a cat", "a cat", "a dog")
    assert cat is again and cat.shape == (1, 9, 16) and not torch.allclose(cat, dog, atol=1e-3)
    assert torch.allclose(TextEncoder(upscaler_folder)("a dog")[0], dog, atol=1e-6)
    with pytest.warns(UserWarning, match="the model reads 9"):
        encoder("a very long text")


def test_random_masks() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = [random_mask(32, 24, generator) for _ in range(400)]
    assert all(mask.shape == (1, 32, 24) and set(mask.unique().tolist()) <= {0.0, 1.0} for mask in masks)
    shares = torch.tensor([float(mask.mean()) for mask in masks])
    assert shares.min() > 0 and 0.18 < float((shares == 1).float().mean()) < 0.32
    assert 0.1 < float(shares[shares < 1].mean()) < 0.6
    assert torch.equal(random_mask(9, 9, torch.Generator().manual_seed(3)), random_mask(9, 9, generator.manual_seed(3)))
