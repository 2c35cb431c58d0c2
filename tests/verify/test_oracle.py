"""The exact posterior against brute force, and the judge against exact samples."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from pellucid.errors import CompatibilityError, ConfigError
from pellucid.methods import METHODS, get
from pellucid.operators import BlockAverage, GaussianBlur, Grey, Identity, LinearOperator, Mask
from pellucid.prior.gaussian import GaussianPrior, MixturePrior
from pellucid.problem import Problem
from pellucid.verify.cli import run
from pellucid.verify.oracle import GaussianPosterior, MixturePosterior
from pellucid.verify.report import Case, Verdict, psnr, verify
from pellucid.verify.severity import PosteriorSeverity, built
from pellucid.verify.suite import Entry
from pellucid.verify.table import page

SIZE = 8
SHAPE = (2, SIZE, SIZE)
OPERATORS: dict[str, LinearOperator] = {
    "identity": Identity(SHAPE),
    "mask": Mask.random(SHAPE, missing=0.5),
    "blur": GaussianBlur(SHAPE, std=1.0),
    "average": BlockAverage(SHAPE, factor=2),
}


def prior(mean: float = 0.5, std: float = 0.2) -> GaussianPrior:
    return GaussianPrior.natural(SIZE, channels=2, mean=mean, std=std)


def dense(operator: LinearOperator) -> torch.Tensor:
    n = 2 * SIZE * SIZE
    return operator(torch.eye(n, dtype=torch.float64).reshape(n, *SHAPE)).flatten(1).T


@pytest.mark.parametrize("name", OPERATORS)
def test_mean_and_std_are_those_of_dense_algebra(name: str) -> None:
    operator, p, sigma = OPERATORS[name], prior(), 0.1
    y = torch.rand(1, *operator.measurement_shape, dtype=torch.float64)
    exact = GaussianPosterior.of(p, p.codec.observe(Problem(y, operator, sigma / 2)))
    n = 2 * SIZE * SIZE
    a, c = dense(operator), p.covariance(torch.eye(n, dtype=torch.float64).reshape(n, *SHAPE)).flatten(1)
    gain = c @ a.T @ torch.linalg.inv(a @ c @ a.T + sigma**2 * torch.eye(len(a), dtype=torch.float64))
    y_net = 2 * y.flatten() - a @ torch.ones(n, dtype=torch.float64)
    assert torch.allclose(exact.mean.flatten(), gain @ y_net, atol=1e-7)
    assert torch.allclose(exact.std.flatten(), (c - gain @ a @ c).diagonal().sqrt(), atol=1e-7)


def test_exact_samples_have_the_posterior_s_moments_and_coverage() -> None:
    case = Case.make(prior(), OPERATORS["mask"], 0.05, samples=4000)
    result = case.run(METHODS["pinv"].build())
    verdict = case.judge(dataclasses.replace(result, image=case.samples), "exact", "mask")
    assert verdict.spread == pytest.approx(1, abs=0.01) and verdict.bias < 0.03
    assert verdict.coverage_50 == pytest.approx(0.5, abs=0.01) and verdict.coverage_90 == pytest.approx(0.9, abs=0.01)
    assert verdict.residual == pytest.approx(1.0, abs=0.3) and verdict.gap == pytest.approx(0, abs=1e-9)


def test_a_biased_and_narrow_sampler_is_found_out() -> None:
    case = Case.make(prior(), OPERATORS["mask"], 0.05, samples=200)
    result = case.run(METHODS["pinv"].build())
    wrong = case.samples.mean(0, keepdim=True) + 0.25 * (case.samples - case.samples.mean(0, keepdim=True)) + 0.1
    verdict = case.judge(dataclasses.replace(result, image=wrong), "wrong", "mask")
    assert verdict.spread < 0.3 and verdict.bias > 1 and verdict.coverage_50 < 0.4


def test_the_mixture_posterior_is_bayes_rule() -> None:
    parts, weights = [prior(0.7, 0.2), prior(0.3, 0.1)], [0.3, 0.7]
    p, operator, sigma = MixturePrior(parts, weights), OPERATORS["average"], 0.1
    y = operator(p.codec.decode(parts[0].color(torch.randn(1, *SHAPE, dtype=torch.float64))))
    exact = MixturePosterior.of(p, p.codec.observe(Problem(y, operator, sigma / 2)))
    a = dense(operator)
    y_net = 2 * y.flatten() - a @ torch.ones(a.shape[1], dtype=torch.float64)
    n = a.shape[1]
    log_p = []
    for part, weight in zip(parts, weights, strict=True):
        c = part.covariance(torch.eye(n, dtype=torch.float64).reshape(n, *SHAPE)).flatten(1)
        cov = a @ c @ a.T + sigma**2 * torch.eye(len(a), dtype=torch.float64)
        normal = torch.distributions.MultivariateNormal(a @ part.mean.expand(n), cov)
        log_p.append(normal.log_prob(y_net) + torch.tensor(weight, dtype=torch.float64).log())
    assert torch.allclose(exact.weights, torch.softmax(torch.stack(log_p), 0), atol=1e-6)
    assert exact.weights[0] > 0.99
    samples = exact.sample(3000, torch.Generator().manual_seed(0))
    assert (samples.mean(0) - exact.mean[0]).abs().max() < 5 * float(exact.std.max()) / 3000**0.5
    assert float((samples.std(0) / exact.std[0]).square().mean().sqrt()) == pytest.approx(1, abs=0.02)


def test_an_operator_that_mixes_channels_has_no_channelwise_posterior() -> None:
    p = GaussianPrior.natural(8)
    problem = Problem(torch.rand(1, 1, 8, 8, dtype=torch.float64), Grey((3, 8, 8)), 0.05)
    with pytest.raises(CompatibilityError, match="mixes channels"):
        GaussianPosterior.of(p, p.codec.observe(problem))


@pytest.mark.parametrize("name", [name for name, preset in METHODS.items() if preset.models_noise])
def test_methods_that_model_noise_are_near_the_exact_posterior(name: str) -> None:
    """The mean of 16 samples within 1.5 dB of that of 16 exact ones, at defaults, on a box mask and on denoising."""
    for text, operator in (("box", Mask.box((3, 16, 16), 8)), ("denoise", Identity((3, 16, 16)))):
        assert verify(built(get(name)), operator, 0.05, 16, name=text).gap < 1.5


def test_the_command_prints_json_and_saves_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    run("ddrm", ["mask:box=4"], size=16, out=tmp_path, as_json_text=True)
    (said,) = json.loads(capsys.readouterr().out)
    assert said["method"] == "ddrm" and said["samples"] == 16 and 5 < said["psnr_mean"] < 60
    assert json.loads((tmp_path / "verify-ddrm.json").read_text()) == [said]
    assert (tmp_path / "verify-ddrm-mask-box-4.png").stat().st_size > 10_000
    with pytest.raises(ConfigError, match="--all"):
        run(None)


def test_the_page_marks_what_misses_and_says_what_cannot() -> None:
    good = verify(get("pinv").build(), Identity((3, 8, 8)), 0.05, 8, name="denoise")
    bad = dataclasses.replace(good, psnr_mean=good.exact_mean - 3)
    text = page(
        [Entry("denoise", METHODS["dps"], 0.05, bad), Entry("denoise", METHODS["repaint"], 0.05, None, "no")],
        8,
        16,
        "x",
    )
    assert f"**{bad.psnr_mean:.1f}**" in text and "cannot" in text and "dps, denoise: 3.0 dB below" in text


def test_psnr_is_of_every_image_and_of_the_range_one() -> None:
    truth = torch.zeros(1, 1, 2, 2)
    assert psnr(torch.stack([truth[0] + 0.1, truth[0] + 1.0]), truth).tolist() == pytest.approx([20.0, 0.0], abs=1e-4)
    assert isinstance(verify(get("pinv").build(), Identity((3, 8, 8)), size=8), Verdict)


def test_flash_with_the_exact_encoder_is_as_good_as_the_exact_posterior() -> None:
    """On every problem the mean of its samples is no further off, for a twentieth to an eighth of DPS's calls.

    Its samples are too alike: the posterior mean's own error is not among what is drawn again. The paper's noise
    correction brings some of that spread back.
    """
    for operator in (Identity((3, 16, 16)), Mask.box((3, 16, 16), 8), GaussianBlur((3, 16, 16), 2.0)):
        exact, paper = (
            verify(get("flash").build(encoder=PosteriorSeverity(), rule=rule), operator, size=16)
            for rule in ("exact", "paper")
        )
        assert exact.gap < 0.1 and paper.gap < 0.1
        assert exact.nfe == paper.nfe < 125
        assert 0.5 < exact.spread < paper.spread < 0.9
