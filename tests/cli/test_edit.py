"""`pellucid edit`: what is under the mask is new, what is not is the picture's own; adaptation by words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.cli.console import NOTICE
from tests.cli.conftest import Command, pixels
from tests.stable import folders

pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
QUICK = ("--nfe", "2", "--device", "cpu", "--precision", "float32")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.inpainter(tmp_path_factory.mktemp("model") / "tiny-inpainting")


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    array = np.zeros((24, 32), np.uint8)
    array[5:15, 9:30] = 255
    Image.fromarray(array).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


def test_outside_of_the_mask_nothing_changes(
    pellucid_: Command, photo: Path, mask: Path, model: Path, tmp_path: Path
) -> None:
    command = ("edit", photo, "--mask", mask, "--model", model, *QUICK)
    ran = pellucid_(*command, "--prompt", "a cat", "-o", tmp_path / "out.png")
    assert ran.code == 0, ran.err
    assert "edited, 32 x 24, 4 network calls" in ran.out and NOTICE in ran.out
    before, after, hole = pixels(photo), pixels(tmp_path / "out.png"), pixels(mask) > 127
    assert torch.equal(after[~hole], before[~hole])
    assert float((after[hole] - before[hole]).abs().mean()) > 5
    with Image.open(tmp_path / "out.png") as image:
        settings = json.loads(image.text["pellucid:settings"])
    assert settings["prompt"] == "a cat" and settings["mask"] == "mask.png" and settings["model"] == "tiny-inpainting"
    assert settings["masked"] == pytest.approx(210 / (24 * 32), abs=1e-3)
    pellucid_(*command, "--prompt", "a dog", "-o", tmp_path / "dog.png", "--guidance", "20")
    assert not torch.equal(pixels(tmp_path / "dog.png"), after)


def test_of_a_large_picture_only_the_surroundings_of_the_mask_are_seen(
    pellucid_: Command, model: Path, tmp_path: Path
) -> None:
    array = np.random.default_rng(0).integers(0, 255, (90, 400, 3), dtype=np.uint8)
    hole = np.zeros((90, 400), np.uint8)
    hole[30:50, 300:310] = 255
    Image.fromarray(array).save(tmp_path / "wide.png"), Image.fromarray(hole).save(tmp_path / "mask.png")
    command = ("edit", tmp_path / "wide.png", "--mask", tmp_path / "mask.png", "--model", model, *QUICK, "--json")
    small = json.loads(pellucid_(*command, "-o", tmp_path / "out.png", "--tile", "64").out)
    assert small["settings"]["seen"] == [273, 8, 337, 72] and small["settings"]["tiles"] == 1
    after = np.asarray(Image.open(tmp_path / "out.png"))
    assert np.array_equal(after[hole == 0], array[hole == 0]) and not np.array_equal(after[hole > 0], array[hole > 0])
    whole = json.loads(pellucid_(*command, "-o", tmp_path / "out.png", "--tile", "0").out)
    assert whole["settings"]["seen"] == [0, 0, 400, 90]


def test_sixteen_bits_stay_what_they_are(pellucid_: Command, mask: Path, model: Path, tmp_path: Path) -> None:
    import tifffile

    deep = np.random.default_rng(0).integers(0, 65536, (24, 32, 3), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb")
    ran = pellucid_("edit", tmp_path / "deep.tif", "--mask", mask, "--model", model, *QUICK, "--json")
    report = json.loads(ran.out)
    after, hole = tifffile.imread(report["output"]), pixels(mask).numpy() > 127
    assert after.dtype == np.uint16 and report["output"].endswith("deep-edited.tif")
    assert np.array_equal(after[~hole], deep[~hole]) and not np.array_equal(after[hole], deep[hole])


def test_a_transparent_mask_and_a_dry_run(
    pellucid_: Command, photo: Path, mask: Path, model: Path, tmp_path: Path
) -> None:
    white = Image.new("L", (32, 24), 255)
    with Image.open(mask) as image:
        Image.merge("LA", (white, image)).save(tmp_path / "alpha.png")
    found = [
        json.loads(pellucid_("edit", photo, "--mask", path, "--model", model, *QUICK, "--dry-run", "--json").out)
        for path in (mask, tmp_path / "alpha.png")
    ]
    assert found[0]["settings"]["masked"] == found[1]["settings"]["masked"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["alpha.png", "mask.png", "photo.png"]


def clip(folder: Path) -> Path:
    """A vision-language model of a few weights."""
    torch.manual_seed(0)
    text = {
        "vocab_size": 54, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "max_position_embeddings": folders.TOKENS, "bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 53,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 32, "patch_size": 8,
    }  # fmt: skip
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    transformers.CLIPModel(config).save_pretrained(folder)
    folders.tokenizer(folder / "tokenizer")
    for file in (folder / "tokenizer").iterdir():
        file.rename(folder / file.name)
    (folder / "tokenizer").rmdir()
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    words = {"image_processor_type": "CLIPImageProcessor", "image_mean": [0.5] * 3, "image_std": [0.5] * 3, **size}
    (folder / "preprocessor_config.json").write_text(json.dumps(words))
    return folder


def test_adaptation_to_what_the_words_say(
    pellucid_: Command, photo: Path, mask: Path, model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("lancedb"), pytest.importorskip("peft")
    from pellucid.retrieval import Index

    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        Image.fromarray(rng.integers(0, 255, (70, 70, 3), dtype=np.uint8)).save(tmp_path / "photos" / f"{i}.png")
    index = Index.create(tmp_path / "index", str(clip(tmp_path / "clip")))
    index.add(tmp_path / "photos")
    adapt = ("--adapt", tmp_path / "index", "--neighbours", "2", "--adapt-steps", "2", "--adapt-crop", "64")
    command = ("edit", photo, "--mask", mask, "--model", model, *QUICK)
    ran = pellucid_(*command, "-p", "a cat", "-o", tmp_path / "a.png", *adapt, "--json", "--adapt-attention")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)["adaptation"]
    wanted = [one.name for one in index.search_text("a cat", 2)]
    assert [one["name"] for one in told["neighbours"]] == wanted and told["steps_taken"] == 2
    before, after, hole = pixels(photo), pixels(tmp_path / "a.png"), pixels(mask) > 127
    assert torch.equal(after[~hole], before[~hole])
    ran = pellucid_(*command, "-o", tmp_path / "b.png", *adapt)
    assert ran.code == 7 and "give --prompt too" in ran.err
    wordless = Index.create(tmp_path / "wordless", "pixel")
    wordless.add(tmp_path / "photos")
    ran = pellucid_(*command, "-p", "a cat", "--adapt", tmp_path / "wordless")
    assert ran.code == 5 and "no text tower" in ran.err


def test_what_is_refused(pellucid_: Command, photo: Path, mask: Path, model: Path, tmp_path: Path) -> None:
    Image.new("L", (32, 24)).save(tmp_path / "black.png")
    Image.new("L", (24, 32), 255).save(tmp_path / "turned.png")
    rest = ("--model", model, *QUICK)
    cases = (
        (("edit", photo, "--mask", mask), 9, "hf download stable-diffusion-v1-5"),
        (("edit", photo, *rest), 2, "--mask"),
        (("edit", photo, "--mask", tmp_path / "none.png", *rest), 10, "does not exist"),
        (("edit", photo, "--mask", tmp_path / "black.png", *rest), 7, "black all over"),
        (("edit", photo, "--mask", tmp_path / "turned.png", *rest), 4, "24 x 32 pixels and the picture 32 x 24"),
        (("edit", photo, "--mask", mask, *rest, "-o", mask), 10, "would be overwritten"),
        (("edit", tmp_path, "--mask", mask, *rest), 10, "belongs to one picture"),
    )
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    for arguments, code, text in cases:
        ran = pellucid_(*arguments)
        assert (ran.code, text in ran.err) == (code, True), (arguments, ran)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
