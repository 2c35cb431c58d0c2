"""LoRA beside the convolutions: what it computes, what it leaves alone."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn

from pellucid.adapt import Full, Lora, trainable
from pellucid.adapt.adapter import Adapter
from pellucid.adapt.lora import factors
from pellucid.errors import CompatibilityError, PriorError
from tests.adapt.toys import network

pytest.importorskip("peft")
STYLE = Lora(rank=4, alpha=2.0)
X, C = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([0.1, -0.3])


def moved(base: nn.Module, style: Lora | Full = STYLE) -> tuple[nn.Module, Adapter]:
    """A network whose free weights are all elsewhere, and what they are as an adapter."""
    free = trainable(base, style, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in free.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return free, Adapter(style, {name: value.clone() for name, value in factors(free, style).items()})


@pytest.mark.parametrize("style", [STYLE, Full()], ids=["lora", "full"])
def test_at_the_start_the_network_computes_what_it_did(style: Lora | Full) -> None:
    base = network()
    assert torch.equal(trainable(base, style)(X, C), base(X, C))


@pytest.mark.parametrize("style", [STYLE, Full()], ids=["lora", "full"])
def test_a_merged_adapter_computes_what_was_trained(style: Lora | Full) -> None:
    base = network()
    free, adapter = moved(base, style)
    with torch.no_grad():
        found, wanted, before = adapter.into(base)(X, C), free(X, C), base(X, C)
    assert float((wanted - before).abs().max()) > 0.01
    assert float((found - wanted).abs().max()) < 1e-5


@pytest.mark.parametrize("style", [STYLE, Full()], ids=["lora", "full"])
def test_the_base_is_neither_moved_nor_thawed_nor_copied(style: Lora | Full) -> None:
    base = network().requires_grad_(True)
    before = deepcopy(base.state_dict())
    free, adapter = moved(base, style)
    merged = adapter.into(base)
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())
    assert all(parameter.requires_grad for parameter in base.parameters())
    held = {parameter.data_ptr() for parameter in base.parameters()}
    if isinstance(style, Lora):
        frozen = [parameter for parameter in free.parameters() if not parameter.requires_grad]
        assert len(frozen) == len(held) and {parameter.data_ptr() for parameter in frozen} == held
        shared = [parameter.data_ptr() in held for parameter in merged.parameters()]
        assert 0 < sum(shared) == len(shared) - sum(isinstance(m, nn.Conv2d) for m in base.modules())
    else:
        assert not {parameter.data_ptr() for parameter in free.parameters()} & held


def test_in_float64_merging_loses_nothing() -> None:
    base = network().double()
    free, adapter = moved(base)
    with torch.no_grad():
        found, wanted = adapter.into(base)(X.double(), C.double()), free(X.double(), C.double())
    assert float((found - wanted).abs().max()) < 1e-12


def test_every_convolution_has_factors_of_its_rank() -> None:
    base = network()
    found = factors(trainable(base, STYLE), STYLE)
    convolutions = {name: module for name, module in base.named_modules() if isinstance(module, nn.Conv2d)}
    assert set(found) == {f"{name}.lora_{letter}" for name in convolutions for letter in "AB"}
    for name, module in convolutions.items():
        assert found[f"{name}.lora_A"].shape == (4, module.in_channels, *module.kernel_size)
        assert found[f"{name}.lora_B"].shape == (module.out_channels, 4, 1, 1)
        assert not found[f"{name}.lora_B"].any()


def test_the_formula_of_one_layer() -> None:
    """W' = W + (alpha / rank) B A, with B A the product over the rank."""
    layer = nn.Sequential(nn.Conv2d(2, 3, 3))
    _, adapter = moved(layer)
    a, b = adapter.state["0.lora_A"], adapter.state["0.lora_B"]
    wanted = layer[0].weight + 0.5 * torch.einsum("or,rikl->oikl", b[:, :, 0, 0], a)
    assert torch.allclose(adapter.into(layer)[0].weight, wanted, atol=1e-6)  # type: ignore[index]


def test_the_seed_decides_the_start_and_no_other_randomness_does() -> None:
    base = network()
    torch.manual_seed(5)
    first = factors(trainable(base, STYLE, seed=0), STYLE)
    state = torch.random.get_rng_state()
    again, other = (factors(trainable(base, STYLE, seed=seed), STYLE) for seed in (0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.lora_A"], other["stem.lora_A"])


@pytest.mark.parametrize("style", [STYLE, Full()], ids=["lora", "full"])
def test_saved_and_read_again(style: Lora | Full, tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "one.safetensors"
    _, adapter = moved(network(), style)
    Adapter(style, adapter.state, {"steps": 3}).save(path)
    found = Adapter.load(path)
    assert found.style == style and found.about["steps"] == 3
    assert {name: value.tolist() for name, value in found.state.items()} == {
        name: value.tolist() for name, value in adapter.state.items()
    }
    with pytest.raises(CompatibilityError, match="another network"):
        found.into(nn.Sequential(nn.Conv2d(3, 3, 3)))


def test_files_that_are_no_adapters_are_refused(tmp_path: object) -> None:
    from pathlib import Path

    from safetensors.torch import save_file

    folder = Path(str(tmp_path))
    with pytest.raises(PriorError, match="is not there"):
        Adapter.load(folder / "none.safetensors")
    (folder / "text.safetensors").write_text("hello")
    save_file({"a": torch.zeros(1)}, folder / "foreign.safetensors")
    _, adapter = moved(network())
    name = next(iter(adapter.state))
    Adapter(STYLE, {**adapter.state, name: adapter.state[name] * float("nan")}).save(folder / "nan.safetensors")
    other = {name: value[:2] if name.endswith("A") else value for name, value in adapter.state.items()}
    Adapter(STYLE, other).save(folder / "rank.safetensors")
    Adapter(Lora(4, 1e300), adapter.state).save(folder / "alpha.safetensors")
    Adapter(STYLE, {name: value * 1e9 for name, value in adapter.state.items()}).save(folder / "big.safetensors")
    Adapter(STYLE, {name: value.int() for name, value in adapter.state.items()}).save(folder / "whole.safetensors")
    headers = {
        "deep": "[" * 100_000,
        "list": '{"style": "full", "about": [1]}',
        "endless": '{"style": "lora", "rank": 1e999}',
        "steps": '{"style": "full", "about": {"steps": "x"}}',
        "seconds": '{"style": "full", "about": {"seconds": Infinity}}',
    }
    for name, header in headers.items():
        save_file({"a": torch.zeros(1)}, folder / f"{name}.safetensors", metadata={"pellucid_adapter": header})
    for broken in ("text", "foreign", "nan", "rank", "alpha", "big", "whole", *headers):
        with pytest.raises(PriorError, match="is no adapter"):
            Adapter.load(folder / f"{broken}.safetensors")


@pytest.mark.parametrize("words", [{"groups": 2}, {"dilation": 2}, {"padding_mode": "circular", "padding": 1}])
def test_convolutions_of_other_kinds_get_no_factors(words: dict[str, Any]) -> None:
    made = nn.Sequential(nn.Conv2d(4, 4, 3, **words), nn.Conv2d(4, 2, 3, padding="same", bias=False))
    free, adapter = moved(made)
    assert {name.partition(".")[0] for name in adapter.state} == {"1"}
    x = torch.randn(1, 4, 9, 9)
    with torch.no_grad():
        assert torch.allclose(adapter.into(made)(x), free(x), atol=1e-5)
    with pytest.raises(CompatibilityError, match="no convolution"):
        trainable(made[0], STYLE)


def test_a_network_without_convolutions_is_refused() -> None:
    with pytest.raises(CompatibilityError, match="no convolution"):
        trainable(nn.Linear(2, 2), STYLE)
