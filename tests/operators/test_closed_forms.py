"""Against independent computations of the same thing: scipy, torch's padding, Pillow, formulas."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import hadamard
from scipy.ndimage import correlate1d, gaussian_filter
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad

from pellucid.errors import OperatorError, UnknownNameError
from pellucid.operators import (
    HDR,
    JPEG,
    AnisotropicBlur,
    Bicubic,
    BlockAverage,
    CircularBlur,
    GaussianBlur,
    Grey,
    Identity,
    KernelBlur,
    Mask,
    MotionBlur,
    NonlinearBlur,
    PhaseRetrieval,
    Quantise,
    SoftMask,
    UniformBlur,
    WalshHadamard,
    motion_kernel,
)
from pellucid.operators.kernels import band_matrix
from pellucid.operators.response import RESPONSES, camera_response

PADDING = {"reflect": "reflect", "zero": "constant", "circular": "circular"}
SCIPY = {"reflect": "mirror", "zero": "constant", "circular": "wrap"}


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(1, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def delta(n: int) -> Tensor:
    x = torch.zeros(1, 1, n, n, dtype=torch.float64)
    x[..., n // 2, n // 2] = 1
    return x


@pytest.mark.parametrize(("std", "truncate"), [(3.0, 4.0), (3.0, 6.0), (0.3, 6.0), (1.7, 4.0), (0.0, 4.0)])
def test_the_gaussian_kernel_is_scipys(std: float, truncate: float) -> None:
    x = delta(61)
    expected = gaussian_filter(x[0, 0].numpy(), std, truncate=truncate) if std else x[0, 0].numpy()
    kernel = GaussianBlur((1, 61, 61), std, truncate=truncate)(x)[0, 0]
    torch.testing.assert_close(kernel, torch.from_numpy(expected), rtol=0, atol=1e-15)


@pytest.mark.parametrize("boundary", PADDING)
def test_a_gaussian_blur_at_the_boundary_is_scipys(boundary: str) -> None:
    x = picture(3, 21, 30)
    y = AnisotropicBlur((3, 21, 30), 1.5, 0.8, boundary=boundary)(x)
    expected = gaussian_filter(x.numpy(), (0, 0, 1.5, 0.8), mode=SCIPY[boundary])
    torch.testing.assert_close(y, torch.from_numpy(expected), rtol=0, atol=1e-14)


@pytest.mark.parametrize("boundary", PADDING)
@pytest.mark.parametrize("size", [5, 4])
def test_a_uniform_blur_is_the_padded_correlation(boundary: str, size: int) -> None:
    x, taps = picture(2, 11, 9), np.full(size, 1 / size)
    y = UniformBlur((2, 11, 9), size, boundary=boundary)(x)
    expected = x.numpy()
    for axis in (2, 3):
        expected = correlate1d(expected, taps, axis, mode=SCIPY[boundary])
    torch.testing.assert_close(y, torch.from_numpy(expected), rtol=0, atol=1e-14)


@pytest.mark.parametrize("boundary", PADDING)
@pytest.mark.parametrize("size", [(5, 3), (4, 7), (1, 1)])
def test_a_kernel_blur_is_torchs_padded_correlation(boundary: str, size: tuple[int, int]) -> None:
    x, kernel = picture(3, 12, 11), picture(*size)[0]
    shape = (3, 12, 11)
    blur = CircularBlur(shape, kernel) if boundary == "circular" else KernelBlur(shape, kernel, boundary=boundary)
    before, after = [n // 2 for n in size], [n - 1 - n // 2 for n in size]
    padded = pad(x, (before[1], after[1], before[0], after[0]), mode=PADDING[boundary])
    expected = conv2d(padded, (kernel / kernel.sum()).expand(3, 1, *size), groups=3)
    torch.testing.assert_close(blur(x), expected, rtol=0, atol=1e-14)


def test_a_circular_kernel_larger_than_the_picture_wraps_around() -> None:
    blur = CircularBlur((1, 4, 4), torch.ones(8, 12))
    torch.testing.assert_close(blur(picture(1, 4, 4)), picture(1, 4, 4).mean().expand(1, 1, 4, 4))


def test_reflection_works_for_pictures_smaller_than_the_kernel() -> None:
    matrix = band_matrix(torch.full((1, 21), 1 / 21, dtype=torch.float64), 3, "reflect")[0]
    expected = np.pad(np.eye(3), ((10, 10), (0, 0)), mode="reflect")
    expected = np.stack([expected[i : i + 21].mean(0) for i in range(3)])
    torch.testing.assert_close(matrix, torch.from_numpy(expected))
    constant = torch.full((1, 1, 1, 1), 0.3, dtype=torch.float64)
    torch.testing.assert_close(GaussianBlur((1, 1, 1), 5.0)(constant), constant)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("size", [(24, 37), (40, 16)])
def test_bicubic_keeps_constants_and_ramps(factor: int, size: tuple[int, int]) -> None:
    down = Bicubic((1, *size), factor)
    _, m, n = down.measurement_shape
    assert (m, n) == (math.ceil(size[0] / factor), math.ceil(size[1] / factor))
    torch.testing.assert_close(down(torch.ones(1, 1, *size)), torch.ones(1, 1, m, n))
    ramp = torch.arange(float(size[1])).expand(1, 1, *size).double()
    inner = slice(2, n - 2)
    centres = (size[1] - 1) / 2 + (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * factor
    torch.testing.assert_close(down(ramp)[0, 0, 0, inner], centres[inner], rtol=0, atol=1e-3)


def test_bicubic_is_pillows_inside() -> None:
    x = picture(1, 48, 60)
    expected = Image.fromarray(x[0, 0].numpy().astype(np.float32)).resize((15, 12), Image.Resampling.BICUBIC)
    y = Bicubic((1, 48, 60), 4)(x)[0, 0]
    inner = (slice(2, -2), slice(2, -2))
    torch.testing.assert_close(y[inner], torch.from_numpy(np.array(expected)).double()[inner], rtol=0, atol=1e-6)


def test_block_averages_and_their_inverse() -> None:
    x = picture(3, 12, 20)
    down = BlockAverage((3, 12, 20), 4)
    torch.testing.assert_close(down(x), avg_pool2d(x, 4))
    torch.testing.assert_close(down.pinv(down(x)), interpolate(avg_pool2d(x, 4), scale_factor=4.0))


def test_grey_and_its_inverse() -> None:
    x = picture(3, 5, 4)
    luma = Grey((3, 5, 4), "luma")
    w = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(luma(x), (w * x).sum(1, keepdim=True))
    torch.testing.assert_close(luma.pinv(luma(x)), w * luma(x) / w.square().sum())
    with pytest.raises(OperatorError, match="mean, luma"):
        Grey((3, 5, 4), "red")


def test_walsh_hadamard_is_the_matrix() -> None:
    x = picture(2, 4, 8)
    a = WalshHadamard((2, 4, 8), 1.0, order=torch.arange(32))
    matrix = torch.from_numpy(hadamard(32) / math.sqrt(32))
    torch.testing.assert_close(a(x), x.flatten(2) @ matrix)
    torch.testing.assert_close(a.pinv(a(x)), x)
    with pytest.raises(OperatorError, match="every one of 32"):
        WalshHadamard((2, 4, 8), order=torch.zeros(32))


def test_masks() -> None:
    shape = (3, 40, 50)
    light, heavy = (Mask.random(shape, f, seed=1).get_buffer("weights") for f in (0.3, 0.8))
    assert abs(float(light.mean()) - 0.7) < 0.03 and abs(float(heavy.mean()) - 0.2) < 0.03
    assert (heavy <= light).all() and torch.equal(light, Mask.random(shape, 0.3, seed=1).get_buffer("weights"))
    box = 1 - Mask.box(shape, (10, 20)).get_buffer("weights")[0, 0]
    assert box.sum() == 200 and box[15:25, 15:35].all()
    corner = 1 - Mask.box(shape, 8, corner=(3, 40)).get_buffer("weights")[0, 0]
    assert corner.sum() == 64 and corner[3:11, 40:48].all()
    for side, hole in {"left": (..., slice(25)), "bottom": (slice(20, None), ...)}.items():
        half = 1 - Mask.side(shape, side).get_buffer("weights")[0, 0]
        assert half[hole].all() and half.sum() == 1000
    for weights in (-torch.ones(40, 50), torch.full((40, 50), torch.nan), torch.ones(50, 40), torch.ones(2, 40, 50)):
        with pytest.raises(OperatorError):
            Mask(shape, weights)


def test_flashs_varying_mask_is_the_random_one() -> None:
    u = torch.rand(32, 32, generator=torch.Generator().manual_seed(0))
    for t in (0.0, 0.5, 0.95, 1.0):
        kept = (u - 0.2) / 0.8 < 1 - t
        ours = Mask.random((3, 32, 32), 0.8 * t, seed=0).get_buffer("weights")[0, 0].bool()
        assert (ours != kept).sum() <= 1


def test_the_soft_mask_is_the_formula() -> None:
    k = gaussian_filter(np.pad(np.ones((1, 1)), ((40, 39), (40, 39))), 3.0)
    expected = ((1 - k / k.max()) ** 4)[20:60, 20:60]
    weights = SoftMask((3, 40, 40), 3.0).get_buffer("weights")[0, 0]
    torch.testing.assert_close(weights, torch.from_numpy(expected), rtol=0, atol=1e-14)
    assert torch.equal(SoftMask((3, 8, 8), 0.0).get_buffer("weights"), torch.ones(1, 1, 8, 8, dtype=torch.float64))


def test_motion_kernels_are_frozen_by_their_seed() -> None:
    kernels = motion_kernel([0, 1, 2, 3])
    assert kernels.shape == (4, 61, 61) and (kernels >= 0).all()
    torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(4, dtype=torch.float64))
    assert torch.equal(kernels[2], motion_kernel(2)) and not torch.equal(kernels[0], kernels[1])
    spread = (kernels > 1e-3).sum((1, 2))
    assert (spread > 20).all() and (spread < 1500).all()
    straight = motion_kernel(7, 61, 0.0)
    rows, columns = torch.nonzero(straight > straight.max() / 2, as_tuple=True)
    assert np.linalg.matrix_rank(np.cov(rows, columns), tol=3.0) <= 1
    assert MotionBlur((1, 8, 8), 3, size=5).get_buffer("kernel").shape == (1, 1, 5, 5)


@pytest.mark.parametrize("name", RESPONSES)
def test_a_camera_response_and_its_inverse(name: str) -> None:
    f = camera_response(name)
    v = torch.linspace(-0.2, 1.2, 1001, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(f.to_picture(f.to_light(v)), v)
    torch.testing.assert_close(f.to_light(f.to_picture(v)), v)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(f.to_picture(ends), ends)
    (slope,) = torch.autograd.grad(f.to_picture(v).sum(), v)
    # 0 is where the sign changes; torch takes its derivative there as 0.
    assert slope.isfinite().all() and (slope[v != 0] > 0).all()


def test_an_unknown_response_comes_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="gamma"):
        camera_response("gama")


def test_a_nonlinear_blur_is_the_formula() -> None:
    x, kernel = 0.05 + 0.95 * picture(3, 12, 11), picture(3, 5)[0]
    blur = NonlinearBlur((3, 12, 11), kernel=kernel, gamma=2.2)
    torch.testing.assert_close(blur(x), KernelBlur((3, 12, 11), kernel)(x**2.2) ** (1 / 2.2), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(NonlinearBlur((3, 12, 11), kernel=torch.ones(1, 1))(x), x)


def test_hdr_quantisation_and_phase_retrieval_are_the_formulas() -> None:
    x = picture(3, 8, 8)
    torch.testing.assert_close(2 * HDR((3, 8, 8))(x) - 1, (2 * (2 * x - 1)).clamp(-1, 1))
    torch.testing.assert_close(HDR((3, 8, 8), 3.0, pivot=0)(x), (3 * x).clamp(max=1))
    torch.testing.assert_close(Quantise((3, 8, 8), 2)(x), (3 * x).round() / 3)
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(Quantise((3, 8, 8), 2)(leaf).sum(), leaf)
    torch.testing.assert_close(slope, torch.ones_like(x))
    phase = PhaseRetrieval((3, 8, 8))
    assert phase.measurement_shape == (3, 12, 12)
    torch.testing.assert_close(phase(x).square().sum(), x.square().sum())
    torch.testing.assert_close(phase(x.flip(2, 3)), phase(x))


@pytest.mark.parametrize("quality", [10, 40, 75, 95])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_is_what_libjpeg_decodes(quality: int, mode: str) -> None:
    c = len(mode)
    smooth = interpolate(picture(c, 12, 10, seed=4), size=(93, 70), mode="bicubic").clamp(0, 1)
    pixels = (255 * smooth[0]).round().byte().movedim(0, -1).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels if c == 3 else pixels[..., 0]).save(file, "JPEG", quality=quality, subsampling=2)
    decoded = torch.from_numpy(np.array(Image.open(file)).reshape(93, 70, c)).movedim(-1, 0)[None] / 255
    y = JPEG((c, 93, 70), quality)(torch.from_numpy(pixels.copy()).movedim(-1, 0)[None] / 255)
    error, loss = (y - decoded).square().mean().sqrt() * 255, (decoded - smooth).square().mean().sqrt() * 255
    assert error < 2 and error < 0.7 * loss


def test_norm_of_the_identity_is_one() -> None:
    assert torch.equal(Identity((3, 8, 8)).norm(torch.zeros(2, 3, 8, 8)), torch.ones(2))
