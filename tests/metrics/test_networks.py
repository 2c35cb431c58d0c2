"""LPIPS, Inception, EfficientNet-Lite0 and pyiqa: arithmetic by plain loops, names of published files, refusals."""

from __future__ import annotations

import hashlib
import math
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pellucid.metrics import METRICS, MetricError, effnet, iqa
from pellucid.metrics.effnet import EfficientNetLite0, EffnetDistance, EffnetFrechet, Same, grid_of_crops, load_effnet
from pellucid.metrics.inception import FID, KID, Inception, load_inception
from pellucid.metrics.lpips import LPIPS, TRUNKS, Net, find_heads
from pellucid.metrics.weights import FOLDERS, WeightFile, fill, read_weights
from tests.golden.data import SHARED

NETS: tuple[Net, ...] = ("alex", "vgg", "squeeze")
EFFNET = pytest.mark.skipif(
    not any((folder / effnet.WEIGHTS.name).is_file() for folder in effnet.WEIGHTS._folders()),
    reason="the package with the weights is not installed",
)


def noise(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(scope="module")
def trunk_file(tmp_path_factory: pytest.TempPathFactory) -> dict[Net, Path]:
    """Random weights under the names of the published files, with a classifier's beside them."""
    folder = tmp_path_factory.mktemp("trunks")
    torch.manual_seed(0)
    paths: dict[Net, Path] = {}
    for net in NETS:
        layers = nn.ModuleList(TRUNKS[net].layers())
        weights = {f"features.{name}": value for name, value in layers.state_dict().items()}
        paths[net] = folder / f"{net}.pth"
        torch.save({**weights, "classifier.1.weight": torch.zeros(2, 2)}, paths[net])
    return paths


def lpips_by_loops(net: Net, trunk: Path, x: Tensor, y: Tensor) -> float:
    """The paper's equation (1) with the scaling of its code, one position at a time; the network layer by layer."""
    weights = {k: v.double() for k, v in torch.load(trunk, weights_only=True).items()}
    heads = [h.double().flatten() for h in torch.load(find_heads(net), map_location="cpu", weights_only=True).values()]

    def convolve(x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        kernel, bias = weights[f"features.{name}.weight"], weights[f"features.{name}.bias"]
        return torch.conv2d(x, kernel, bias, stride, padding).clamp(min=0)

    def fire(x: Tensor, name: int) -> Tensor:
        x = convolve(x, f"{name}.squeeze")
        return torch.cat([convolve(x, f"{name}.expand1x1"), convolve(x, f"{name}.expand3x3", 1, 1)], 1)

    def outputs(x: Tensor) -> list[Tensor]:
        shift = torch.tensor([-0.030, -0.088, -0.188], dtype=torch.float64).reshape(3, 1, 1)
        scale = torch.tensor([0.458, 0.448, 0.450], dtype=torch.float64).reshape(3, 1, 1)
        x, kept = (2 * x - 1 - shift) / scale, []
        if net == "alex":
            for name, stride, padding, pooled in (
                (0, 4, 2, 0),
                (3, 1, 2, 1),
                (6, 1, 1, 1),
                (8, 1, 1, 0),
                (10, 1, 1, 0),
            ):
                x = torch.max_pool2d(x, 3, 2) if pooled else x
                x = convolve(x, str(name), stride, padding)
                kept.append(x)
        if net == "vgg":
            for names in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)):
                x = torch.max_pool2d(x, 2) if kept else x
                for name in names:
                    x = convolve(x, str(name), 1, 1)
                kept.append(x)
        if net == "squeeze":
            x = convolve(x, "0", 2)
            kept.append(x)
            for names in ((3, 4), (6, 7), (9,), (10,), (11,), (12,)):
                x = torch.max_pool2d(x, 3, 2, ceil_mode=True) if names[0] in (3, 6, 9) else x
                for name in names:
                    x = fire(x, name)
                kept.append(x)
        return kept

    total = 0.0
    for f, g, head in zip(outputs(x), outputs(y), heads, strict=True):
        _, _, height, width = f.shape
        level = 0.0
        for i in range(height):
            for j in range(width):
                a, b = f[0, :, i, j], g[0, :, i, j]
                a, b = a / (a.square().sum().sqrt() + 1e-10), b / (b.square().sum().sqrt() + 1e-10)
                level += float((head * (a - b) ** 2).sum())
        total += level / (height * width)
    return total


@pytest.mark.parametrize("net", NETS)
def test_lpips_is_the_papers_equation(net: Net, trunk_file: dict[Net, Path]) -> None:
    metric = LPIPS(net, trunk_file[net]).double()
    x, y = noise(1, 2, 3, 64, 72, dtype=torch.float64), noise(2, 2, 3, 64, 72, dtype=torch.float64)
    expected = lpips_by_loops(net, trunk_file[net], x[:1], y[:1])
    assert expected > 1e-4
    found = metric(x, y)
    assert float(found[0]) == pytest.approx(expected, rel=1e-8)
    torch.testing.assert_close(metric(x[1:], y[1:]), found[1:], rtol=1e-10, atol=0)
    assert metric(x, x).tolist() == [0, 0]
    grey = metric(x[:, :1], y[:, :1])
    torch.testing.assert_close(grey, metric(x[:, :1].expand(-1, 3, -1, -1), y[:, :1].expand(-1, 3, -1, -1)))


def test_lpips_is_a_loss(trunk_file: dict[Net, Path]) -> None:
    metric = LPIPS("alex", trunk_file["alex"]).double().train()
    assert not metric.training and not any(p.requires_grad for p in metric.parameters())
    x, y = noise(1, 1, 3, 64, 64, dtype=torch.float64).requires_grad_(), noise(2, 1, 3, 64, 64, dtype=torch.float64)
    (slope,) = torch.autograd.grad(metric(x, y).sum(), x)
    direction = noise(3, 1, 3, 64, 64, dtype=torch.float64) - 0.5
    with torch.no_grad():
        difference = (metric(x + 1e-6 * direction, y) - metric(x - 1e-6 * direction, y)) / 2e-6
    assert float((slope * direction).sum()) == pytest.approx(float(difference), rel=1e-4)
    black = torch.zeros(1, 3, 64, 64, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(metric(black, black.detach()).sum(), black)
    assert torch.isfinite(slope).all()


def test_lpips_refusals(trunk_file: dict[Net, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv(FOLDERS, raising=False)
    for net in NETS:
        name = TRUNKS[net].file.name
        with pytest.raises(MetricError) as error:
            LPIPS(net)
        for part in (name, f"https://download.pytorch.org/models/{name}", str(tmp_path), FOLDERS):
            assert part in str(error.value)
    with pytest.raises(MetricError, match="does not fit"):
        LPIPS("alex", trunk_file["squeeze"])
    with pytest.raises(MetricError, match="does not hold the heads"):
        LPIPS("alex", trunk_file["alex"], find_heads("vgg"))
    with pytest.raises(MetricError, match="too small"):
        LPIPS("alex", trunk_file["alex"])(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8))
    with pytest.raises(MetricError, match="2 channels"):
        LPIPS("alex", trunk_file["alex"])(torch.rand(1, 2, 64, 64), torch.rand(1, 2, 64, 64))


def test_weights_are_found_by_name_and_checked_by_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = tmp_path / "content"
    torch.save({"a": torch.ones(2)}, content)
    start = hashlib.sha256(content.read_bytes()).hexdigest()[:8]
    right, wrong = (
        WeightFile(f"net-{start}.pth", "net", "https://x"),
        WeightFile("net-01234567.pth", "net", "https://x"),
    )
    for folder in ("mine", "hub/checkpoints"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints" / right.name).write_bytes(content.read_bytes())
    assert right.find() == tmp_path / "hub" / "checkpoints" / right.name
    monkeypatch.setenv(FOLDERS, str(tmp_path / "mine"))
    (tmp_path / "mine" / right.name).write_bytes(content.read_bytes())
    assert right.find() == tmp_path / "mine" / right.name
    (tmp_path / "mine" / wrong.name).write_bytes(content.read_bytes())
    with pytest.raises(MetricError, match=f"begins with {start}"):
        wrong.find()
    assert read_weights(right.find())["a"].tolist() == [1, 1]


class Surprise:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("unpickled",))


def test_files_of_weights_are_not_trusted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile, garbage, other = tmp_path / "hostile.pth", tmp_path / "garbage.pth", tmp_path / "other.pth"
    torch.save({"a": Surprise()}, hostile)
    garbage.write_bytes(b"PK\3\4 no archive")
    torch.save({"a": [1, 2]}, other)
    for path, message in ((hostile, "cannot be read"), (garbage, "cannot be read"), (other, "no named tensors")):
        with pytest.raises(MetricError, match=message):
            read_weights(path)
    assert "unpickled" not in capsys.readouterr().out
    with pytest.raises(MetricError, match="no file"):
        read_weights(tmp_path / "absent.pth")
    with pytest.raises(MetricError, match="1 tensors differ, the first is weight"):
        fill(nn.Linear(2, 3), {"weight": torch.zeros(3, 1), "bias": torch.zeros(3)}, other)


def inception_names() -> dict[str, tuple[int, ...]]:
    """Convolutions of the 2015 graph by block: name, input and output channels, kernel."""
    units: dict[str, tuple[int, int, int, int]] = {
        "Conv2d_1a_3x3": (3, 32, 3, 3),
        "Conv2d_2a_3x3": (32, 32, 3, 3),
        "Conv2d_2b_3x3": (32, 64, 3, 3),
        "Conv2d_3b_1x1": (64, 80, 1, 1),
        "Conv2d_4a_3x3": (80, 192, 3, 3),
    }
    for block, n, pooled in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        units |= {
            f"Mixed_{block}.branch1x1": (n, 64, 1, 1),
            f"Mixed_{block}.branch5x5_1": (n, 48, 1, 1),
            f"Mixed_{block}.branch5x5_2": (48, 64, 5, 5),
            f"Mixed_{block}.branch3x3dbl_1": (n, 64, 1, 1),
            f"Mixed_{block}.branch3x3dbl_2": (64, 96, 3, 3),
            f"Mixed_{block}.branch3x3dbl_3": (96, 96, 3, 3),
            f"Mixed_{block}.branch_pool": (n, pooled, 1, 1),
        }
    units |= {
        "Mixed_6a.branch3x3": (288, 384, 3, 3),
        "Mixed_6a.branch3x3dbl_1": (288, 64, 1, 1),
        "Mixed_6a.branch3x3dbl_2": (64, 96, 3, 3),
        "Mixed_6a.branch3x3dbl_3": (96, 96, 3, 3),
    }
    for block, c in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        units |= {
            f"Mixed_{block}.branch1x1": (768, 192, 1, 1),
            f"Mixed_{block}.branch7x7_1": (768, c, 1, 1),
            f"Mixed_{block}.branch7x7_2": (c, c, 1, 7),
            f"Mixed_{block}.branch7x7_3": (c, 192, 7, 1),
            f"Mixed_{block}.branch7x7dbl_1": (768, c, 1, 1),
            f"Mixed_{block}.branch7x7dbl_2": (c, c, 7, 1),
            f"Mixed_{block}.branch7x7dbl_3": (c, c, 1, 7),
            f"Mixed_{block}.branch7x7dbl_4": (c, c, 7, 1),
            f"Mixed_{block}.branch7x7dbl_5": (c, 192, 1, 7),
            f"Mixed_{block}.branch_pool": (768, 192, 1, 1),
        }
    units |= {
        "Mixed_7a.branch3x3_1": (768, 192, 1, 1),
        "Mixed_7a.branch3x3_2": (192, 320, 3, 3),
        "Mixed_7a.branch7x7x3_1": (768, 192, 1, 1),
        "Mixed_7a.branch7x7x3_2": (192, 192, 1, 7),
        "Mixed_7a.branch7x7x3_3": (192, 192, 7, 1),
        "Mixed_7a.branch7x7x3_4": (192, 192, 3, 3),
    }
    for block, n in (("7b", 1280), ("7c", 2048)):
        units |= {
            f"Mixed_{block}.branch1x1": (n, 320, 1, 1),
            f"Mixed_{block}.branch3x3_1": (n, 384, 1, 1),
            f"Mixed_{block}.branch3x3_2a": (384, 384, 1, 3),
            f"Mixed_{block}.branch3x3_2b": (384, 384, 3, 1),
            f"Mixed_{block}.branch3x3dbl_1": (n, 448, 1, 1),
            f"Mixed_{block}.branch3x3dbl_2": (448, 384, 3, 3),
            f"Mixed_{block}.branch3x3dbl_3a": (384, 384, 1, 3),
            f"Mixed_{block}.branch3x3dbl_3b": (384, 384, 3, 1),
            f"Mixed_{block}.branch_pool": (n, 192, 1, 1),
        }
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (channels, out, height, width) in units.items():
        shapes[f"{name}.conv.weight"] = (out, channels, height, width)
        shapes |= {f"{name}.bn.{part}": (out,) for part in ("weight", "bias", "running_mean", "running_var")}
    return shapes


def test_inception_has_the_names_and_sizes_of_the_published_file(tmp_path: Path) -> None:
    names = inception_names()
    torch.manual_seed(0)
    weights = {name: 0.05 * torch.randn(shape) for name, shape in names.items() if not name.endswith("var")}
    weights |= {name: torch.ones(shape) for name, shape in names.items() if name.endswith("var")}
    classifier = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save({**weights, **classifier}, tmp_path / "inception.pth")
    network = load_inception(tmp_path / "inception.pth")
    assert sum(p.numel() for p in network.parameters()) == 21_785_568  # of Inception-v3 without its classifiers
    assert torch.equal(network.Mixed_7c.branch_pool.conv.weight, weights["Mixed_7c.branch_pool.conv.weight"])
    sizes: dict[str, torch.Size] = {}
    for name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"):
        network.get_submodule(name).register_forward_hook(lambda _, __, y, name=name: sizes.update({name: y.shape[1:]}))
    with torch.no_grad():
        assert network(torch.rand(1, 3, 32, 40)).shape == (1, 2048)
    expected = {
        "Conv2d_2b_3x3": (64, 147, 147),
        "Conv2d_4a_3x3": (192, 71, 71),
        "Mixed_5d": (288, 35, 35),
        "Mixed_6e": (768, 17, 17),
        "Mixed_7c": (2048, 8, 8),
    }
    assert {name: tuple(size) for name, size in sizes.items()} == expected
    del weights["Mixed_5b.branch1x1.bn.bias"]
    torch.save(weights, tmp_path / "less.pth")
    with pytest.raises(MetricError, match=r"1 tensors differ, the first is Mixed_5b.branch1x1.bn.bias"):
        load_inception(tmp_path / "less.pth")


@pytest.mark.slow
def test_fid_and_kid_run_on_inception(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(Inception().state_dict(), tmp_path / "inception.pth")
    x, truth = noise(0, 2, 3, 32, 32), noise(1, 2, 3, 32, 32)
    for kind in (FID, KID):
        metric = kind(path=tmp_path / "inception.pth")
        metric.update(x, truth)
        assert math.isfinite(metric.compute()) and "2 and 2 samples of 2048" in metric.text


def test_inceptions_pools_are_those_of_the_2015_graph() -> None:
    """At a corner, the mean leaves the padding out; the last block takes the maximum."""
    network = Inception()
    x = torch.full((1, 2048, 8, 8), -1.0)
    seen: list[Tensor] = []
    for name in ("Mixed_7b", "Mixed_7c"):
        block = network.get_submodule(name)
        block.branch_pool.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
        block.eval()(x[:, :1280] if name == "Mixed_7b" else torch.cat([x[..., :7], x[..., :1] + 3], 3))
    assert torch.allclose(seen[0], torch.tensor(-1.0))  # with zeros it would be -4/9 at the corners
    assert seen[1].amax() == 2 and float(seen[1][..., -2].amin()) == 2 and float(seen[1][..., 0].amax()) == -1


def test_fid_needs_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv(FOLDERS, raising=False)
    for name in ("fid", "kid"):
        with pytest.raises(MetricError, match=r"pt_inception-2015-12-05-6726825d.pth.*github.com/mseitzer"):
            METRICS[name].accumulate()


def test_padding_is_tensorflows() -> None:
    ones = Same(1, 1, 3, 2, bias=False)
    nn.init.ones_(ones.weight)
    even, odd = ones(torch.ones(1, 1, 4, 4)), ones(torch.ones(1, 1, 5, 5))
    assert even[0, 0].tolist() == [[9, 6], [6, 4]]  # nothing is added above and left
    assert odd[0, 0].tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]


@EFFNET
def test_effnet_recognises_photographs() -> None:
    """Classes of ImageNet: 387 lesser panda, 483 castle. Wrong padding, range or order of channels loses them."""
    folder = SHARED / "photos" / "eval"
    if not folder.is_dir():
        pytest.skip("the shared photographs are not here")
    from pellucid.images import read

    network = load_effnet()
    for name, label in (("gcompris_075", 387), ("gcompris_008", 483)):
        pixels = read(folder / f"{name}.png").at_most(224).pixels
        with torch.no_grad():
            chances = network(pixels[None]).softmax(1)[0]
        assert int(chances.argmax()) == label and float(chances[label]) > 0.8


@EFFNET
def test_effnet_distance() -> None:
    metric = EffnetDistance().double().train()
    assert not metric.training and not any(p.requires_grad for p in metric.parameters())
    x, y = noise(1, 2, 3, 40, 48, dtype=torch.float64), noise(2, 2, 3, 40, 48, dtype=torch.float64)
    levels = []
    for f, g in zip(metric.network.features(x[:1]), metric.network.features(y[:1]), strict=True):
        cosine = torch.cosine_similarity(f, g, dim=1)
        levels.append(float((2 - 2 * cosine).mean()))
    assert len(levels) == 5
    found = metric(x, y)
    assert float(found[0]) == pytest.approx(sum(levels) / 5, rel=1e-6)
    torch.testing.assert_close(metric(x[1:], y[1:]), found[1:], rtol=1e-9, atol=0)
    assert float(metric(x, x).abs().max()) == 0
    slightly, more = metric(x, (0.95 * x + 0.05 * y)), metric(x, 0.8 * x + 0.2 * y)
    assert (slightly < more).all() and (more < found).all()
    x.requires_grad_()
    (slope,) = torch.autograd.grad(metric(x, y).sum(), x)
    direction = noise(3, 2, 3, 40, 48, dtype=torch.float64) - 0.5
    with torch.no_grad():
        step = 1e-8 * direction
        difference = (metric(x + step, y) - metric(x - step, y)).sum() / 2e-8
    assert float((slope * direction).sum()) == pytest.approx(float(difference), rel=1e-3)  # ReLU6 has kinks
    assert float(METRICS["effnet_distance"](x.detach(), y)[0]) == pytest.approx(float(found[0]), rel=1e-3)


@EFFNET
def test_effnet_frechet_grows_with_the_damage_and_refuses_few_pictures() -> None:
    smooth = torch.nn.functional.interpolate(noise(0, 8, 3, 12, 12), 72, mode="bicubic").clamp(0, 1)
    rough = noise(1, 8, 3, 72, 72) - 0.5

    def against(level: float) -> float:
        metric = EffnetFrechet(size=48)
        metric.update(smooth + level * rough, smooth)
        assert metric.text == "128 and 128 samples of 112 features"
        return metric.compute()

    same, little, much = against(0), against(0.05), against(0.4)
    assert same < 1e-6 < little < much
    few = EffnetFrechet(size=48)
    few.update(smooth[:7], smooth[:7])
    with pytest.raises(MetricError, match=r"112 crops.*8 pictures"):
        few.compute()
    with pytest.raises(MetricError, match="smaller than crops"):
        METRICS["effnet_frechet"].accumulate().update(smooth)
    with pytest.raises(MetricError, match="square number"):
        EffnetFrechet(crops=12)


def test_crops_go_from_edge_to_edge() -> None:
    picture = torch.arange(2 * 6 * 7.0).reshape(2, 1, 6, 7)
    crops = grid_of_crops(picture, 2, 4)
    assert crops.shape == (8, 1, 4, 4)
    assert crops[:, 0, 0, 0].tolist() == [0, 3, 14, 17, 42, 45, 56, 59]


def test_effnet_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv(FOLDERS, raising=False)
    monkeypatch.setattr(
        effnet, "WEIGHTS", WeightFile("a-0.pth", "net", "https://x", ("no_such_package", "models"), "Hint")
    )
    with pytest.raises(MetricError, match="Hint"):
        load_effnet()
    torch.save(EfficientNetLite0().state_dict(), tmp_path / "random.pth")
    assert not load_effnet(tmp_path / "random.pth").training


def test_pyiqa_is_adapted(monkeypatch: pytest.MonkeyPatch) -> None:
    iqa._model.cache_clear()
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    for name in ("musiq", "musiq-ava", "niqe"):
        with pytest.raises(MetricError, match=r"pip install 'pellucid\[iqa\]'"):
            METRICS[name](torch.rand(1, 3, 8, 8))
    asked: list[tuple[str, torch.device]] = []

    def create_metric(name: str, device: torch.device) -> object:
        asked.append((name, device))
        if name == "niqe":
            return lambda x: x.mean(1)
        if name == "musiq-ava":
            raise OSError("no network")
        return lambda x: x.mean((1, 2, 3), keepdim=True)

    fake = types.ModuleType("pyiqa")
    fake.create_metric = create_metric  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyiqa", fake)
    x = torch.stack([torch.full((1, 8, 8), 0.25), torch.full((1, 8, 8), 3.0)])
    assert METRICS["musiq"](x).tolist() == [0.25, 1.0]  # grey made three channels, clipped
    assert METRICS["musiq"](x).tolist() == [0.25, 1.0] and asked == [("musiq", torch.device("cpu"))]
    with pytest.raises(MetricError, match="64 numbers"):
        METRICS["niqe"](x)
    with pytest.raises(MetricError, match="cannot load the weights of musiq-ava: no network"):
        METRICS["musiq-ava"](x)
    iqa._model.cache_clear()
