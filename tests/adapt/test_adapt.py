"""Adaptation: it learns what the neighbours share, costs what it says, and leaves the prior alone."""

from __future__ import annotations

from copy import copy, deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from pellucid import methods
from pellucid.adapt import Adaptation, Full, Lora, Training, adapt, learn, together, trainable
from pellucid.adapt.adapt import _HeldOut, simple_loss, times
from pellucid.adapt.cache import key
from pellucid.adapt.examples import Examples
from pellucid.adapt.query import measured
from pellucid.codec import AffineCodec
from pellucid.errors import CompatibilityError, ShapeError
from pellucid.loop import reconstruct
from pellucid.operators import parse
from pellucid.prior.base import State
from pellucid.prior.diffusion import DiffusionPrior
from pellucid.prior.gaussian import GaussianPrior
from pellucid.prior.tiled import TiledPrior
from pellucid.problem import Problem
from pellucid.process import VE, DiscreteVP, Flow, Process
from pellucid.slots import stream
from tests.adapt.toys import network, prior, stripes
from tests.latent import codec

pytest.importorskip("peft")
HOW = Adaptation(Lora(4, 4.0), Training(steps=60, lr=3e-3), batch=4, crop=16)
OPERATOR = parse("bicubic:factor=4").build((3, 32, 32))


def problem(count: int = 1, seed: int = 9) -> Problem:
    """Stripes that the neighbours do not hold, at a quarter of their size."""
    return Problem(OPERATOR(torch.stack(stripes(count, seed=seed))), OPERATOR, 0.01)


def test_it_learns_what_the_neighbours_share() -> None:
    base = prior()
    unseen = _HeldOut(base, Examples(stripes(4, seed=7), base, 3, 16), HOW)
    found = adapt(base, problem(), stripes(6), HOW)
    assert isinstance(found.network, nn.Module) and isinstance(base.network, nn.Module)
    assert unseen(found.network) < 0.9 * unseen(base.network)


def test_it_is_repeatable_and_seeded() -> None:
    runs = [learn(prior(), stripes(3), 3, Adaptation(HOW.style, Training(steps=3, seed=seed))) for seed in (0, 0, 1)]
    first, again, other = (run.state["network.stem.lora_B"] for run in runs)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_its_cost_is_in_the_result() -> None:
    found = adapt(prior(), problem(), stripes(2), Adaptation(HOW.style, Training(steps=5), crop=16))
    result = reconstruct(problem(), found, methods.adir(nfe=4))
    (cost,) = result.adaptation
    assert (cost.steps, cost.cached) == (5, False) and cost.seconds > 0
    assert result.nfe.tolist() == [4]  # adaptation is counted apart
    assert reconstruct(problem(), found.base, methods.adir(nfe=4)).adaptation == ()
    assert TiledPrior(found, 64, 8).costs == (cost,)


def test_no_steps_leave_the_prior_as_it_was() -> None:
    base = prior()
    found = adapt(base, problem(), stripes(2), Adaptation(HOW.style, Training(steps=0)))
    state = State(torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([300.0]))
    assert torch.equal(found.estimate(state).x0, base.estimate(state).x0)


def test_adaptation_to_the_measurement_itself() -> None:
    """Eq. (17): the pictures are y brought to their size alone; a blurred one is of that size."""
    how = Adaptation(HOW.style, Training(steps=4), crop=16, own=True)
    own = adapt(prior(), problem(), (), how).adapter
    picture = OPERATOR.pinv(problem().y)[0].clamp(0, 1)
    same = learn(prior(), [picture], 3, how)
    assert all(torch.equal(own.state[name], same.state[name]) for name in same.state)
    with pytest.raises(CompatibilityError, match="at least one picture"):
        adapt(prior(), problem(), (), HOW)
    general = parse("phase-retrieval").build((3, 32, 32))
    with pytest.raises(CompatibilityError, match="takes the measurement for a picture"):
        adapt(prior(), Problem(general(torch.rand(1, 3, 32, 32)), general, 0.0), (), how)
    blur = parse("uniform-blur:size=5").build((3, 32, 32))
    blurred = Problem(blur(torch.stack(stripes(1))), blur, 0.01)
    assert torch.equal(measured(blurred), blurred.y.clamp(0, 1))
    assert torch.equal(measured(problem()), OPERATOR.pinv(problem().y).clamp(0, 1))


def test_the_variance_head_gets_nothing_of_its_own() -> None:
    made = network(outputs=6).requires_grad_(False)
    learned = DiffusionPrior(made, learned_variance=True, multiple=4)
    found = learn(learned, stripes(3), 3, Adaptation(Lora(4, 4.0), Training(steps=8, lr=1e-2), crop=16))
    rows = found.state["head.lora_B"].reshape(2, 3, 4, 4)  # eps and v, three channels, 2 x 2 places, the rank
    assert float(rows[0].abs().min(-1).values.max()) > 0 and not rows[1].any()


def test_the_held_out_loss_ends_it_and_the_best_is_kept() -> None:
    pictures = [*stripes(3), *torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))]
    training = Training(steps=200, lr=3e-2, check_every=5, patience=2)
    found = learn(prior(), pictures, 3, Adaptation(Lora(4, 4.0), training, crop=16, held_out=0.5))
    looks = found.about["held_out"]
    best = min(looks, key=lambda look: look[1])
    assert found.about["kept"] == best[0]
    assert found.about["steps"] == looks[-1][0] == best[0] + 10 < 200


def test_full_fine_tuning_learns_too() -> None:
    base = prior()
    unseen = _HeldOut(base, Examples(stripes(4, seed=7), base, 3, 16), HOW)
    found = adapt(base, problem(), stripes(6), Adaptation(Full(), Training(steps=40, lr=1e-3), 4, 16))
    assert isinstance(found.network, nn.Module) and isinstance(base.network, nn.Module)
    assert unseen(found.network) < 0.9 * unseen(base.network)


def test_what_was_learned_before_is_read_again(tmp_path: Path) -> None:
    how = Adaptation(HOW.style, Training(steps=3), crop=16)
    first, again = (adapt(prior(), problem(), stripes(2), how, cache=tmp_path) for _ in range(2))
    assert (first.cost.cached, again.cost.cached) == (False, True) and again.cost.steps == 3
    assert all(torch.equal(first.adapter.state[name], value) for name, value in again.adapter.state.items())
    other = Adaptation(HOW.style, Training(steps=3, seed=1), crop=16)
    for base, pictures, settings in (
        (prior(1), stripes(2), how),
        (prior(), stripes(2, seed=1), how),
        (prior(), stripes(2), other),
    ):
        assert not adapt(base, problem(), pictures, settings, cache=tmp_path).cost.cached
    assert len(list(tmp_path.iterdir())) == 4
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert not adapt(prior(), problem(), stripes(2), how, cache=tmp_path).cost.cached


def test_one_that_was_cut_short_is_not_kept(tmp_path: Path) -> None:
    how = Adaptation(HOW.style, Training(steps=9), crop=16)
    found = adapt(prior(), problem(), stripes(2), how, cache=tmp_path, watch=lambda step, loss: step == 2)
    assert found.cost.steps == 2 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("process", [DiscreteVP.linear(), VE(), Flow(t_max=0.99)], ids=["vp", "ve", "flow"])
def test_times_lie_where_there_is_noise(process: Process) -> None:
    t = times(process, 4000, torch.Generator().manual_seed(0))
    assert float(t.min()) > 0 and float(t.max()) <= process.t_max
    assert bool((process.sigma(t) > 0).all())
    assert abs(float(process.pace(t).mean()) - 0.5) < 0.02
    if process.discrete:
        assert torch.equal(t, t.round()) and {1.0, process.t_max} <= set(t.tolist())


def test_the_loss_is_that_of_the_noise() -> None:
    """Eq. (5), also for a network that predicts something else: a perfect one has none, one that says 0 has |eps|^2."""
    x0, eps = torch.randn(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.tensor([1.0, 20.0, 500.0, 1000.0], dtype=torch.float64)
    base = DiffusionPrior(lambda x, time: x, predicts="x0")

    class Says(nn.Module):
        def __init__(self, what: Tensor) -> None:
            super().__init__()
            self.what = what

        def forward(self, x: Tensor, time: Tensor) -> Tensor:
            return self.what

    assert float(simple_loss(base, Says(x0), x0, t, eps).max()) < 1e-12
    eps_prior = DiffusionPrior(lambda x, time: x)
    found = simple_loss(eps_prior, Says(torch.zeros_like(eps)), x0, t, eps)
    assert torch.allclose(found, eps.square().flatten(1).mean(1))


def test_a_latent_prior_is_adapted_in_its_latents() -> None:
    """Behind an autoencoder that halves: as a pixel prior is on pictures of half the size."""
    pixel = prior()
    latent = DiffusionPrior(pixel.network, predicts="denoiser", codec=codec(), channels=3, multiple=4)
    how = Adaptation(HOW.style, Training(steps=4, lr=1e-2), crop=8)
    pictures = stripes(2, 64)
    found, same = learn(latent, pictures, 3, how), learn(pixel, [avg_pool2d(z, 2) for z in pictures], 3, how)
    assert all(torch.allclose(found.state[name], value, atol=1e-4) for name, value in same.state.items())
    assert found.about["losses"] == pytest.approx(same.about["losses"], rel=1e-4)


def test_grey_pictures_are_adapted_to_grey_neighbours() -> None:
    base = prior()
    coloured = [picture * torch.tensor([1.0, 0.5, 0.2])[:, None, None] for picture in stripes(2)]
    examples = Examples(coloured, base, 1, 16)
    assert {tuple(z.shape) for z in examples.encoded} == {(1, 32, 32)}
    assert torch.allclose(examples.encoded[0], 2 * coloured[0].mean(0, keepdim=True) - 1)
    operator = parse("bicubic:factor=4").build((1, 32, 32))
    grey = Problem(operator(torch.rand(1, 1, 32, 32)), operator, 0.0)
    assert adapt(base, grey, coloured, Adaptation(HOW.style, Training(steps=2), crop=16)).cost.steps == 2


def test_what_cannot_be_adapted_is_refused_by_name() -> None:
    whole = problem(2)
    with pytest.raises(CompatibilityError, match="one picture; there are 2"):
        adapt(prior(), whole, stripes(2), HOW)
    with pytest.raises(CompatibilityError, match="no torch network"):
        adapt(GaussianPrior(torch.ones(3, 32, 32)), problem(), stripes(2), HOW)  # type: ignore[arg-type]
    with pytest.raises(CompatibilityError, match="tiled"):
        adapt(TiledPrior(prior(), 64, 8), problem(), stripes(2), HOW)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="picture 1"):
        adapt(prior(), problem(), [stripes(1)[0], torch.rand(2, 32, 32)], HOW)
    with pytest.raises(ShapeError, match="at most 2 wide"):
        adapt(prior(), problem(), [torch.rand(3, 2, 2)], HOW)
    for values in (
        torch.full((3, 32, 32), 200, dtype=torch.uint8),
        255 * torch.rand(3, 32, 32),
        torch.full((3, 32, 32), torch.nan),
    ):
        with pytest.raises(ShapeError, match="divide 8-bit values by 255"):
            adapt(prior(), problem(), [values], HOW)
    with pytest.raises(CompatibilityError, match="1 or 3 channels, not of 2"):
        learn(prior(), stripes(2), 2, HOW)

    class Other(DiffusionPrior):
        def _denoise(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
            return super()._denoise(x, t)[0] + 100, None

    with pytest.raises(CompatibilityError, match="a way of its own"):
        adapt(Other(prior().network, predicts="denoiser"), problem(), stripes(2), HOW)
    with pytest.raises(CompatibilityError, match="not finite"):
        adapt(prior(), problem(), stripes(2), Adaptation(Full(), Training(steps=40, lr=1.0), crop=16))


def test_adapters_of_several_pictures_in_one_batch() -> None:
    """Each picture is reconstructed as if it were alone with its own adapter."""
    base = prior(dtype=torch.float64)
    whole = Problem(problem(3).y.double(), OPERATOR, torch.tensor([0.01, 0.02, 0.05], dtype=torch.float64))
    kinds = [stripes(2, seed=seed, dtype=torch.float64) for seed in (3, 4, 5)]
    how = Adaptation(HOW.style, Training(steps=6, lr=1e-2), crop=16)
    own = [adapt(base, whole.select(torch.tensor([i])), kinds[i], how) for i in range(3)]
    batch = reconstruct(whole, together(own), methods.adir(nfe=6), seeds=[4, 0, 9])
    assert [cost.steps for cost in batch.adaptation] == [6, 6, 6]
    for i, seed in enumerate((4, 0, 9)):
        alone = reconstruct(whole.select(torch.tensor([i])), own[i], methods.adir(nfe=6), seeds=[seed])
        assert float((alone.image[0] - batch.image[i]).abs().max()) < 1e-5
        other = reconstruct(whole.select(torch.tensor([i])), own[i - 1], methods.adir(nfe=6), seeds=[seed])
        assert float((other.image[0] - batch.image[i]).abs().max()) > 1e-3


def test_adapters_that_cannot_be_told_apart_are_refused() -> None:
    base = prior()
    how = Adaptation(HOW.style, Training(steps=1), crop=16)
    own = [adapt(base, problem(), stripes(2), how) for _ in range(2)]
    with pytest.raises(CompatibilityError, match="there are 2 adapters"):
        reconstruct(problem(3), together(own), methods.adir(nfe=2))
    with pytest.raises(CompatibilityError, match="told apart"):
        reconstruct(problem(2), TiledPrior(together(own), 24, 4), methods.adir(nfe=2))
    with pytest.raises(CompatibilityError, match="one prior"):
        together([own[0], adapt(prior(), problem(), stripes(2), how)])


def test_small_pictures_are_left_out_where_there_are_larger_ones() -> None:
    examples = Examples([*stripes(2, 32), *stripes(1, 8)], prior(), 3, 16)
    assert examples.side == 16 and len(examples.encoded) == 2
    found = learn(prior(), [*stripes(2, 32), *stripes(1, 8)], 3, Adaptation(HOW.style, Training(steps=1), crop=16))
    assert found.about["left_out"] == 1
    assert Examples([*stripes(1, 12), *stripes(1, 8)], prior(), 3, 16).side == 12


def test_a_cache_knows_everything_that_an_adapter_depends_on() -> None:
    pictures, how = stripes(1), Adaptation(HOW.style)
    base = prior()
    assert isinstance(base.network, nn.Module)
    first = key(base, pictures, 3, how)
    assert key(prior(), pictures, 3, how) == first
    others = [copy(base) for _ in range(5)]
    others[0].codec = AffineCodec(1.0, 0.0)
    others[1].process = DiscreteVP.cosine()
    others[2].autocast = torch.bfloat16
    others[3].learned_variance = True
    others[4].network = deepcopy(base.network)
    others[4].network.network.stem.dilation = (2, 2)
    found = [key(other, pictures, 3, how) for other in others]
    found += [key(base, pictures, 1, how), key(base, stripes(1, seed=1), 3, how)]
    next(base.network.parameters()).data.mul_(1.5)  # no version counter sees this
    found.append(key(base, pictures, 3, how))
    assert len({first, *found}) == 9


def test_a_network_that_predicts_the_picture_is_not_ruled_by_quiet_times() -> None:
    made = nn.Conv2d(3, 3, 3, padding=1).requires_grad_(False)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = made

        def forward(self, x: Tensor, time: Tensor) -> Tensor:
            return self.layer(x)

    for process in (DiscreteVP.linear(), VE(), Flow(t_max=0.99)):
        base = DiffusionPrior(Net(), process, predicts="x0")
        found = learn(base, stripes(2), 3, Adaptation(HOW.style, Training(steps=60), crop=16))
        assert max(found.about["losses"]) < 50


def test_it_learns_inside_inference_mode_and_leaves_a_training_network_alone() -> None:
    how = Adaptation(HOW.style, Training(steps=2), crop=16, held_out=0.5)
    with torch.inference_mode():
        inside = prior()
        found = adapt(inside, problem(), stripes(2), how)
    assert found.cost.steps == 2
    normal = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)).train()
    free = trainable(normal, HOW.style)
    free(torch.randn(2, 3, 8, 8))
    assert not free.training and normal.training and not normal[1].running_mean.any()  # type: ignore[union-attr,operator]


def test_small_steps_are_not_lost_in_bfloat16() -> None:
    half = prior().network
    assert isinstance(half, nn.Module)
    free = trainable(half.to(torch.bfloat16), HOW.style)
    assert {p.dtype for p in free.parameters() if p.requires_grad} == {torch.float32}


def test_streams_are_refused_for_adapters_that_are_told_apart_by_place() -> None:
    base = prior()
    how = Adaptation(HOW.style, Training(steps=1), crop=16)
    own = [adapt(base, problem(), stripes(2), how) for _ in range(2)]
    with pytest.raises(CompatibilityError, match="all images in one reconstruct"):
        next(iter(stream([problem(2)], together(own), methods.adir(nfe=2))))
    alone = [result.adaptation[0].steps for _, result in stream([problem(2)], own[0], methods.adir(nfe=2))]
    assert alone == [1, 1]
