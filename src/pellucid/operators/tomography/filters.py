"""The filters of filtered back-projection."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from pellucid.errors import UnknownNameError

# The window of the ramp, by the frequency r, 0 to 1 at the detector's Nyquist frequency.
WINDOWS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "ramp": torch.ones_like,
        "shepp-logan": lambda r: torch.sinc(r / 2),
        "cosine": lambda r: torch.cos(math.pi / 2 * r),
        "hamming": lambda r: 0.54 + 0.46 * torch.cos(math.pi * r),
        "hann": lambda r: 0.5 + 0.5 * torch.cos(math.pi * r),
    }
)
FILTERS = (*WINDOWS, "none")


def require_filter(name: str) -> None:
    """Raises `UnknownNameError` unless it is one of `FILTERS`."""
    if name not in FILTERS:
        raise UnknownNameError("filter", name, FILTERS)


def response(detectors: int, spacing: float, name: str) -> Tensor:
    """|f| times the window at the frequencies of rfft, (m / 2 + 1,) float64, m >= 2 detectors a power of two.

    |f| is the transform of the band-limited ramp's samples h[0] = 1 / (4 spacing^2), h[n] = -1 / (pi n spacing)^2 for
    odd n and 0 for even n: taken in space, its mean is right for a detector of finite length.
    """
    m = 2 ** math.ceil(math.log2(max(2 * detectors, 2)))
    n = torch.arange(m, dtype=torch.float64)
    n = torch.minimum(n, m - n)
    h = torch.where(n % 2 == 1, -1 / (math.pi * spacing * n.clamp(min=1)) ** 2, 0)
    h[0] = 1 / (4 * spacing**2)
    return spacing * torch.fft.rfft(h).real * WINDOWS[name](torch.linspace(0, 1, m // 2 + 1, dtype=torch.float64))


def filtered(y: Tensor, spacing: float, name: str) -> Tensor:
    """The views (..., detectors), each filtered along the detector."""
    if name == "none":
        return y
    detectors = y.shape[-1]
    gain = response(detectors, spacing, name)
    spectrum = torch.fft.rfft(y, n=2 * (len(gain) - 1)) * gain.to(y)
    return torch.fft.irfft(spectrum)[..., :detectors]
