"""Ellipse phantoms: slices of chests, abdomens and heads that never were, and the one of Shepp and Logan.

References: Shepp and Logan, The Fourier reconstruction of a head section, IEEE Trans. Nucl. Sci. 21 (1974), table 1;
Toft, The Radon transform, PhD thesis, DTU (1996), table B.3, for the contrast that shows on a screen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pellucid.train.data.window import CT_WINDOW, to_unit

AIR, LUNG, FAT, MUSCLE, SPONGY, CORTICAL = -1000.0, -850.0, -100.0, 50.0, 220.0, 900.0
LOWEST, HIGHEST = -1024.0, 3071.0  # what 12 bits of a scanner hold

# Semi-axes, centre, angle in degrees, anticlockwise: on the square [-1, 1]^2, x to the right and y up.
_SHEPP_LOGAN = (
    (0.69, 0.92, 0.0, 0.0, 0.0),
    (0.6624, 0.874, 0.0, -0.0184, 0.0),
    (0.11, 0.31, 0.22, 0.0, -18.0),
    (0.16, 0.41, -0.22, 0.0, 18.0),
    (0.21, 0.25, 0.0, 0.35, 0.0),
    (0.046, 0.046, 0.0, 0.1, 0.0),
    (0.046, 0.046, 0.0, -0.1, 0.0),
    (0.046, 0.023, -0.08, -0.605, 0.0),
    (0.023, 0.023, 0.0, -0.605, 0.0),
    (0.023, 0.046, 0.06, -0.605, 0.0),
)
_ORIGINAL = (2.0, -0.98, -0.02, -0.02, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01)
_TOFT = (1.0, -0.8, -0.2, -0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)


@dataclass(frozen=True)
class Ellipse:
    """An ellipse in the square [-1, 1]^2, x to the right and y up.

    Attributes:
        a, b: semi-axes.
        x, y: centre.
        angle: of the axis `a`, in radians, anticlockwise.
    """

    a: float
    b: float
    x: float = 0.0
    y: float = 0.0
    angle: float = 0.0

    def at(self, radius: float, angle: float) -> tuple[float, float]:
        """The point at a share `radius` of the way from the centre to the edge."""
        u, v = self.a * radius * np.cos(angle), self.b * radius * np.sin(angle)
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return float(self.x + cos * u - sin * v), float(self.y + sin * u + cos * v)

    def scaled(self, factor: float) -> Ellipse:
        """The same ellipse with both axes times `factor`."""
        return Ellipse(self.a * factor, self.b * factor, self.x, self.y, self.angle)

    def within(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(u / a)^2 + (v / b)^2 at points, at most 1 inside."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        dx, dy = x - self.x, y - self.y
        return ((cos * dx + sin * dy) / self.a) ** 2 + ((cos * dy - sin * dx) / self.b) ** 2


def shepp_logan_ellipses(modified: bool = True) -> list[tuple[float, Ellipse]]:
    """(value added inside, ellipse): the table of 1974, or Toft's values with them (he has one 0.001 lower)."""
    values = _TOFT if modified else _ORIGINAL
    return [
        (value, Ellipse(a, b, x, y, float(np.deg2rad(degrees))))
        for value, (a, b, x, y, degrees) in zip(values, _SHEPP_LOGAN, strict=True)
    ]


def shepp_logan(size: int, *, modified: bool = True, samples: int = 4) -> np.ndarray:
    """The Shepp-Logan phantom, (size, size) float64.

    Toft's values are in [0, 1]; the original ones are the attenuation relative to water: 2 for the skull, 1.02 for the
    brain, whose structures differ by 1 and 2 percent.

    Args:
        size: side in pixels.
        modified: Toft's values.
        samples: a pixel is the mean of samples^2 points in it.
    """
    axis = (np.arange(size * samples) + 0.5) * 2 / (size * samples) - 1
    x, y = axis[None, :], -axis[:, None]
    image = np.zeros((size * samples, size * samples))
    for value, ellipse in shepp_logan_ellipses(modified):
        image += value * (ellipse.within(x, y) <= 1)
    return image.reshape(size, samples, size, samples).mean((1, 3))


def phantom(size: int, seed: int | np.random.Generator, *, kind: str | None = None) -> np.ndarray:
    """A random axial slice in Hounsfield units, (size, size) float32 in [-1024, 3071], the front of the body up.

    Args:
        size: side in pixels.
        seed: decides everything; or a generator.
        kind: "chest", "abdomen" or "head"; by default any of them.

    Raises:
        KeyError: no such kind.
    """
    rng = np.random.default_rng(seed)
    kind = KINDS_IN_ORDER[int(rng.integers(len(KINDS_IN_ORDER)))] if kind is None else kind
    canvas = Canvas(size, rng)
    body = KINDS[kind](canvas, rng)
    canvas.shade(body)
    return canvas.hu.clip(LOWEST, HIGHEST)


def phantom_picture(size: int, seed: int | np.random.Generator, window: tuple[float, float] = CT_WINDOW) -> np.ndarray:
    """A random phantom in the window, (size, size) float32 in [0, 1]."""
    return to_unit(phantom(size, seed), window)


class Canvas:
    """A slice that ellipses are painted on, each over what was there; edges are one pixel soft.

    Attributes:
        hu: (size, size) float32, air at first.
    """

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size, self.rng = size, rng
        self.hu = np.full((size, size), AIR, np.float32)
        self.axis = ((np.arange(size) + 0.5) * 2 / size - 1).astype(np.float32)

    def cover(self, ellipse: Ellipse) -> tuple[tuple[slice, slice], np.ndarray]:
        """Where the ellipse is, and the share of every pixel there that it covers."""
        reach = max(ellipse.a, ellipse.b) + 2 / self.size
        columns = slice(*np.searchsorted(self.axis, [ellipse.x - reach, ellipse.x + reach]))
        rows = slice(*np.searchsorted(self.axis, [-ellipse.y - reach, -ellipse.y + reach]))
        x, y = self.axis[None, columns], -self.axis[rows, None]
        # The distance to the edge, in pixels, is about (1 - q) times the shorter axis near it, q = sqrt(within).
        depth = (1 - np.sqrt(ellipse.within(x, y))) * (min(ellipse.a, ellipse.b) * self.size / 2)
        return (rows, columns), (depth + 0.5).clip(0, 1).astype(np.float32)

    def paint(self, ellipse: Ellipse, hu: float) -> Ellipse:
        """Fills the ellipse with a value; gives it back."""
        where, share = self.cover(ellipse)
        patch = self.hu[where]
        patch += share * (np.float32(hu) - patch)
        return ellipse

    def shade(self, body: Ellipse) -> None:
        """Slow variation of some 10 HU inside the body, and a fine grain of up to 10 HU, as a scan has them."""
        where, share = self.cover(body)
        x, y = self.axis[None, where[1]], -self.axis[where[0], None]
        shading = np.zeros_like(share)
        for kx, ky, phase, height in self.rng.normal(0, (3.0, 3.0, 3.0, 5.0), (4, 4)):
            shading += np.float32(height) * np.cos(kx * x + ky * y + phase)
        grain = self.rng.uniform(0, 10) * self.rng.standard_normal(share.shape, np.float32)
        self.hu[where] += share * (shading + grain)


def _inside(parent: Ellipse, rng: np.random.Generator, least: float, most: float, edge: float = 0.8) -> Ellipse:
    """A random ellipse with its centre in the parent; axes log-uniform between shares of the parent's shorter one."""
    x, y = parent.at(edge * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi))
    a = min(parent.a, parent.b) * np.exp(rng.uniform(np.log(least), np.log(most)))
    return Ellipse(a, a * rng.uniform(0.5, 1.0), x, y, rng.uniform(0, np.pi))


def _trunk(canvas: Canvas, rng: np.random.Generator) -> tuple[Ellipse, Ellipse]:
    """Skin and fat, and the muscle within; (body, inner)."""
    width = rng.uniform(0.72, 0.95)
    x, y, turn = (float(value) for value in rng.normal(0, (0.03, 0.03, 0.05)))
    body = Ellipse(width, width * rng.uniform(0.62, 0.78), x, y, turn)
    if rng.random() < 0.4:  # the table
        canvas.paint(Ellipse(0.9, 0.02, 0.0, body.y - body.b - 0.03), rng.uniform(-600, 100))
    canvas.paint(body, rng.uniform(-30, 40))
    canvas.paint(body.scaled(0.985), FAT + rng.normal(0, 10))
    return body, canvas.paint(body.scaled(rng.uniform(0.82, 0.95)), MUSCLE + rng.normal(0, 10))


def _spine(canvas: Canvas, rng: np.random.Generator, inner: Ellipse) -> None:
    """A vertebral body, its canal, and what sticks out of it."""
    size = rng.uniform(0.09, 0.13)
    x, y = inner.at(0.52, -np.pi / 2)
    for angle in (-0.6, 0.6, 0.0):
        dx, dy = size * 1.9 * np.sin(angle), -size * 1.9 * np.cos(angle)
        canvas.paint(Ellipse(size * 0.25, size * 0.7, x + dx, y + dy, angle), CORTICAL * rng.uniform(0.4, 0.7))
    canvas.paint(Ellipse(size, size * 0.8, x, y), CORTICAL * rng.uniform(0.6, 1.0))
    canvas.paint(Ellipse(size * 0.9, size * 0.7, x, y), SPONGY + rng.normal(0, 50))
    canvas.paint(Ellipse(size * 0.6, size * 0.5, x, y - size * 1.15), CORTICAL * 0.7)
    canvas.paint(Ellipse(size * 0.48, size * 0.38, x, y - size * 1.15), rng.uniform(10, 40))


def _ribs(canvas: Canvas, rng: np.random.Generator, inner: Ellipse) -> None:
    count = int(rng.integers(6, 14))
    for angle in np.arange(count) * 2 * np.pi / count + rng.uniform(0, 1) + rng.normal(0, 0.1, count):
        x, y = inner.at(rng.uniform(0.95, 1.0), angle)
        along = np.arctan2(inner.b * np.cos(angle), -inner.a * np.sin(angle)) + inner.angle
        rib = Ellipse(rng.uniform(0.04, 0.11), rng.uniform(0.018, 0.03), x, y, float(along))
        canvas.paint(rib, CORTICAL * rng.uniform(0.6, 1.1))
        canvas.paint(rib.scaled(0.6), SPONGY + rng.normal(0, 60))


def _lesions(canvas: Canvas, rng: np.random.Generator, organ: Ellipse, hu: float, contrast: float) -> None:
    """A few small spots, brighter or darker than the organ."""
    for _ in range(int(rng.integers(0, 5))):
        canvas.paint(_inside(organ, rng, 0.03, 0.25), hu + rng.choice([-1, 1]) * contrast * rng.uniform(0.4, 1.5))


def _chest(canvas: Canvas, rng: np.random.Generator) -> Ellipse:
    body, inner = _trunk(canvas, rng)
    blood = rng.choice([45.0, rng.uniform(120, 350)])  # with contrast agent, or without
    for side in (-1, 1):
        x, y = inner.x + side * inner.a * rng.uniform(0.46, 0.54), inner.y + rng.normal(0, 0.03)
        lung = Ellipse(inner.a * rng.uniform(0.33, 0.42), inner.b * rng.uniform(0.7, 0.85), x, y, rng.normal(0, 0.1))
        air = LUNG + rng.normal(0, 40)
        canvas.paint(lung, air)
        for _ in range(int(rng.integers(20, 60))):  # vessels and airways, cut across
            vessel = _inside(lung, rng, 0.012, 0.06, edge=0.93)
            canvas.paint(vessel, rng.uniform(-400, blood))
        _lesions(canvas, rng, lung, -400.0, 400.0)
    heart = Ellipse(inner.a * rng.uniform(0.25, 0.4), inner.b * rng.uniform(0.3, 0.45), inner.x + 0.08, inner.y + 0.1)
    canvas.paint(heart, FAT)
    canvas.paint(heart.scaled(0.93), 45 + rng.normal(0, 8))
    for _ in range(int(rng.integers(1, 4))):
        canvas.paint(_inside(heart, rng, 0.25, 0.5, edge=0.45), blood + rng.normal(0, 10))
    aorta = Ellipse(0.055, 0.055, inner.x + 0.1, inner.y - 0.38 * inner.b)
    canvas.paint(aorta, blood)
    canvas.paint(Ellipse(0.045, 0.04, inner.x, inner.y - 0.15 * inner.b), AIR)  # the windpipe
    _spine(canvas, rng, inner)
    _ribs(canvas, rng, inner)
    canvas.paint(Ellipse(0.1, 0.035, *inner.at(0.96, np.pi / 2), inner.angle), SPONGY * 1.5)  # the breastbone
    return body


def _abdomen(canvas: Canvas, rng: np.random.Generator) -> Ellipse:
    body, inner = _trunk(canvas, rng)
    cavity = canvas.paint(inner.scaled(0.9), FAT + rng.normal(0, 8))
    enhanced = rng.uniform(0, 80) * (rng.random() < 0.6)
    liver_hu = 55 + 0.7 * enhanced
    liver = Ellipse(
        cavity.a * 0.48, cavity.b * 0.62, *cavity.at(0.42, np.pi * rng.uniform(0.85, 1.1)), rng.normal(0, 0.3)
    )
    canvas.paint(liver, liver_hu)
    for _ in range(int(rng.integers(3, 12))):
        canvas.paint(_inside(liver, rng, 0.02, 0.08), liver_hu + rng.uniform(-20, 60))
    _lesions(canvas, rng, liver, liver_hu, 40.0)
    spleen = Ellipse(cavity.a * 0.16, cavity.b * 0.34, *cavity.at(0.72, rng.uniform(-0.5, 0.2)), rng.normal(0.2, 0.2))
    canvas.paint(spleen, 50 + enhanced)
    for _ in range(int(rng.integers(3, 10))):  # bowel: wall, contents, sometimes gas above them
        loop = _inside(Ellipse(cavity.a * 0.6, cavity.b * 0.5, cavity.x + 0.15, cavity.y + 0.1), rng, 0.15, 0.4, 0.9)
        canvas.paint(loop, 40 + 0.5 * enhanced)
        canvas.paint(loop.scaled(0.8), rng.uniform(0, 60))
        if rng.random() < 0.4:
            canvas.paint(Ellipse(loop.b * 0.6, loop.b * 0.4, loop.x, loop.y + loop.b * 0.2), AIR + 50)
    for side in (-1, 1):
        x, y = cavity.at(0.55, -np.pi / 2 + side * rng.uniform(0.8, 1.0))
        kidney = Ellipse(0.08, rng.uniform(0.1, 0.15), x, y, side * rng.uniform(0.2, 0.6))
        canvas.paint(kidney, 30 + 1.8 * enhanced)
        canvas.paint(Ellipse(0.03, 0.05, x - side * 0.03, y, kidney.angle), FAT + 60)
        _lesions(canvas, rng, kidney, 20.0, 30.0)
    _spine(canvas, rng, inner)
    canvas.paint(Ellipse(0.05, 0.05, inner.x + 0.06, inner.y - 0.28 * inner.b), 45 + 2 * enhanced)  # the aorta
    canvas.paint(Ellipse(0.055, 0.045, inner.x - 0.08, inner.y - 0.28 * inner.b), 45 + 1.5 * enhanced)
    _ribs(canvas, rng, inner)
    return body


def _head(canvas: Canvas, rng: np.random.Generator) -> Ellipse:
    length = rng.uniform(0.7, 0.9)
    x, y, turn = (float(value) for value in rng.normal(0, (0.03, 0.03, 0.15)))
    skin = Ellipse(length * rng.uniform(0.75, 0.88), length, x, y, turn)
    canvas.paint(skin, FAT * rng.uniform(0.0, 1.0) + 30)
    skull = canvas.paint(skin.scaled(rng.uniform(0.93, 0.97)), CORTICAL * rng.uniform(0.9, 1.5))
    canvas.paint(skull.scaled(0.96), SPONGY * rng.uniform(1.5, 3.0))
    canvas.paint(skull.scaled(0.94), CORTICAL * rng.uniform(0.9, 1.5))
    fluid = canvas.paint(skull.scaled(rng.uniform(0.86, 0.91)), 8.0)
    brain = canvas.paint(fluid.scaled(rng.uniform(0.96, 0.99)), 38 + rng.normal(0, 2))  # grey matter outside,
    for _ in range(int(rng.integers(8, 20))):  # white matter in between, sulci at the rim
        canvas.paint(_inside(brain, rng, 0.1, 0.35, edge=0.7), 28 + rng.normal(0, 3))
    for angle in rng.uniform(0, 2 * np.pi, int(rng.integers(6, 20))):
        x, y = brain.at(0.95, angle)
        canvas.paint(Ellipse(0.05, 0.01, x, y, angle + brain.angle + rng.normal(0, 0.4)), 10.0)
    for side in (-1, 1):
        x, y = brain.at(rng.uniform(0.12, 0.2), np.pi / 2 - side * rng.uniform(0.6, 1.2))
        ventricle = Ellipse(rng.uniform(0.03, 0.06), rng.uniform(0.15, 0.25), x, y, brain.angle - side * 0.25)
        canvas.paint(ventricle, 5.0)
    canvas.paint(Ellipse(0.006, brain.b, brain.x, brain.y, brain.angle), 55.0)  # the falx
    _lesions(canvas, rng, brain, 38.0, 30.0)
    if rng.random() < 0.3:  # sinuses in front
        canvas.paint(Ellipse(0.08, 0.06, *skull.at(0.9, np.pi / 2)), AIR)
    return skin


KINDS: dict[str, Callable[[Canvas, np.random.Generator], Ellipse]] = {
    "chest": _chest,
    "abdomen": _abdomen,
    "head": _head,
}
KINDS_IN_ORDER = tuple(KINDS)
