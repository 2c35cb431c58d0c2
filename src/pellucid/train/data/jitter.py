"""Small random changes of colour."""

from __future__ import annotations

import numpy as np

BT601 = np.array([0.299, 0.587, 0.114], np.float32)


def jitter(pixels: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, saturation and gamma, each by a factor exp(u), u ~ U(-strength, strength).

    x -> x^gamma, then b x, then m + c (x - m) around the mean m, then g + s (x - g) around the grey g of BT.601;
    clipped to [0, 1] at the end.

    Args:
        pixels: (h, w, c) in [0, 1]; saturation is left alone unless c = 3.
        strength: 0.1 is small, 0.3 is large.
        rng: decides the factors.
    """
    gamma, brightness, contrast, saturation = np.exp(rng.uniform(-strength, strength, 4)).astype(np.float32)
    x = pixels**gamma * brightness
    mean = x.mean()
    x = mean + contrast * (x - mean)
    if x.shape[-1] == 3:
        grey = (x @ BT601)[..., None]
        x = grey + saturation * (x - grey)
    return x.clip(0, 1)
