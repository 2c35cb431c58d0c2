"""What is particular to the two geometries in filtered back-projection."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from pellucid.operators.tomography.filters import filtered
from pellucid.operators.tomography.footprint import Array
from pellucid.operators.tomography.geometry import Fan, Parallel


def view_shares(geometry: Parallel) -> Array:
    """The angle that every view stands for, in radians, (angles,): half of the way to its neighbours, modulo 180.

    That is span / angles up to 180 degrees; beyond, directions that are measured twice share their part. Nothing is
    taken to stand for what a limited span leaves out.
    """
    theta = geometry.theta % np.pi
    order = np.argsort(theta, kind="stable")
    gap = np.diff(theta[order], append=theta[order[0]] + np.pi)
    gap = np.minimum(gap, np.deg2rad(geometry.span) / geometry.angles)
    shares = np.empty_like(gap)
    shares[order] = (gap + np.roll(gap, 1)) / 2
    return shares


def fan_backprojection(geometry: Fan, y: Tensor, filter: str) -> Tensor:
    """x(p) = dtheta / 2 sum_i (R / depth_i(p))^2 (ramp * (y_i R / sqrt(R^2 + v^2))) at p's place v on the detector.

    Kak and Slaney, section 3.4.2, for sources once around the picture; linear between the cells' middles.

    Args:
        geometry: of the scan, span 360.
        y: (b, c, angles, detectors), in pixels.
        filter: its name.
    """
    radius, n = geometry.source, geometry.detectors
    v = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * geometry.spacing
    weighted = y * (radius / (radius**2 + v**2).sqrt()).to(y)
    views = pad(filtered(weighted, geometry.spacing, filter), (1, 1)) * (np.pi / geometry.angles)
    x, up = geometry.pixels
    total = y.new_zeros(*y.shape[:2], len(x))
    for i, theta in enumerate(geometry.theta):
        place = torch.from_numpy(geometry.position(theta, x, up) + 0.5).clamp(0, n + 1)
        left = place.floor().clamp(max=n)
        depth = torch.from_numpy(geometry.depth(theta, x, up)[1])
        share, near = (place - left).to(y), left.long().to(y.device)
        value = torch.lerp(views[:, :, i][..., near], views[:, :, i][..., near + 1], share)
        total = total + value * ((radius / depth) ** 2).to(y)
    return total.reshape(*y.shape[:2], geometry.height, geometry.width)
