"""PSNR, SSIM, the protocol and data consistency against closed forms and plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from pellucid import Problem
from pellucid.errors import ConfigError, ProblemError, UnknownNameError
from pellucid.metrics import METRICS, MetricError, Protocol, get, psnr
from pellucid.operators.text import parse


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(3, 3, 40, 36, generator=generator, dtype=torch.float64)
    return truth + 0.1 * torch.randn(truth.shape, generator=generator, dtype=torch.float64), truth


def test_psnr_of_a_constant_error() -> None:
    truth = torch.full((2, 3, 8, 8), 0.5)
    assert psnr(truth + 0.1, truth).tolist() == pytest.approx([20.0, 20.0], abs=1e-5)
    assert psnr(truth, truth).tolist() == [120.0, 120.0]
    assert psnr(truth, truth, at_most=math.inf).tolist() == [math.inf, math.inf]
    white = torch.ones(1, 1, 4, 4)
    assert float(psnr(white + 3, white)) == 120.0
    assert float(psnr(white + 3, white, clip=False)) == pytest.approx(-20 * math.log10(3))


def test_psnr_and_ssim_are_torchmetrics_own_and_of_each_image_alone(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    x, truth = pair
    clipped = x.clamp(0, 1)
    for i in range(len(x)):
        one = slice(i, i + 1)
        theirs = float(peak_signal_noise_ratio(clipped[one], truth[one], data_range=1.0))
        assert float(METRICS["psnr"](x, truth)[i]) == pytest.approx(
            theirs, abs=1e-5
        )  # theirs takes a float32 logarithm
        theirs = float(structural_similarity_index_measure(clipped[one], truth[one], data_range=1.0))
        assert float(METRICS["ssim"](x, truth)[i]) == pytest.approx(theirs, abs=1e-10)


def test_ssim_is_the_papers_formula_on_the_picture_reflected_at_its_edges(
    pair: tuple[torch.Tensor, torch.Tensor],
) -> None:
    x, truth = (p[:1, :1, :13, :12] for p in pair)
    x = x.clamp(0, 1)
    offsets = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-(offsets**2) / (2 * 1.5**2))
    window = line[:, None] * line / (line[:, None] * line).sum()
    wide_x, wide_truth = (torch.nn.functional.pad(p, (5, 5, 5, 5), mode="reflect")[0, 0] for p in (x, truth))
    values = []
    for top in range(13):
        for left in range(12):
            a, b = (p[top : top + 11, left : left + 11] for p in (wide_x, wide_truth))
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * a * a).sum() - ma**2, (window * b * b).sum() - mb**2
            vab = (window * a * b).sum() - ma * mb
            c1, c2 = 0.01**2, 0.03**2
            values.append((2 * ma * mb + c1) * (2 * vab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    assert float(METRICS["ssim"](x, truth)) == pytest.approx(float(torch.stack(values).mean()), abs=1e-9)


def test_float32_is_an_option(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, truth = pair
    assert METRICS["ssim"](x, truth).dtype == torch.float64
    single = METRICS["ssim"](x, truth, double=False)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), METRICS["ssim"](x, truth), atol=1e-4, rtol=0)


def test_ms_ssim() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 1, 176, 180, generator=generator)
    scores = METRICS["ms-ssim"](torch.stack([truth[0], 1 - truth[1]]), truth)
    assert float(scores[0]) == pytest.approx(1) and float(scores[1]) == 0  # anticorrelated: clipped at 0
    with pytest.raises(MetricError, match="at least 176 px"):
        METRICS["ms-ssim"](truth[..., :175, :], truth[..., :175, :])


def test_border_and_luma(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, truth = pair
    cut = METRICS["psnr"](x, truth, protocol=Protocol(border=4))
    torch.testing.assert_close(cut, psnr(x[..., 4:-4, 4:-4], truth[..., 4:-4, 4:-4]))
    white, black = torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    y = Protocol(colour="y")
    assert (255 * y.prepare(white)).unique().item() == pytest.approx(235, abs=1e-3)
    assert (255 * y.prepare(black)).unique().item() == pytest.approx(16, abs=1e-3)
    torch.testing.assert_close(y.prepare(white[:, :1]), y.prepare(white))
    green = torch.tensor([0.0, 1.0, 0.0]).reshape(1, 3, 1, 1)
    assert 255 * y.prepare(green).item() == pytest.approx(16 + 128.553, abs=1e-3)


def test_the_text_says_what_was_done() -> None:
    text = METRICS["psnr"].text(Protocol(clip=False, border=4, colour="y"))
    for part in ("dB", "higher is better", "[0, 1]", "not clipped", "border of 4 px", "BT.601", "peak 1"):
        assert part in text
    assert ", clipped, no border cut off, RGB" in METRICS["ssim"].text()


@pytest.mark.parametrize(
    ("protocol", "message"), [({"border": -1}, "0 or more"), ({"colour": "lab"}, "one of rgb, y")], ids=str
)
def test_wrong_protocols_are_refused(protocol: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Protocol(**protocol)  # type: ignore[arg-type]


def test_what_does_not_fit_is_refused() -> None:
    x = torch.rand(1, 3, 16, 16)
    with pytest.raises(MetricError, match="shapes"):
        METRICS["psnr"](x, x[..., :8])
    with pytest.raises(MetricError, match="needs the true picture"):
        METRICS["psnr"](x)
    with pytest.raises(MetricError, match="leaves nothing"):
        METRICS["psnr"](x, x, protocol=Protocol(border=8))
    with pytest.raises(MetricError, match="at least 11 px"):
        METRICS["ssim"](x[..., :10], x[..., :10])
    with pytest.raises(MetricError, match="batch, channels"):
        METRICS["psnr"](x[0], x[0])
    with pytest.raises(MetricError, match="1 or 3 channels"):
        METRICS["psnr"](x[:, :2], x[:, :2], protocol=Protocol(colour="y"))
    with pytest.raises(MetricError, match="number an image"):
        METRICS["psnr"].accumulate()
    with pytest.raises(UnknownNameError, match="did you mean 'psnr'"):
        get("pnsr")


def test_the_truth_has_residual_one_and_half_the_noise_doubles_it() -> None:
    operator = parse("gaussian-blur:std=1").build((3, 32, 32))
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 3, 32, 32, generator=generator, dtype=torch.float64)
    noise = torch.randn(truth.shape, generator=generator, dtype=torch.float64)
    y = operator(truth) + torch.tensor([0.1, 0.2]).reshape(2, 1, 1, 1) * noise
    residual = METRICS["residual"](truth, problem=Problem(y, operator, torch.tensor([0.1, 0.1])))
    assert residual.tolist() == pytest.approx([1.0, 2.0], rel=0.04)
    rms = METRICS["residual_rms"](truth, problem=Problem(y, operator))
    torch.testing.assert_close(rms, 0.1 * residual)
    with pytest.raises(ProblemError, match="residual_rms"):
        METRICS["residual"](truth, problem=Problem(y, operator))
    with pytest.raises(MetricError, match="needs the problem"):
        METRICS["residual"](truth)


def test_residual_of_photon_noise_is_near_one() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = 0.2 + 0.8 * torch.rand(1, 1, 64, 64, generator=generator, dtype=torch.float64)
    gain = 0.001
    y = gain * torch.poisson(truth / gain, generator=generator)
    problem = Problem(y, parse("identity").build((1, 64, 64)), 0.0, gain=gain)
    assert float(METRICS["residual"](truth, problem=problem)) == pytest.approx(1, rel=0.05)
