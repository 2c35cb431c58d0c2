"""Dirac's theorems on exact priors: data consistency, the law of the reverse process, what the losses fix, the bounds.

Everything is affine here. So a step of the method is known from what it makes of zero, of the unit pictures and of unit
draws, and the law of every state follows without sampling.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pellucid.degradation import Degradation, Geometric
from pellucid.engine import Part, advance
from pellucid.loop import reconstruct
from pellucid.method import Method
from pellucid.methods import dirac
from pellucid.noise import Index, Noise, SeededNoise
from pellucid.operators.base import Operator
from pellucid.operators.families import (
    BlurFamily,
    ContrastFamily,
    Family,
    MaskFamily,
    PixelationFamily,
    RandomMaskFamily,
)
from pellucid.operators.mask import Mask
from pellucid.prior.base import Estimate, Prior, State
from pellucid.prior.dirac import DiracPrior
from pellucid.prior.gaussian import GaussianPrior
from pellucid.problem import Problem
from pellucid.train.config import DiracConfig
from pellucid.train.tasks.dirac import DiracObjective
from pellucid.transition import Reversal
from pellucid.verify.restoration import Fading, GaussianRestoration
from tests.toys import pictures

SIDE = 6
SHAPE = (1, SIDE, SIDE)
PIXELS = SIDE * SIDE
FAMILIES: dict[str, Callable[[], Family]] = {
    "blur": lambda: BlurFamily(SHAPE, (0.3, 1.5), identity_below=0.0),
    "box": lambda: Fading(Mask.box(SHAPE, 3)),
}
EYE = torch.eye(PIXELS, dtype=torch.float64)


def times(steps: int) -> list[tuple[Tensor, Tensor]]:
    """(t, s) of every step from 1 to 0."""
    return list(pairwise(torch.linspace(1, 0, steps + 1, dtype=torch.float64)))


def process(name: str = "blur") -> Degradation:
    return Degradation(FAMILIES[name](), Geometric(0.01, 0.05))


def oracle(name: str = "blur") -> GaussianRestoration:
    """Data with the spectrum of photographs, of standard deviation 0.2 around 0.5."""
    return GaussianRestoration.of(GaussianPrior.natural(SIDE, 1), process(name))


def truth(x0: Tensor, degradation: Degradation) -> DiracPrior:
    """The prior whose network says x0 (1 or b, c, h, w) whatever it is shown."""
    return DiracPrior(lambda y, _: (x0.to(y).expand_as(y), None), degradation)


class Units(Noise):
    """The draw is given, whatever is asked for."""

    def __init__(self, z: Tensor) -> None:
        self.z = z

    def normal(self, like: Tensor, step: Index, purpose: str) -> Tensor:
        return self.z

    def select(self, index: Tensor) -> Units:
        return Units(self.z[index])


def affine(prior: Prior, method: Method, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(M, b, N) of one step of the engine: x_s = M x_t + b + N z."""
    shape = tuple(prior.process.family((1, SIDE, SIDE)).image_shape)  # type: ignore[attr-defined]
    zero = torch.zeros(1, PIXELS, dtype=torch.float64)
    x = torch.cat([zero, EYE, 0 * EYE]).reshape(-1, *shape)
    z = torch.cat([zero, 0 * EYE, EYE]).reshape(-1, *shape)
    family = prior.process.family(shape)  # type: ignore[attr-defined]
    problem = Problem(0 * x, family.at(1.0), 0.05)
    part = Part(State(x, t.expand(len(x))), x, prior.codec.observe(problem), Units(z))
    out = advance(part, s.expand(len(x)), prior, method).x_s.flatten(1)
    return (out[1 : PIXELS + 1] - out[0]).T, out[0], (out[PIXELS + 1 :] - out[0]).T


# (i) Theorem 3.6: with a perfect score and perfect increments every state is a measurement of x_0 in the mean.


def inconsistency(name: str, increments: str, steps: int) -> float:
    """The largest |E[y_s | x_0] - A_s x_0| along the path: the mean is what comes of no noise at all."""
    p, x0 = process(name), pictures(2, SHAPE)
    family = p.family(SHAPE)
    method = dirac(steps, output="state", increments=increments, small=0.5 / steps)
    problem = Problem(family.at(1.0)(x0), family.at(1.0), 0.05)
    result = reconstruct(problem, truth(x0, p), method, seeds=Units(torch.zeros_like(x0)), trace=True)
    assert result.trace is not None and len(result.trace) == steps
    return max(float((step.x_s - family.at(step.s)(x0)).abs().max()) for step in result.trace)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_path_is_consistent_with_the_data(name: str) -> None:
    assert inconsistency(name, "look-ahead", 20) < 1e-12


@pytest.mark.parametrize("increments", ["small-look-ahead", "look-back", "small-look-back"])
def test_approximate_increments_are_consistent_in_the_limit(increments: str) -> None:
    """They err in the second order of the step, where A_t is smooth in t; the sum over the path, in the first."""
    coarse, fine = (inconsistency("blur", increments, steps) for steps in (20, 80))
    assert 1e-4 < fine < coarse / 2 < 0.05


@pytest.mark.parametrize("name", FAMILIES)
def test_one_step_has_the_variance_of_euler_and_maruyama(name: str) -> None:
    """sigma_s^2 + (sigma_t^2 - sigma_s^2)^2 / sigma_t^2, not sigma_s^2 (METHODS 1.1, eq. 23); covariance white."""
    p, x0 = process(name), pictures(1, SHAPE)
    for t, s in times(5):
        m, b, n = affine(truth(x0, p), dirac(5, output="state"), t, s)
        before, after = (p.sigma(time) ** 2 for time in (t, s))
        found = before * m @ m.T + n @ n.T
        wanted = (after + (before - after) ** 2 / before) * EYE
        assert torch.allclose(found, wanted, rtol=0, atol=1e-15)
        mean = m @ p.mean(x0, t.reshape(1)).flatten() + b
        assert torch.allclose(mean, p.mean(x0, s.reshape(1)).flatten(), rtol=0, atol=1e-13)
        assert float(wanted[0, 0] - after) > 0.05 * float(after)


def test_the_mean_of_many_paths_is_the_measurement_of_the_truth() -> None:
    """The same with real noise: 400 paths, the mean of each pixel within 5 standard errors."""
    p, count = process(), 400
    x0 = pictures(1, SHAPE)
    family, many = p.family(SHAPE), x0.expand(count, *SHAPE)
    y = p.diffuse(many, torch.ones(count, dtype=torch.float64), SeededNoise(range(count)).normal(many, 0, "measured"))
    method = dirac(10, output="state")
    result = reconstruct(Problem(y, family.at(1.0), 0.05), truth(many, p), method, seeds=1000, trace=True)
    assert result.trace is not None
    for step in result.trace:
        error = step.x_s.mean(0) - family.at(step.s[:1])(x0)[0]
        assert float((error.abs() / (step.x_s.std(0) / count**0.5)).max()) < 5


# (ii) With the exact posterior mean the states have the law of y_t as the steps get small.


def variance_ratios(prior: GaussianRestoration, steps: int) -> tuple[list[float], float]:
    """(the worst ratio of variances at every time of the path, the worst error of the mean in sigma_t)."""
    method = dirac(steps, output="state")
    mean, covariance = prior.marginal(1.0)
    off, worst = 0.0, []
    for t, s in times(steps):
        m, b, n = affine(prior, method, t, s)
        mean, covariance = m @ mean.flatten() + b, m @ covariance @ m.T + n @ n.T
        wanted_mean, wanted = prior.marginal(float(s))
        factor = torch.linalg.cholesky(wanted)
        white = torch.linalg.solve_triangular(factor, covariance, upper=False)
        ratios = torch.linalg.eigvalsh(torch.linalg.solve_triangular(factor, white.T, upper=False))
        worst.append(float(torch.minimum(ratios, 1 / ratios).min()))
        off = max(off, float((mean - wanted_mean.flatten()).abs().max() / prior.process.sigma(s)))
    return worst, off


@pytest.mark.parametrize("name", FAMILIES)
def test_the_reverse_process_tends_to_the_law_of_the_path(name: str) -> None:
    """N(A_t m, A_t C A_t^T + sigma_t^2 I) at all times, as the step goes to 0: the error falls in proportion to it.

    The figures are ratios of variances, the worst over all directions and times; 1 is exact.
    """
    found = [variance_ratios(oracle(name), steps) for steps in (20, 100, 400)]
    coarse, middle, fine = (1 - min(ratios) for ratios, _ in found)
    assert coarse > 4 * middle > 4 * 3.5 * fine
    assert coarse < 0.25 and fine < 0.015
    assert max(off for _, off in found) < 1e-9  # m itself is carried along exactly


def test_a_family_that_jumps_at_the_end_leaves_the_mean_where_it_jumps() -> None:
    """Dirac's hole of 0.1 pixels at t -> 0 still covers its centre, and at t = 0 there is none: one pixel jumps.

    All along the path the law is right; the last step fills that pixel with its mean, and no spread.
    """
    prior = GaussianRestoration.of(GaussianPrior.natural(SIDE, 1), Degradation(MaskFamily(SHAPE, 1.5)))
    ratios, off = variance_ratios(prior, 100)
    assert min(ratios[:-1]) > 0.96 and ratios[-1] < 0.01 and off < 1e-9


# (iii) What the losses fix.

BATCH = 4 * PIXELS


class Affine(nn.Module):
    """Phi(y) = W y + b, whatever the noise: the least that can be trained."""

    severity, lifted = None, False

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())

    def forward(self, y: Tensor, sigma: Tensor) -> tuple[Tensor, None]:
        return (y.flatten(1) @ self.weight.T + self.bias).reshape(y.shape), None


def exact_batch(prior: GaussianRestoration, t: float) -> dict[str, Tensor]:
    """x_0 and y_t whose first and second moments are those of their law, so that a mean is an expectation."""
    z = torch.randn(BATCH, 2 * PIXELS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = z - z.mean(0)
    z = torch.linalg.solve_triangular(torch.linalg.cholesky(z.T @ z / BATCH), z.T, upper=False).T
    x0 = prior.mean.flatten() + z[:, :PIXELS] @ torch.linalg.cholesky(prior.covariance).T
    x0, time = x0.reshape(-1, *SHAPE), torch.full((BATCH,), t, dtype=torch.float64)
    mean = prior.process.mean(x0, time)
    y = mean + float(prior.process.sigma(time[0])) * z[:, PIXELS:].reshape(-1, *SHAPE)
    return {"x0": x0, "t": time, "y": y, "seen": y, "mean": mean}


def objective(prior: GaussianRestoration, look_ahead: float, model: Affine) -> DiracObjective:
    config = DiracConfig(data=Path("d"), out=Path("o"), family="hole", look_ahead=look_ahead, severity=False)
    return DiracObjective(model, prior.process, config)  # type: ignore[arg-type]


def best(prior: GaussianRestoration, t: float) -> tuple[Tensor, Tensor]:
    """(W, b) of Phi = E[x_0 | y_t]."""
    gain = prior.gain(t)
    return gain, prior.mean.flatten() - gain @ prior.matrix(t) @ prior.mean.flatten()


def loss_and_gradient(prior: GaussianRestoration, look_ahead: float, t: float, w: Tensor, b: Tensor) -> Tensor:
    """[the loss, the gradient's largest entry], of W and b."""
    model = Affine(w, b)
    loss = objective(prior, look_ahead, model)(**exact_batch(prior, t))
    loss.backward()
    gradients = [p.grad.abs().max() for p in model.parameters() if p.grad is not None]
    return torch.stack([loss.detach(), *gradients])


@pytest.mark.parametrize("t", [0.4, 1.0])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_posterior_mean_is_the_optimum_of_every_loss(name: str, t: float) -> None:
    """Least squares: at Phi = E[x_0 | y_t] no loss has a gradient, whatever the look-ahead, and any other Phi has more.

    The value at the optimum is known: tr(A_tau C_post A_tau^T) / (n sigma_t^2).
    """
    prior = oracle(name)
    w, b = best(prior, t)
    posterior = prior.covariance - prior.gain(t) @ prior.matrix(t) @ prior.covariance
    sigma = float(prior.process.sigma(torch.tensor(t, dtype=torch.float64)))
    for look_ahead in (0.0, 0.3, 1.0):
        loss, *slopes = loss_and_gradient(prior, look_ahead, t, w, b)
        ahead = EYE if look_ahead == 1 else prior.matrix(max(0.0, t - look_ahead))
        wanted = (ahead @ posterior @ ahead.T).trace() / (PIXELS * sigma**2)
        assert float(loss) == pytest.approx(float(wanted), rel=1e-8)
        assert max(map(float, slopes)) < 1e-9 * max(1.0, float(loss))
        generator = torch.Generator().manual_seed(1)
        other = w + 0.1 * torch.randn(w.shape, generator=generator, dtype=torch.float64)
        worse, *steep = loss_and_gradient(prior, look_ahead, t, other, b)
        assert worse > 1.01 * loss and max(map(float, steep)) > 1e-2


def test_the_loss_without_look_ahead_says_nothing_of_what_is_lost_wholly() -> None:
    """D = 0 on a mask that loses pixels: any Phi with A_t Phi = E[A_t x_0 | y_t] is as good; its gradient is 0 there.

    So inpainting has nothing to learn in the hole; with D = 1, or any that reaches out of it, it has.
    """
    prior, t = oracle("box"), 1.0
    w, b = best(prior, t)
    lost = prior.matrix(t).diagonal() == 0
    assert int(lost.sum()) == 9
    wrong, shift = w.clone(), b.clone()
    wrong[lost] = 3.0
    shift[lost] = -7.0
    flat, *slopes = loss_and_gradient(prior, 0.0, t, wrong, shift)
    assert float(flat) == pytest.approx(float(loss_and_gradient(prior, 0.0, t, w, b)[0]), rel=1e-12)
    assert max(map(float, slopes)) < 1e-9
    model = Affine(wrong, shift)
    objective(prior, 0.0, model)(**exact_batch(prior, t)).backward()
    assert model.weight.grad is not None and not model.weight.grad[lost].any()
    right = [float(loss_and_gradient(prior, look_ahead, t, w, b)[0]) for look_ahead in (0.05, 1.0)]
    bad = [float(loss_and_gradient(prior, look_ahead, t, wrong, shift)[0]) for look_ahead in (0.05, 1.0)]
    assert all(found > 1.1 * wanted for found, wanted in zip(bad, right, strict=True))
    kept = w.clone()
    kept[~lost] *= 0.9
    assert loss_and_gradient(prior, 0.0, t, kept, b)[0] > 1.1 * flat


def test_training_without_look_ahead_leaves_the_hole_as_it_began() -> None:
    """Steps of plain gradient descent with D = 0 move every row of Phi but those of the hole; with D = 1 all."""
    prior = oracle("box")
    batch = exact_batch(prior, 1.0)
    lost = prior.matrix(1.0).diagonal() == 0
    for look_ahead in (0.0, 1.0):
        model = Affine(EYE, torch.zeros(PIXELS, dtype=torch.float64))
        optimiser = torch.optim.SGD(model.parameters(), lr=1e-4)
        for _ in range(10):
            optimiser.zero_grad()
            objective(prior, look_ahead, model)(**batch).backward()
            optimiser.step()
        moved = (model.weight.detach() - EYE).abs().amax(1) > 0
        assert bool(moved[~lost].all()) and bool(moved[lost].any()) == (look_ahead == 1)


# (iv) How wrong an increment is: Theorem 3.4, Proposition A.6 and Lemma A.7.


def norm(matrix: Tensor) -> float:
    """The largest singular value."""
    return float(torch.linalg.matrix_norm(matrix, 2))


def increments(p: Degradation, phi: Tensor, rule: Reversal, t: float, step: float) -> Tensor:
    """R-hat from estimates phi (b, n) at t with D = step, (b, n)."""
    x0 = phi.reshape(-1, *SHAPE)
    time = torch.full((len(x0),), t, dtype=torch.float64)
    return rule.increment(p, p.mean(x0, time), time, time - step, Estimate(x0, torch.zeros_like(x0))).flatten(1)


def estimates(prior: GaussianRestoration, t: float, error: float) -> tuple[Tensor, Tensor]:
    """(Phi, x*) of 300 measurements y_t: x* = E[x_0 | y_t], Phi off by an affine map of y_t, its pixels by `error`."""
    x0 = prior.mean + (torch.linalg.cholesky(prior.covariance) @ normal(300, 2).T).T.reshape(-1, *SHAPE)
    time = torch.full((300,), t, dtype=torch.float64)
    y = prior.process.diffuse(x0, time, normal(300, 3).reshape(-1, *SHAPE))
    exact = prior.estimate(State(y, time)).x0.flatten(1)
    off = y.flatten(1) @ (normal(PIXELS, 4) / PIXELS**0.5).T + normal(1, 5)
    return exact + error * off / off.square().mean().sqrt(), exact


def normal(count: int, seed: int) -> Tensor:
    return torch.randn(count, PIXELS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


STEPS = (0.32, 0.16, 0.08, 0.04, 0.02)
RULES = ("look-ahead", "small-look-ahead", "look-back", "small-look-back")


def sizes(error: float, increments_by: str, name: str = "blur", t: float = 0.5) -> list[float]:
    """E|R-hat - R(t, D; x*)| for D in STEPS; the small steps are a quarter of D."""
    prior = oracle(name)
    phi, exact = estimates(prior, t, error)
    found = []
    for step in STEPS:
        wanted = increments(prior.process, exact, Reversal(), t, step)
        got = increments(prior.process, phi, Reversal(increments_by, step / 4), t, step)
        found.append(float((got - wanted).norm(dim=1).mean()))
    return found


def order(values: list[float]) -> float:
    """The slope of ln value in ln D, at the two smallest."""
    return float(torch.tensor(values[-2] / values[-1], dtype=torch.float64).log2())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", FAMILIES)
def test_theorem_3_4(name: str, rule: str) -> None:
    """E|Rhat - R(t, D; x*)| <= (L_x(t) + L_x(t - D)) sqrt(n) B + 2 L_t D + 2 eps_t (METHODS 1.1, eq. 13).

    The constants as we read them: L_x(t) is the norm of A_t; B bounds the pixels of Phi - x* (at its tightest, the root
    of the mean square); L_t is Lipschitz's constant of A_t x* in t; eps_t = E|A_t Phi - A_t x*|. The other estimators
    look by as much as D to one side or to the other, and obey the same bound with L_x at the times that they look to.
    """
    prior, t = oracle(name), 0.5
    p = prior.process
    for error in (0.0, 0.02, 0.2):
        phi, exact = estimates(prior, t, error)
        wrong = float((phi - exact).norm(dim=1).mean())  # <= sqrt(n) B
        eps = float(((phi - exact) @ prior.matrix(t).T).norm(dim=1).mean())
        for step in (0.4, 0.1, 0.02):
            seen = [max(0.0, t - step), t, t + step]
            slopes = [
                ((exact @ (prior.matrix(a) - prior.matrix(b)).T).norm(dim=1) / (b - a)).mean()
                for a, b in pairwise([x.item() for x in torch.linspace(seen[0], seen[2], 9, dtype=torch.float64)])
            ]
            steepest = float(torch.stack(slopes).max())
            lipschitz = max(norm(prior.matrix(t)) + norm(prior.matrix(other)) for other in (seen[0], seen[2]))
            scale = 4 if rule.startswith("small") else 1  # D / d: what an error of Phi is multiplied by
            got = increments(p, phi, Reversal(rule, step / 4), t, step)
            found = float((got - increments(p, exact, Reversal(), t, step)).norm(dim=1).mean())
            assert found <= scale * lipschitz * wrong + 2 * steepest * step + 2 * eps + 1e-12
            if rule == "look-ahead" and error == 0:
                assert found < 1e-12
            elif error == 0 and name == "blur":
                assert found > 1e-6


def test_what_an_exact_estimate_leaves_falls_in_the_second_order_of_the_step() -> None:
    """Looking ahead is then exact; the others take a chord for another: D (D - d) / 2, D^2 and D (D + d) / 2 of A''.

    With d = D / 4 they stand as 3 / 8 : 1 : 5 / 8. (A box that fades along a straight line has no curvature.)
    """
    found = {rule: sizes(0.0, rule) for rule in RULES}
    assert max(found["look-ahead"]) < 1e-12
    for rule in RULES[1:]:
        assert order(found[rule]) == pytest.approx(2, abs=0.1)
        assert max(sizes(0.0, rule, "box")) < 1e-12
    assert found["small-look-ahead"][-1] / found["look-back"][-1] == pytest.approx(3 / 8, abs=0.02)
    assert found["small-look-back"][-1] / found["look-back"][-1] == pytest.approx(5 / 8, abs=0.02)


def test_what_a_wrong_estimate_adds_falls_in_the_first_order_of_the_step() -> None:
    """|(A_s - A_t)(Phi - x*)| for all estimators: the bound's constant terms are far from tight at small steps.

    At the smallest step all estimators are wrong by the same, within a few percent.
    """
    found = {rule: sizes(0.2, rule) for rule in RULES}
    for rule in RULES:
        assert order(found[rule]) == pytest.approx(1, abs=0.15)
        assert found[rule][-1] == pytest.approx(found["look-ahead"][-1], rel=0.1)
    halved = sizes(0.1, "look-ahead")
    assert [b / a for a, b in zip(found["look-ahead"], halved, strict=True)] == pytest.approx([0.5] * 5, rel=1e-9)


NESTED: dict[str, Callable[[], Family]] = {
    **FAMILIES,
    "hole": lambda: MaskFamily(SHAPE, 2.0),
    "missing pixels": lambda: RandomMaskFamily(SHAPE),
    "contrast": lambda: ContrastFamily(SHAPE),
    "pixelation": lambda: PixelationFamily((1, 8, 8)),
}


def dense(operator: Operator) -> Tensor:
    """The linear part of A, as a matrix."""
    n = operator.image_shape[1] * operator.image_shape[2]
    units = torch.eye(n, dtype=torch.float64).reshape(n, *operator.image_shape)
    return (operator(units) - operator(0 * units[:1])).flatten(1).T


@pytest.mark.parametrize("name", NESTED)
def test_an_error_seen_earlier_bounds_the_error_seen_later(name: str) -> None:
    """E|A_t Phi - A_t x_0|^2 <= max_{tau <= t} (L^{tau -> t})^2 E|A_tau Phi - A_tau x_0|^2, eq. (21).

    Lemma A.7 and Proposition A.6, of which METHODS gives this inequality: the loss with look-ahead, at tau = t - D,
    bounds the one without. L^{tau -> t} is the norm of A_{tau -> t}, where A_t = A_{tau -> t} A_tau; for the error that
    it enlarges most the bound is met, so that no smaller constant would do.
    """
    family = NESTED[name]()
    n = family.image_shape[1] * family.image_shape[2]
    t = 0.9
    late = dense(family.at(t))
    errors = torch.randn(200, n, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    for tau in (0.05, 0.3, 0.6, 0.9):
        early, carry = dense(family.at(tau)), step_up(family, tau, t)
        assert torch.allclose(carry @ early, late, atol=1e-7)  # the family is nested
        constant = norm(carry)
        assert constant < 1.2
        before, after = ((errors @ a.T).square().sum(1).mean() for a in (early, late))
        assert after <= constant**2 * before * (1 + 1e-9)
        _, _, right = torch.linalg.svd(carry @ early @ torch.linalg.pinv(early, rtol=1e-9))
        worst = torch.linalg.pinv(early, rtol=1e-9) @ right[0]
        reached = (late @ worst).norm() / (early @ worst).norm()
        assert float(reached) == pytest.approx(constant, rel=1e-5)


def step_up(family: Family, tau: float, t: float) -> Tensor:
    """A_{tau -> t}, on what A_tau makes."""
    if isinstance(family, Fading):
        return dense(family.at(t)) @ torch.linalg.inv(dense(family.at(tau)))
    carry = family.transition(tau, t)
    assert carry is not None
    early = dense(family.at(tau))
    return dense(carry) @ early @ torch.linalg.pinv(early, rtol=1e-9)
