"""Operators made of operators."""

from __future__ import annotations

import pytest
import torch

from pellucid.errors import OperatorError, ShapeError
from pellucid.operators import (
    HDR,
    Bicubic,
    GaussianBlur,
    Grey,
    Identity,
    LinearOperator,
    Mask,
    Quantise,
    Separable,
    Spectral,
    Stack,
    stack,
)

SHAPE = (3, 8, 8)
X = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_values() -> None:
    a, b = Mask.random(SHAPE), GaussianBlur(SHAPE, 1.0)
    torch.testing.assert_close((a @ b)(X), a(b(X)))
    torch.testing.assert_close((a + b)(X), a(X) + b(X))
    torch.testing.assert_close((a - b)(X), a(X) - b(X))
    torch.testing.assert_close((2 * a)(X), 2 * a(X))
    torch.testing.assert_close((a * 2)(X), 2 * a(X))
    torch.testing.assert_close((-b)(X), -b(X))
    torch.testing.assert_close((HDR(SHAPE) @ b)(X), HDR(SHAPE)(b(X)))


def test_what_a_combination_can_do_is_what_its_parts_can() -> None:
    blur, mask, hdr = GaussianBlur(SHAPE, 1.0), Mask.random(SHAPE), HDR(SHAPE)
    assert isinstance(Bicubic(SHAPE, 2) @ blur, Separable)
    assert isinstance(-2 * Grey(SHAPE), Spectral)
    for combined in (mask @ blur, mask + blur, stack([mask, blur]), 2 * (mask @ blur)):
        assert isinstance(combined, LinearOperator) and not isinstance(combined, Spectral)
        assert combined.iterative_pinv
    for combined in (hdr @ blur, mask @ hdr, hdr + blur, stack([hdr, blur]), 2 * hdr):
        assert not isinstance(combined, LinearOperator)


def test_a_stack_splits_into_the_measurements() -> None:
    parts = [Grey(SHAPE), Bicubic(SHAPE, 2), Identity(SHAPE)]
    a = stack(parts)
    assert isinstance(a, Stack) and a.measurement_shape == (64 + 48 + 192,)
    for piece, part in zip(a.split(a(X)), parts, strict=True):
        torch.testing.assert_close(piece, part(X))
    channels = stack([Grey(SHAPE), Identity(SHAPE)])
    assert channels.measurement_shape == (4, 8, 8)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"Grey takes \(3, 8, 8\), but Bicubic gives \(3, 4, 4\)"):
        Grey(SHAPE) @ Bicubic(SHAPE, 2)
    with pytest.raises(ShapeError, match="measurements of different shapes"):
        Grey(SHAPE) + Identity(SHAPE)
    with pytest.raises(ShapeError, match="different pictures"):
        stack([Identity(SHAPE), Identity((3, 4, 4))])
    with pytest.raises(ShapeError, match="different numbers of images"):
        Mask.random(SHAPE, [0.1, 0.2]) @ GaussianBlur(SHAPE, [1.0, 2.0, 3.0])
    with pytest.raises(OperatorError, match="finite"):
        float("nan") * Quantise(SHAPE)


def test_truncation_leaves_out_what_the_pseudo_inverse_does() -> None:
    blur = GaussianBlur((1, 32, 32), 3.0)
    x = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cut = blur.truncated()
    s, kept = blur.singular_values(x), blur.kept(x)
    assert s[kept].min() > 0.03 * s.max() >= s[~kept].max() and s.min() < 1e-11
    assert torch.equal(cut.singular_values(x), torch.where(kept, s, 0))
    assert (cut.norm(x) / cut.pinv(cut(x)).norm()).isfinite()
    noise = torch.randn_like(x)
    assert blur.pinv(noise).norm() <= noise.norm() / (0.03 * s.max())
    assert GaussianBlur((1, 32, 32), 3.0, rcond=0.3).kept(x).sum() < kept.sum()
