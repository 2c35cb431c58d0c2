"""Tomography against closed forms, against scikit-image, and against dense linear algebra."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from torch import Tensor

from pellucid import methods
from pellucid.codec import AffineCodec
from pellucid.errors import CompatibilityError, NeedsCapability, OperatorError, UnknownNameError
from pellucid.loop import reconstruct
from pellucid.operators import FanBeam, GaussianBlur, ParallelBeam, Tomograph, Transmission, parse
from pellucid.operators.tomography import FILTERS, matrix
from pellucid.operators.tomography.backprojection import view_shares
from pellucid.problem import Problem
from pellucid.start.fbp import Fbp
from pellucid.start.initial import Noised
from tests.operators.test_properties import dense
from tests.toys import pictures, toy_prior

ELLIPSE = (0.11, -0.07, 0.33, 0.21, math.radians(35))  # centre right and up, semi-axes, turn; in picture widths


def points(n: int, fine: int) -> tuple[Tensor, Tensor]:
    """X and Y of fine x fine points in every pixel of an n x n picture, in picture widths."""
    place = (torch.arange(n * fine, dtype=torch.float64) + 0.5) / (n * fine) - 0.5
    return place[None, :].expand(n * fine, -1), -place[:, None].expand(-1, n * fine)


def picture(n: int, fine: int = 8) -> Tensor:
    """The ellipse of density 1, each pixel the share of it that is covered, (1, 1, n, n)."""
    x0, y0, a, b, turn = ELLIPSE
    x, y = points(n, fine)
    u = (x - x0) * math.cos(turn) + (y - y0) * math.sin(turn)
    v = (y - y0) * math.cos(turn) - (x - x0) * math.sin(turn)
    inside = ((u / a) ** 2 + (v / b) ** 2 < 1).double()
    return torch.nn.functional.avg_pool2d(inside[None, None], fine)


def chord(theta: Tensor, s: Tensor) -> Tensor:
    """The length of the line X cos theta + Y sin theta = s inside the ellipse."""
    x0, y0, a, b, turn = ELLIPSE
    reach = (a * torch.cos(theta - turn)) ** 2 + (b * torch.sin(theta - turn)) ** 2
    s = s - x0 * torch.cos(theta) - y0 * torch.sin(theta)
    return 2 * a * b * (reach - s**2).clamp(min=0).sqrt() / reach


def cell_middles(operator: Tomograph, fine: int = 16) -> Tensor:
    """`fine` points in every cell, (detectors, fine), in picture widths at the picture's centre."""
    geometry = operator.geometry
    inside = (torch.arange(fine, dtype=torch.float64) + 0.5) / fine
    cells = torch.arange(geometry.detectors, dtype=torch.float64)[:, None] + inside
    return (cells - geometry.detectors / 2) * geometry.spacing / geometry.width


def exact(operator: Tomograph, source: float | None = None) -> Tensor:
    """The sinogram of the ellipse itself, the mean over every cell."""
    theta = torch.from_numpy(operator.geometry.theta)[:, None, None]
    v = cell_middles(operator)
    if source is None:
        return chord(theta, v).mean(-1)
    # The ray from -source d through v e has the angle theta - atan(v / source) and this distance from the centre.
    return chord(theta - torch.atan(v / source), source * v / (source**2 + v**2).sqrt()).mean(-1)


def rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


@pytest.mark.parametrize("source", [None, 1.5], ids=["parallel", "fan"])
def test_the_sinogram_of_an_ellipse_is_its_closed_form(source: float | None) -> None:
    errors = []
    for n in (32, 64, 128):
        operator: Tomograph
        if source is None:
            operator = ParallelBeam((1, n, n), 12, start=5)
        else:
            operator = FanBeam((1, n, n), 12, start=5, source=source)
        wanted = exact(operator, source)
        errors.append(rms(operator(picture(n))[0, 0] - wanted) / rms(wanted))
    assert errors[0] < 0.02 and errors[2] < 0.005, errors
    assert errors[1] < errors[0] / 1.7 and errors[2] < errors[1] / 1.7, errors


def test_every_view_holds_the_whole_picture() -> None:
    x = torch.rand(2, 3, 20, 31, dtype=torch.float64)
    for spacing in (0.7, 1.0, 2.3):
        operator = ParallelBeam((3, 20, 31), 17, spacing=spacing, unit="pixel", span=360)
        total = operator(x).sum(-1) * spacing
        torch.testing.assert_close(total, x.sum((2, 3))[..., None].expand_as(total), rtol=1e-12, atol=1e-12)


def test_units_and_the_middle_of_a_white_picture() -> None:
    white = torch.ones(1, 1, 24, 24, dtype=torch.float64)
    wide, pixels = ParallelBeam((1, 24, 24), 4), ParallelBeam((1, 24, 24), 4, unit="pixel")
    middle = wide.measurement_shape[2] // 2
    assert wide.measurement_shape[2] % 2 == 1
    row = wide(white)[0, 0, :, middle]
    assert row[0] == pytest.approx(1, abs=1e-12) and row[2] == pytest.approx(1, abs=1e-12)
    assert row[1] == pytest.approx(2**0.5 - 1 / 48, abs=1e-12)  # the mean over a cell around the diagonal
    torch.testing.assert_close(pixels(white), 24 * wide(white), rtol=1e-12, atol=1e-12)
    for image_shape in ((1, 24, 24), (1, 9, 40), (1, 1, 1)):
        sees, less = ParallelBeam(image_shape, 30), ParallelBeam(image_shape, 30, detectors=5)
        assert math.hypot(*image_shape[1:]) <= sees.measurement_shape[2] < math.hypot(*image_shape[1:]) + 2
        assert less.measurement_shape == (1, 30, 5)


def test_directions_are_those_of_the_docstring() -> None:
    x = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    x[0, 0, 1, 6] = 1  # up and right
    operator = ParallelBeam((1, 8, 8), 2, unit="pixel", detectors=8)
    columns, rows = operator(x)[0, 0]
    assert columns.argmax() == 6 and columns[6] == pytest.approx(1)
    assert rows.argmax() == 6  # row 1 is the seventh from the bottom
    fan = FanBeam((1, 8, 8), 1, source=4, unit="pixel")(x)[0, 0, 0]
    half = len(fan) // 2
    assert fan[: half + 1].sum() < 1e-12 and fan[half:].sum() > 0.5


def test_it_is_the_radon_transform_of_scikit_image() -> None:
    transform = pytest.importorskip("skimage.transform")
    n = 95  # odd: skimage's centre is then the picture's
    x = GaussianBlur((1, n, n), 1.0)(picture(n))
    operator = ParallelBeam((1, n, n), 18, unit="pixel", detectors=n)
    theta = [10 * i for i in range(18)]
    wanted = torch.from_numpy(transform.radon(x[0, 0].numpy(), theta, circle=True)).T
    assert rms(operator(x)[0, 0] - wanted) < 4e-3 * rms(wanted)
    dense_views = ParallelBeam((1, n, n), 180, unit="pixel", detectors=n)
    for name in ("ramp", "hann"):
        y = dense_views(x)
        ours = dense_views.fbp(y, name)[0, 0]
        theirs = transform.iradon(y[0, 0].T.numpy(), [float(i) for i in range(180)], filter_name=name, circle=True)
        theirs = torch.from_numpy(theirs)
        inside = theirs != 0
        assert rms((ours - theirs)[inside]) < 0.01
        assert rms((ours - x[0, 0])[inside]) < 1.2 * rms((theirs - x[0, 0])[inside]) < 0.025


@pytest.mark.parametrize("operator", [ParallelBeam((2, 9, 12), 7, span=130), FanBeam((2, 9, 12), 7)])
def test_backward_is_the_adjoint_to_the_bit(operator: Tomograph) -> None:
    x = torch.rand(3, 2, 9, 12, dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, *operator.measurement_shape, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(operator(x), x, y)
    assert torch.equal(gradient, operator.adjoint(y))
    assert torch.autograd.gradgradcheck(lambda v: operator(v).square(), x.detach()[:1].requires_grad_())
    (back,) = torch.autograd.grad(operator.adjoint(y.requires_grad_()).sum(), y)
    assert torch.equal(back, operator(torch.ones_like(x)).detach())


def test_float32_is_float64_rounded() -> None:
    operator = ParallelBeam((3, 64, 64), 25)
    x = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    y = operator(x)
    assert rms(operator(x.float()).double() - y) < 2e-7 * rms(y)
    assert rms(operator.adjoint(y.float()).double() - operator.adjoint(y)) < 2e-7 * rms(operator.adjoint(y))
    half = operator(x.bfloat16())
    assert half.dtype == torch.bfloat16 and rms(half.double() - y) < 1e-2 * rms(y)


def test_a_limited_angle_is_a_part_of_the_views() -> None:
    x = torch.rand(1, 1, 15, 15, dtype=torch.float64)
    whole, part = ParallelBeam((1, 15, 15), 36), ParallelBeam((1, 15, 15), 12, span=60, start=45)
    torch.testing.assert_close(part(x), whole(x)[:, :, 9:21], rtol=1e-12, atol=1e-12)
    around = ParallelBeam((1, 15, 15), 72, span=360)(x)
    torch.testing.assert_close(around[:, :, 36:], around[:, :, :36].flip(-1), rtol=1e-10, atol=1e-12)


def test_a_fan_from_far_away_is_parallel() -> None:
    x = torch.rand(1, 1, 20, 26, dtype=torch.float64)
    wanted = ParallelBeam((1, 20, 26), 9, span=360, detectors=35)(x)
    gaps = [rms(FanBeam((1, 20, 26), 9, source=far, detectors=35)(x) - wanted) for far in (1e2, 1e3, 1e4)]
    assert gaps[0] < 0.02 * rms(wanted)
    assert gaps[1] < gaps[0] / 8 and gaps[2] < gaps[1] / 8


def test_the_detector_of_a_fan_is_magnified() -> None:
    x = torch.rand(1, 1, 16, 16, dtype=torch.float64)
    near = FanBeam((1, 16, 16), 5, source=2, detector=0, spacing=1, detectors=21)
    far = FanBeam((1, 16, 16), 5, source=2, detector=3, spacing=2.5, detectors=21)
    torch.testing.assert_close(near(x), far(x), rtol=1e-12, atol=1e-12)
    coarse = FanBeam((1, 16, 16), 5, source=2, detector=3, spacing=5)
    assert coarse.geometry.spacing == pytest.approx(2)
    assert FanBeam((1, 16, 16), 5, source=2, detector=3).geometry.spacing == 1
    edges = FanBeam((1, 16, 16), 5, source=1.0, unit="pixel")
    assert (edges(torch.ones_like(x)).sum(-1) > 0).all() and edges.measurement_shape[2] % 2 == 1


@pytest.mark.parametrize("kind", ["parallel", "fan"])
def test_the_error_of_filtered_back_projection_falls_with_the_views(kind: str) -> None:
    n = 64
    x = GaussianBlur((1, n, n), 1.0)(picture(n))
    errors = []
    for angles in (15, 45, 135):
        operator = ParallelBeam((1, n, n), angles) if kind == "parallel" else FanBeam((1, n, n), 2 * angles, source=1.2)
        errors.append(rms(operator.fbp(operator(x)) - x))
    assert errors[0] > 1.5 * errors[1] > 1.5 * errors[2] and errors[2] < 0.02, errors


def test_filtered_back_projection_in_every_unit_span_and_filter() -> None:
    n = 48
    x = GaussianBlur((1, n, n), 1.0)(picture(n))
    scans = [
        ParallelBeam((1, n, n), 90),
        ParallelBeam((1, n, n), 90, unit="pixel", spacing=0.7),
        ParallelBeam((1, n, n), 180, span=360, start=-33),
        ParallelBeam((1, n, n), 135, span=270),
        FanBeam((1, n, n), 120, unit="pixel", spacing=1.2),
    ]
    for operator in scans:
        assert rms(operator.fbp(operator(x)) - x) < 0.02
    operator, y = scans[0], scans[0](x)
    sharpness = [rms(torch.diff(operator.fbp(y, name))) for name in FILTERS if name != "none"]
    assert sharpness == sorted(sharpness, reverse=True)
    blurred = operator.fbp(y, "none").flatten()
    assert torch.corrcoef(torch.stack([blurred, x.flatten()]))[0, 1] > 0.7
    limited = ParallelBeam((1, n, n), 60, span=120)
    assert 0.1 < rms(limited.fbp(limited(x)) - x) / rms(x) < 0.6


def test_views_stand_for_the_angle_around_them() -> None:
    for angles, span in ((7, 180), (7, 360), (8, 360), (9, 270), (5, 60)):
        shares = view_shares(ParallelBeam((1, 8, 8), angles, span=span, start=200).geometry)
        assert shares.min() > 0 and shares.sum() == pytest.approx(math.radians(min(span, 180)), rel=0.2 / angles)
    assert view_shares(ParallelBeam((1, 8, 8), 8, span=360).geometry) == pytest.approx(math.pi / 8)


def test_what_cannot_be_is_refused_by_name() -> None:
    fan = FanBeam((1, 8, 8), 6, span=200)
    with pytest.raises(CompatibilityError, match="span=360"):
        fan.fbp(torch.zeros(1, *fan.measurement_shape))
    with pytest.raises(UnknownNameError, match="shepp-logan"):
        ParallelBeam((1, 8, 8)).fbp(torch.zeros(1, 1, 25, 13), "shep-logan")
    with pytest.raises(UnknownNameError, match="hann"):
        methods.fbp("han")
    for text, message in (
        ("tomography:angles=0", "angles"),
        ("tomography:span=0", "span"),
        ("tomography:span=361", "span"),
        ("tomography:detectors=0", "detectors"),
        ("tomography:detectors=40000", "32767"),
        ("tomography:spacing=0", "apart"),
        ("tomography:angles=1000000000", "too many"),
        ("fan-beam:source=0.7", "outside the picture, more than 0.707"),
        ("fan-beam:detector=-1", "at least 0"),
        ("transmission:[hdr]", "linear"),
        ("transmission:density=0,[tomography]", "density"),
        ("tomography:unit=mile", "one of width, pixel"),
        ("tomography:detectors=all", "or auto"),
    ):
        with pytest.raises(OperatorError, match=message):
            parse(text).build((1, 8, 8))


def test_the_text_form() -> None:
    operator = parse("tomography:angles=25,span=180,detectors=auto").build((1, 256, 256))
    assert isinstance(operator, ParallelBeam) and operator.measurement_shape == (1, 25, 363)
    limited = parse("tomography:angles=3,span=90,start=-45,detectors=9,unit=pixel").build((2, 8, 8))
    assert limited.measurement_shape == (2, 3, 9)
    through = parse("transmission:density=2,[fan-beam:angles=4]").build((1, 8, 8))
    assert isinstance(through, Transmission) and isinstance(through.operator, FanBeam)
    with pytest.raises(OperatorError, match="does not tell"):
        parse("tomography").image_shape_for((1, 25, 363))


def test_operators_of_one_geometry_share_a_matrix_and_let_go_of_it() -> None:
    x = torch.rand(1, 1, 10, 10)
    first, second = ParallelBeam((1, 10, 10), 3), ParallelBeam((1, 10, 10), 3, unit="pixel")
    first(x), second(x), ParallelBeam((1, 10, 10), 4)(x)
    assert first._scan(x) is second._scan(x)
    copy = deepcopy(first)
    assert not copy._scans and torch.equal(copy(x), first(x)) and copy._scan(x) is first._scan(x)
    for angles in range(20, 30):
        ParallelBeam((1, 10, 10), angles)(x)
    assert len(matrix._recent) <= 2
    assert first.geometry in {key[0] for key in matrix._alive}
    assert not {key[0].angles for key in matrix._alive} & set(range(20, 28))


def test_least_squares_are_those_of_the_matrix() -> None:
    operator = ParallelBeam((1, 8, 8), 15, span=180)
    a = dense(operator)
    y = torch.randn(2, *operator.measurement_shape, dtype=torch.float64)
    wanted = torch.linalg.lstsq(a, y.flatten(1).T, driver="gelsd").solution.T.reshape(2, 1, 8, 8)
    torch.testing.assert_close(operator.pinv(y), wanted, rtol=1e-8, atol=1e-8)
    prior = toy_prior()
    for method in (methods.cgls(iterations=400), methods.pinv()):
        result = reconstruct(Problem(y, operator), prior, method)
        torch.testing.assert_close(result.image, wanted, rtol=1e-7, atol=1e-7)
    few = [reconstruct(Problem(y, operator), prior, methods.cgls(iterations=k)).image for k in (1, 3, 9)]
    residuals = [rms(operator(x) - y) for x in [*few, wanted]]
    assert residuals == sorted(residuals, reverse=True)
    assert all(rms(x) < rms(wanted) for x in few)


def test_starts_do_not_depend_on_the_priors_range() -> None:
    operator = ParallelBeam((3, 16, 16), 6, span=100)
    y = operator(pictures(2)) + 0.01
    results = {}
    for name, codec in (("usual", AffineCodec()), ("other", AffineCodec(3.0, 0.4))):
        for method in (methods.fbp("hann"), methods.cgls(iterations=4)):
            image = reconstruct(Problem(y, operator), toy_prior(codec=codec), method).image
            results[name, method.name] = image
    torch.testing.assert_close(results["usual", "fbp"], operator.fbp(y, "hann"), rtol=1e-10, atol=1e-10)
    for name in ("fbp", "cgls"):
        torch.testing.assert_close(results["usual", name], results["other", name], rtol=1e-10, atol=1e-10)


def test_fbp_is_an_initial_estimate() -> None:
    method = methods.METHODS["ccdf"].build(4, initial="fbp")
    assert isinstance(method.start, Noised) and method.start.initial == Fbp()
    operator = ParallelBeam((3, 16, 16), 20)
    result = reconstruct(Problem(operator(pictures(2)), operator), toy_prior(), method)
    assert result.image.isfinite().all() and result.nfe.tolist() == [4, 4]
    blur = GaussianBlur((3, 16, 16), 1.0)
    with pytest.raises(NeedsCapability, match="Tomograph"):
        reconstruct(Problem(blur(pictures(2)), blur), toy_prior(), methods.fbp())


def test_transmission_counts_photons() -> None:
    n, photons = 24, 2000.0
    scan = ParallelBeam((1, n, n), 40)
    operator = Transmission(scan, 3.0)
    x = picture(n)
    share = operator(x)
    torch.testing.assert_close(share, torch.exp(-3 * scan(x)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(operator.linearise(share), scan(x), rtol=1e-10, atol=1e-12)
    counts = torch.poisson(photons * share.expand(400, -1, -1, -1), generator=torch.Generator().manual_seed(0))
    y = counts / photons
    problem = Problem(y, operator, gain=1 / photons)
    found = (y - share).square().mean() / problem.variance.mean()
    assert float(found) == pytest.approx(1, abs=0.01)
    spread = operator.linearise(y, 1 / photons).std(0)
    torch.testing.assert_close(spread.mean(), ((1 / photons / share).sqrt() / 3).mean(), rtol=0.03, atol=0.0)
    dark = operator.linearise(torch.zeros_like(share), 1 / photons)
    torch.testing.assert_close(dark, torch.full_like(dark, math.log(2 * photons) / 3), rtol=1e-12, atol=1e-12)
    with pytest.raises(OperatorError, match="for 3 images"):
        Transmission(ParallelBeam((1, n, n)) @ GaussianBlur((1, n, n), [1.0, 2.0]), [1.0, 2.0, 3.0])
