"""Where the rays of a scanner run: parallel and fan beams, seen from above.

Lengths are in pixels. X points right and Y up from the picture's centre. View i has the angle theta_i = start +
span i / angles; its detector lies along e = (cos theta, sin theta), its central ray runs along d = (-sin theta,
cos theta). That is the convention of `skimage.transform.radon`: at 0 degrees the columns are summed, and the detector
is read from left to right; at 90 degrees the rows, from the bottom up.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from pellucid.operators.tomography.footprint import Array, area_below


@dataclass(frozen=True)
class Geometry(ABC):
    """A scan: views, cells of the detector, and which part of a pixel each cell sees.

    Attributes:
        height, width: of the picture, in pixels.
        angles: number of views.
        span, start: in degrees.
        detectors: number of cells; their middle is opposite the picture's centre.
        spacing: of the cells' centres, in pixels at the picture's centre.
    """

    height: int
    width: int
    angles: int
    span: float
    start: float
    detectors: int
    spacing: float

    @property
    def theta(self) -> Array:
        """The angle of every view, in radians."""
        return np.deg2rad(self.start + self.span * np.arange(self.angles) / self.angles)

    @property
    def pixels(self) -> tuple[Array, Array]:
        """X and Y of the pixels' centres, row by row."""
        x = np.arange(self.width) - (self.width - 1) / 2
        y = (self.height - 1) / 2 - np.arange(self.height)
        return np.tile(x, self.height), np.repeat(y, self.width)

    def axes(self, theta: float, x: Array, y: Array) -> tuple[Array, Array]:
        """(p . e, p . d) of the points p = (x, y)."""
        cos, sin = math.cos(theta), math.sin(theta)
        return x * cos + y * sin, y * cos - x * sin

    @abstractmethod
    def position(self, theta: float, x: Array, y: Array) -> Array:
        """Where on the detector the points are seen, in cells: cell j covers [j, j + 1]."""

    @abstractmethod
    def below(self, theta: float, edge: Array, x: Array, y: Array) -> Array:
        """The area of the unit pixels at (x, y) on the lower side of the ray to `edge`, a cell's lower end."""

    @abstractmethod
    def thickness(self, theta: float, cell: Array, x: Array, y: Array) -> Array | float:
        """How wide the beam that falls on the cell is at the pixels."""


@dataclass(frozen=True)
class Parallel(Geometry):
    """Parallel rays: line s of view theta holds the points with X cos theta + Y sin theta = s."""

    def position(self, theta: float, x: Array, y: Array) -> Array:
        return self.axes(theta, x, y)[0] / self.spacing + self.detectors / 2

    def below(self, theta: float, edge: Array, x: Array, y: Array) -> Array:
        s = (edge - self.detectors / 2) * self.spacing
        return area_below(s - self.axes(theta, x, y)[0], math.cos(theta), math.sin(theta))

    def thickness(self, theta: float, cell: Array, x: Array, y: Array) -> float:
        return self.spacing


@dataclass(frozen=True)
class Fan(Geometry):
    """Rays from a source at -source d to a straight detector.

    Attributes:
        source: its distance to the picture's centre, in pixels.
    """

    source: float

    def depth(self, theta: float, x: Array, y: Array) -> tuple[Array, Array]:
        """Of the points, seen from the source: across and along the central ray."""
        across, along = self.axes(theta, x, y)
        return across, along + self.source

    def position(self, theta: float, x: Array, y: Array) -> Array:
        across, along = self.depth(theta, x, y)
        return self.source * across / along / self.spacing + self.detectors / 2

    def below(self, theta: float, edge: Array, x: Array, y: Array) -> Array:
        across, along = self.depth(theta, x, y)
        v = (edge - self.detectors / 2) * self.spacing
        length = np.hypot(self.source, v)
        cos, sin = math.cos(theta), math.sin(theta)
        normal = (self.source * cos + v * sin) / length, (self.source * sin - v * cos) / length
        return area_below((v * along - self.source * across) / length, *normal)

    def thickness(self, theta: float, cell: Array, x: Array, y: Array) -> Array:
        across, along = self.depth(theta, x, y)
        low, high = ((cell + i - self.detectors / 2) * self.spacing / self.source for i in (0, 1))
        return np.hypot(across, along) * (np.arctan(high) - np.arctan(low))
