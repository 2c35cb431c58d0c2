"""What makes a family one: A_t = A_{s->t} A_s for s < t, nothing lost at t = 0, and a time for its operators."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from pellucid.errors import CompatibilityError, OperatorError
from pellucid.operators import (
    JPEG,
    BlurFamily,
    ContrastFamily,
    ContrastLoss,
    ExposureFamily,
    Family,
    GaussianBlur,
    Grey,
    Identity,
    JPEGFamily,
    LinearOperator,
    Mask,
    MaskFamily,
    Operator,
    ParallelBeam,
    Pixelation,
    PixelationFamily,
    RandomMaskFamily,
    SoftMask,
    SparseView,
    ViewFamily,
    exposure,
    family,
)
from pellucid.operators.each import each
from pellucid.operators.kernels import Boundary
from tests.golden.data import SHARED
from tests.operators.test_properties import dense

GREY, COLOUR = (1, 9, 8), (3, 16, 16)
TIMES = (0.0, 0.03, 0.1, 0.2, 1 / 3, 0.5, 0.62, 0.8, 1.0)


def blur(boundary: Boundary, kernel_size: int | None = 61) -> BlurFamily:
    return BlurFamily(GREY, (0.3, 3.0), identity_below=0.0, boundary=boundary, kernel_size=kernel_size)


# With the largest weight that a direction lost at s may still have at t: float64's own, or where a Gaussian is cut.
CUT, EXACT = 2e-7, 1e-12
LINEAR: dict[str, tuple[Callable[[], Family], float]] = {
    "blur, greedy": (lambda: family("blur")(GREY), CUT),
    "blur, linear": (lambda: family("blur:schedule=linear")(GREY), CUT),
    "blur of Flash": (lambda: BlurFamily(GREY), CUT),
    "blur, zero": (lambda: blur("zero"), CUT),
    "blur, circular": (lambda: blur("circular"), CUT),
    "blur, few taps": (lambda: blur("reflect", 5), 1e-10),
    "hole": (lambda: MaskFamily((1, 16, 16)), EXACT),
    "missing pixels": (lambda: RandomMaskFamily(GREY), EXACT),
    "pixelation": (lambda: PixelationFamily(GREY), EXACT),
    "exposure": (lambda: ExposureFamily(GREY), EXACT),
    "views": (lambda: ViewFamily(GREY, 4, 16), 1e-8),
}
SHARP = {"blur, greedy": 0.0153, "blur, linear": 0.0153, "blur, zero": 0.0153, "blur, circular": 0.0153}
EVERY: dict[str, Callable[[], Family]] = {name: make for name, (make, _) in LINEAR.items()} | {
    "contrast": lambda: ContrastFamily(GREY),
    "jpeg": lambda: JPEGFamily(COLOUR),
}
# Families whose time at A_t is not t for the times at which A_t is still, or is already, another time's operator.
STILL = {"blur of Flash": 0.1, "missing pixels": 1.0}


def linear(a: Operator) -> LinearOperator:
    assert isinstance(a, LinearOperator)
    return a


def random_pictures(b: int, shape: tuple[int, ...]) -> Tensor:
    return torch.rand(b, *shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("name", LINEAR)
def test_what_is_lost_stays_lost(name: str) -> None:
    """A_t (I - A_s^+ A_s) = 0: what A_s does not show, A_t does not show either, so that A_t = (A_t A_s^+) A_s."""
    make, tolerance = LINEAR[name]
    own = make()
    assert own.nested
    matrices = [dense(linear(own.at(t))) for t in TIMES]
    rank = []
    for i, early in enumerate(matrices):
        shown = torch.linalg.pinv(early, rtol=1e-10) @ early
        rank.append(float(shown.trace()))
        for late in matrices[i:]:
            assert float(torch.linalg.matrix_norm(late - late @ shown, 2)) < tolerance
    assert all(a >= b - 1e-6 for a, b in pairwise(rank))
    if name not in ("exposure", "blur, few taps"):
        assert rank[-1] < rank[0] - 0.5  # or the test would have been of invertible matrices only


@pytest.mark.parametrize("name", LINEAR)
def test_the_order_is_one_way(name: str) -> None:
    """A_s (I - A_t^+ A_t) is far from 0 where A_t has lost something: A_s is not more severe than A_t."""
    own = LINEAR[name][0]()
    early, late = (dense(linear(own.at(t))) for t in (0.05, 1.0))
    back = early - early @ torch.linalg.pinv(late, rtol=1e-4) @ late
    far = float(torch.linalg.matrix_norm(back, 2))
    assert far > 0.1 or name in ("exposure", "blur, few taps")


@pytest.mark.parametrize("name", LINEAR)
def test_a_transition_leads_from_one_to_the_other(name: str) -> None:
    make, tolerance = LINEAR[name]
    own = make()
    if own.transition(0.2, 0.5) is None:
        assert name == "views"
        return
    x = random_pictures(1, own.image_shape)
    for i, s in enumerate(TIMES):
        for t in TIMES[i:]:
            carry = own.transition(s, t)
            assert carry is not None
            torch.testing.assert_close(carry(own.at(s)(x)), own.at(t)(x), rtol=0, atol=tolerance)
    s, t = (torch.tensor(times, dtype=torch.float64) for times in ([0.0, 0.1, 0.3, 0.6], [0.0, 0.2, 1.0, 0.65]))
    x = random_pictures(4, own.image_shape)
    several = own.transition(s, t)
    assert several is not None and several.batch == 4
    y = several(own.at(s)(x))
    torch.testing.assert_close(y, own.at(t)(x), rtol=0, atol=tolerance)
    torch.testing.assert_close(several.select(torch.tensor([2]))(own.at(s)(x)[2:3]), y[2:3], rtol=0, atol=1e-12)


def test_contrast_fades_in_steps() -> None:
    """It is affine, y = k x + (1 - k) / 2, and so is A_{s->t}, with k_t / k_s."""
    own = ContrastFamily(GREY, least=0.2)
    x = random_pictures(2, GREY)
    s, t = torch.tensor([0.1, 0.5]), torch.tensor([0.7, 1.0])
    for early, late in [(0.0, 0.3), (0.3, 1.0), (0.5, 0.5), (s, t)]:
        carry = own.transition(early, late)
        assert carry is not None
        torch.testing.assert_close(carry(own.at(early)(x)), own.at(late)(x), rtol=0, atol=1e-7)
    torch.testing.assert_close(own.at(1.0)(x), 0.2 * x + 0.4)


@pytest.mark.parametrize("name", EVERY)
def test_the_beginning_is_as_near_to_the_identity_as_it_says(name: str) -> None:
    own = EVERY[name]()
    x = random_pictures(60, own.image_shape).round()
    x[0] = (torch.arange(x[0].numel()) % x.shape[-1] == x.shape[-1] // 2).reshape(x[0].shape)
    change = float((own.at(0.0)(x) - x).abs().max())
    assert 0.8 * own.distance <= change <= own.distance + 1e-12
    assert own.distance == pytest.approx(1.0 if name == "jpeg" else SHARP.get(name, own.distance), abs=1e-4)
    if name not in {"jpeg", "blur, few taps", *SHARP}:
        assert own.distance == 0


def test_a_blurs_distance_is_attained_by_a_lone_pixel() -> None:
    own = family("blur")((1, 15, 15))
    x = torch.zeros(1, 1, 15, 15, dtype=torch.float64)
    x[..., 7, 7] = 1
    assert float((own.at(0.0)(x) - x).abs().max()) == pytest.approx(own.distance, rel=1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_the_error_rises_with_time(name: str) -> None:
    own = EVERY[name]()
    # Smooth pictures with an edge: those that compression and blurs are made for.
    down, across = torch.meshgrid(*(torch.linspace(0, 1, n) for n in own.image_shape[1:]), indexing="ij")
    waves = [0.5 + 0.4 * torch.sin(6 * k * down + 4 * across * (k + 1)) * (across > 0.1 * k) for k in range(1, 7)]
    x = torch.stack(waves)[:, None].repeat(1, own.image_shape[0], 1, 1).double()
    errors = [float((own.at(t)(x) - x).square().mean().sqrt()) for t in (0.0, 0.15, 0.4, 0.6, 0.8, 1.0)]
    assert all(a < b for a, b in pairwise(errors))
    assert errors[-1] > 1.05 * errors[1]


@pytest.mark.parametrize("worst", [5, 30])
def test_jpeg_gets_worse_on_photographs_by_measurement(worst: int) -> None:
    from pellucid.images.read import read

    folder = SHARED / "photos" / "eval"
    if not folder.exists():
        pytest.skip("no photographs here")
    pictures = [read(path).pixels[:, 128:256, 128:256] for path in sorted(folder.glob("*.png"))]
    x, own = torch.stack(pictures), JPEGFamily((3, 128, 128), worst)
    assert not own.nested and len(x) > 10
    errors = torch.stack([(own.at(t)(x) - x).square().mean((1, 2, 3)).sqrt() for t in (0.0, 0.25, 0.5, 0.75, 1.0)])
    assert bool((errors.diff(dim=0) > 0).all())
    assert float(errors[0].mean()) < 0.02  # though a pixel may change by all that there is


@pytest.mark.parametrize("name", EVERY)
def test_the_time_of_its_own_operators(name: str) -> None:
    own = EVERY[name]()
    times = torch.tensor([0.0, 0.02, 0.07, 0.1, 0.31, 0.5, 0.77, 1.0], dtype=torch.float64)
    found = own.time_of(own.at(times))
    assert found is not None
    still = times < STILL.get(name, 0.0)
    torch.testing.assert_close(found[~still], times[~still], rtol=0, atol=1e-9 if name != "missing pixels" else 0.05)
    if name == "missing pixels":
        assert bool((found >= times - 1e-12)[own.at(times).get_buffer("weights").flatten(1).amin(1) == 0].all())
    else:
        assert bool((found[still] <= times[still] + 1e-9).all())
    x = random_pictures(len(times), own.image_shape)
    torch.testing.assert_close(own.at(found)(x), own.at(times)(x), rtol=0, atol=1e-9)
    for t in (0.0, 0.31, 1.0):
        alone = own.time_of(own.at(t))
        assert alone is not None and alone.shape == (1,)
        torch.testing.assert_close(own.at(float(alone))(x), own.at(t)(x), rtol=0, atol=1e-9)


BEYOND: dict[str, Operator] = {
    "blur, greedy": GaussianBlur(GREY, 3.1),
    "hole": SoftMask((1, 16, 16), 40.0),
    "missing pixels": Mask.random(GREY, 0.95, seed=0),
    "pixelation": Pixelation.of(GREY, 16),
    "exposure": exposure(GREY, 0.05),
    "views": SparseView.of(GREY, 2, 16),
    "contrast": ContrastLoss(GREY, 0.1),
    "jpeg": JPEG(COLOUR, 2),
}


@pytest.mark.parametrize("name", BEYOND)
def test_what_is_beyond_the_end_has_no_time(name: str) -> None:
    found = EVERY[name]().time_of(BEYOND[name])
    assert found is not None and found.tolist() == [float("inf")]


@pytest.mark.parametrize("name", EVERY)
def test_other_degradations_have_no_time_of_it(name: str) -> None:
    own = EVERY[name]()
    assert own.time_of(Grey((3, *own.image_shape[1:]))) is None
    for other, operator in BEYOND.items():
        if name != other and not name.startswith("blur"):
            assert own.time_of(operator) is None, other


@pytest.mark.parametrize("name", [name for name in EVERY if name != "jpeg"])
def test_nothing_lost_is_time_zero(name: str) -> None:
    own = EVERY[name]()
    found = own.time_of(Identity(own.image_shape))
    assert found is not None and found.tolist() == [0.0]


def test_images_of_a_batch_have_a_time_each() -> None:
    own = family("blur:schedule=linear")(GREY)
    wide = GaussianBlur(GREY, [0.84, 3.0], kernel_size=61, truncate=6.0)
    found = own.time_of(each([GaussianBlur(GREY, 1.65), Identity(GREY), wide, wide], [0, 0, 1, 0]))
    assert found is not None
    torch.testing.assert_close(found, torch.tensor([0.5, 0.0, 1.0, 0.2], dtype=torch.float64), rtol=0, atol=1e-9)
    assert own.time_of(each([GaussianBlur(GREY, 1.65), ContrastLoss(GREY)])) is None


def test_a_blur_is_known_by_its_width_alone() -> None:
    own = family("blur:schedule=linear")(GREY)
    for other in (
        GaussianBlur(GREY, 1.65, kernel_size=9),
        GaussianBlur(GREY, 1.65, truncate=2.0),
        GaussianBlur(GREY, 1.65, boundary="zero"),
    ):
        found = own.time_of(other)
        assert found is not None and float(found) == pytest.approx(0.5, abs=1e-12)


def test_widths_that_the_family_takes_for_none_are_reached_at_its_first_blur() -> None:
    own = BlurFamily(GREY)  # the identity below 0.3
    found = own.time_of(GaussianBlur(GREY, [0.0, 0.2, 0.3]))
    assert found is not None and found[0] == 0
    assert (own.std(found)[1:] >= 0.3).all() and (found[1:] < 0.1 + 1e-6).all()


@pytest.mark.parametrize(("angles", "t"), [(128, 0.1), (64, 0.4), (32, 0.7), (16, 1.0), (8, float("inf"))])
def test_a_scan_has_the_time_of_its_number_of_views(angles: int, t: float) -> None:
    shape = (1, 16, 16)
    own, scan = ViewFamily(shape, 16, 128), ParallelBeam(shape, angles, unit="pixel")
    found = own.time_of(scan)
    assert found is not None and float(found) == pytest.approx(t)
    if t <= 1:
        x = random_pictures(2, shape)
        torch.testing.assert_close(own.at(t)(x), scan.fbp(scan(x)), rtol=1e-9, atol=1e-9)
        of_sparse = own.time_of(SparseView.of(shape, angles, angles))
        assert of_sparse is not None and float(of_sparse) == pytest.approx(t)


@pytest.mark.parametrize(
    "scan",
    [
        ParallelBeam(GREY, 48),
        ParallelBeam(GREY, 25),
        ParallelBeam(GREY, 64, span=90),
        ParallelBeam(GREY, 64, start=3),
        ParallelBeam(GREY, 64, detectors=5),
        ParallelBeam(GREY, 64, spacing=2),
    ],
)
def test_a_scan_that_is_not_of_the_family_has_no_time(scan: ParallelBeam) -> None:
    assert ViewFamily(GREY, 16, 128).time_of(scan) is None


def test_sparse_views_are_filtered_back_projection() -> None:
    x = random_pictures(2, COLOUR)
    for views in (2, 8, 32):
        scan = ParallelBeam(COLOUR, views)
        torch.testing.assert_close(SparseView.of(COLOUR, views, 32)(x), scan.fbp(scan(x)), rtol=1e-9, atol=1e-9)


def test_one_weight_of_a_pixelation_is_the_mean_of_blocks() -> None:
    x = random_pictures(1, (1, 5, 6))
    y = Pixelation.of((1, 5, 6), 4)(x)
    assert float(y[0, 0, 1, 2]) == pytest.approx(float(x[0, 0, :4, :4].mean()))
    assert float(y[0, 0, 4, 5]) == pytest.approx(float(x[0, 0, 4:, 4:].mean()))


@pytest.mark.parametrize(
    "make",
    [
        lambda: JPEGFamily(COLOUR, 100),
        lambda: ContrastFamily(GREY, 1.0),
        lambda: ContrastFamily(GREY, 0.0),
        lambda: ExposureFamily(GREY, 1.0),
        lambda: MaskFamily(GREY, 0.05),
        lambda: MaskFamily(GREY, narrowest=0),
        lambda: RandomMaskFamily(GREY, 0.0),
        lambda: PixelationFamily(GREY, 0),
        lambda: ViewFamily(GREY, 16, 48),
        lambda: ViewFamily(GREY, 16, 16),
        lambda: ViewFamily(GREY, 1, 2),
    ],
)
def test_families_that_lose_nothing_or_cannot_be_are_refused(make: Callable[[], Family]) -> None:
    with pytest.raises((CompatibilityError, OperatorError)):
        make()
