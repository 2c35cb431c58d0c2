"""Small operators, one line each; every one of them inherits all the tests of `test_properties`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pellucid.operators import (
    HDR,
    JPEG,
    AnisotropicBlur,
    Bicubic,
    BlockAverage,
    CircularBlur,
    ContrastLoss,
    Diagonal,
    FanBeam,
    GaussianBlur,
    Grey,
    Identity,
    KernelBlur,
    LinearOperator,
    Mask,
    MotionBlur,
    NonlinearBlur,
    Operator,
    ParallelBeam,
    PhaseRetrieval,
    Pixelation,
    Quantise,
    Separable,
    SoftMask,
    SparseView,
    Spectral,
    Transmission,
    UniformBlur,
    WalshHadamard,
    as_operator,
    exposure,
    stack,
)
from tests.operators.physics import Doubling, Squaring

Factory = Callable[[], Operator]

SHAPE = (3, 8, 8)
ODD = (3, 9, 7)

# Dominated by its middle, so that conjugate gradients reach the pseudo-inverse itself.
SHARP = torch.tensor([[0.0, 0.1, 0.0, 0.0], [0.05, 0.0, 0.7, 0.1], [0.0, 0.0, 0.0, 0.05]])
BLUNT = torch.tensor([[0.0, 0.0, 0.2, 0.0], [0.0, 0.0, 0.9, 0.0], [0.1, 0.0, 0.0, 0.0]])


def ramp(*shape: int) -> torch.Tensor:
    """A full matrix that is no one's favourite."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


SHARED: dict[str, Factory] = {
    "identity": lambda: Identity(SHAPE),
    "diagonal": lambda: Diagonal(ODD, ramp(*ODD)),
    "mask random": lambda: Mask.random(ODD, 0.6, seed=1),
    "mask box": lambda: Mask.box(SHAPE, 3),
    "mask half": lambda: Mask.side(ODD, "top"),
    "soft mask": lambda: SoftMask(ODD, 1.5),
    "gaussian": lambda: GaussianBlur(ODD, 1.2),
    "gaussian zero": lambda: GaussianBlur(SHAPE, 3.0, kernel_size=5, boundary="zero"),
    "gaussian circular": lambda: GaussianBlur(ODD, 0.8, boundary="circular"),
    "gaussian wider than the picture": lambda: GaussianBlur(SHAPE, 6.0),
    "anisotropic": lambda: AnisotropicBlur(ODD, 0.5, 2.0),
    "uniform": lambda: UniformBlur(ODD, 3),
    "uniform even": lambda: UniformBlur(SHAPE, 4, boundary="zero"),
    "separable": lambda: Separable(ODD, ramp(4, 9), ramp(7, 7)),
    "bicubic": lambda: Bicubic(SHAPE, 2),
    "bicubic odd": lambda: Bicubic(ODD, 3),
    "block average": lambda: BlockAverage(SHAPE, 4),
    "grey": lambda: Grey(ODD),
    "grey luma": lambda: Grey(SHAPE, "luma"),
    "walsh hadamard": lambda: WalshHadamard(SHAPE, 0.3, seed=2),
    "circular": lambda: CircularBlur(ODD, SHARP),
    "circular even": lambda: CircularBlur(SHAPE, ramp(4, 5)),
    "kernel": lambda: KernelBlur(ODD, SHARP),
    "kernel zero": lambda: KernelBlur(SHAPE, SHARP, boundary="zero"),
    "composition": lambda: Mask.random(ODD, 0.5) @ KernelBlur(ODD, SHARP),
    "separable composition": lambda: Bicubic(SHAPE, 2) @ GaussianBlur(SHAPE, 0.7),
    "sum": lambda: Identity(ODD) + KernelBlur(ODD, SHARP),
    "scaled": lambda: -0.5 * Grey(ODD),
    "scaled linear": lambda: 2 * KernelBlur(ODD, SHARP),
    "stack": lambda: stack([Bicubic(SHAPE, 2), Grey(SHAPE)]),
    "stack of channels": lambda: stack([Grey(SHAPE), Identity(SHAPE)]),
    "truncated": lambda: GaussianBlur(ODD, 2.0).truncated(),
    "pixelation": lambda: Pixelation(ODD, [0.5, 0.2, 0.0, 0.3]),
    "pixelation of blocks": lambda: Pixelation.of(ODD, 4),
    "pixelation of one block": lambda: Pixelation.of(SHAPE, 32),
    "exposure": lambda: exposure(ODD, 0.25),
    "sparse view": lambda: SparseView(SHAPE, ramp(8), 0.4),
    "sparse view few": lambda: SparseView.of(ODD, 2, 4),
    "physics": lambda: as_operator(Doubling(), SHAPE),
    "motion": lambda: MotionBlur(ODD, 1, size=5),
    "tomography": lambda: ParallelBeam(ODD, 12),
    "tomography limited": lambda: ParallelBeam(SHAPE, 3, span=90, start=-45, detectors=8, unit="pixel"),
    "tomography around": lambda: ParallelBeam((1, 8, 8), 30, span=360, spacing=0.8),
    "fan beam": lambda: FanBeam(ODD, 12),
    "fan beam near": lambda: FanBeam(SHAPE, 4, span=200, source=1.0, detector=0.5, detectors=9, spacing=1.8),
    "jpeg": lambda: JPEG((3, 20, 24), 40),
    "jpeg grey": lambda: JPEG((1, 9, 7), 40, rounding="smooth"),
    "phase retrieval": lambda: PhaseRetrieval(SHAPE),
    "contrast": lambda: ContrastLoss(ODD, 0.3, 0.4),
    "hdr": lambda: HDR(ODD),
    "quantise": lambda: Quantise(ODD, 2),
    "quantise smooth": lambda: Quantise(ODD, 2, rounding="smooth"),
    "nonlinear blur": lambda: NonlinearBlur(ODD, 1, size=5),
    "nonlinear blur circular": lambda: NonlinearBlur(ODD, kernel=SHARP, response="srgb", boundary="circular"),
    "nonlinear composition": lambda: Quantise((1, 9, 7)) @ Grey(ODD),
    "nonlinear sum": lambda: HDR(SHAPE) + 0.5 * Identity(SHAPE),
    "nonlinear scaled": lambda: 3 * HDR(SHAPE),
    "transmission": lambda: Transmission(ParallelBeam(ODD, 4), 3.0),
    "nonlinear stack": lambda: stack([HDR(SHAPE), PhaseRetrieval(SHAPE)]),
    "nonlinear physics": lambda: as_operator(Squaring(), SHAPE),
}

# An operator with a parameter per image, and the operators that it must be for each image alone.
PER_IMAGE: dict[str, tuple[Factory, list[Factory]]] = {
    "masks": (
        lambda: Mask.random(ODD, [0.2, 0.7]),
        [lambda: Mask.random(ODD, 0.2), lambda: Mask.random(ODD, 0.7)],
    ),
    "seeds": (
        lambda: Mask.random(ODD, 0.5, seed=[3, 4]),
        [lambda: Mask.random(ODD, 0.5, seed=3), lambda: Mask.random(ODD, 0.5, seed=4)],
    ),
    "holes": (lambda: SoftMask(ODD, [1.0, 2.0]), [lambda: SoftMask(ODD, 1.0), lambda: SoftMask(ODD, 2.0)]),
    "widths": (
        lambda: GaussianBlur(ODD, [0.0, 1.5]),
        [lambda: GaussianBlur(ODD, 0.0), lambda: GaussianBlur(ODD, 1.5)],
    ),
    "one width": (
        lambda: AnisotropicBlur(ODD, [0.5, 1.0], 2.0),
        [lambda: AnisotropicBlur(ODD, 0.5, 2.0), lambda: AnisotropicBlur(ODD, 1.0, 2.0)],
    ),
    "kernels": (
        lambda: KernelBlur(ODD, torch.stack([SHARP, BLUNT])),
        [lambda: KernelBlur(ODD, SHARP), lambda: KernelBlur(ODD, BLUNT)],
    ),
    "circular kernels": (
        lambda: CircularBlur(ODD, torch.stack([SHARP, BLUNT])),
        [lambda: CircularBlur(ODD, SHARP), lambda: CircularBlur(ODD, BLUNT)],
    ),
    "orders": (
        lambda: WalshHadamard(SHAPE, 0.3, seed=[1, 2]),
        [lambda: WalshHadamard(SHAPE, 0.3, seed=1), lambda: WalshHadamard(SHAPE, 0.3, seed=2)],
    ),
    "composed": (
        lambda: Mask.random(ODD, [0.2, 0.7]) @ KernelBlur(ODD, SHARP),
        [
            lambda: Mask.random(ODD, 0.2) @ KernelBlur(ODD, SHARP),
            lambda: Mask.random(ODD, 0.7) @ KernelBlur(ODD, SHARP),
        ],
    ),
    "blurred and shrunk": (
        lambda: Bicubic(ODD, 2) @ GaussianBlur(ODD, [0.5, 1.5]),
        [lambda: Bicubic(ODD, 2) @ GaussianBlur(ODD, 0.5), lambda: Bicubic(ODD, 2) @ GaussianBlur(ODD, 1.5)],
    ),
    "scaled": (
        lambda: 2 * GaussianBlur(ODD, [0.5, 1.0]),
        [lambda: 2 * GaussianBlur(ODD, 0.5), lambda: 2 * GaussianBlur(ODD, 1.0)],
    ),
    "stacked": (
        lambda: stack([Mask.random(ODD, [0.2, 0.7]), Grey(ODD)]),
        [lambda: stack([Mask.random(ODD, 0.2), Grey(ODD)]), lambda: stack([Mask.random(ODD, 0.7), Grey(ODD)])],
    ),
    "truncated": (
        lambda: GaussianBlur(ODD, [1.0, 2.0]).truncated(),
        [lambda: GaussianBlur(ODD, 1.0).truncated(), lambda: GaussianBlur(ODD, 2.0).truncated()],
    ),
    "blocks": (
        lambda: Pixelation(ODD, [[1.0, 0.0, 0.0], [0.2, 0.5, 0.3]]),
        [lambda: Pixelation(ODD, [1.0, 0.0, 0.0]), lambda: Pixelation(ODD, [0.2, 0.5, 0.3])],
    ),
    "exposures": (lambda: exposure(ODD, [0.2, 1.5]), [lambda: exposure(ODD, 0.2), lambda: exposure(ODD, 1.5)]),
    "views": (
        lambda: SparseView(ODD, ramp(2, 4), torch.tensor([0.3, 0.9], dtype=torch.float64)),
        [lambda: SparseView(ODD, ramp(2, 4)[0], 0.3), lambda: SparseView(ODD, ramp(2, 4)[1], 0.9)],
    ),
    "fading": (
        lambda: ContrastLoss(ODD, [0.3, 0.8]),
        [lambda: ContrastLoss(ODD, 0.3), lambda: ContrastLoss(ODD, 0.8)],
    ),
    "qualities": (lambda: JPEG(SHAPE, [20, 80]), [lambda: JPEG(SHAPE, 20), lambda: JPEG(SHAPE, 80)]),
    "contrasts": (lambda: HDR(SHAPE, [1.5, 3.0]), [lambda: HDR(SHAPE, 1.5), lambda: HDR(SHAPE, 3.0)]),
    "bits": (lambda: Quantise(SHAPE, [1, 4]), [lambda: Quantise(SHAPE, 1), lambda: Quantise(SHAPE, 4)]),
    "densities": (
        lambda: Transmission(ParallelBeam(ODD, 4), [2.0, 5.0]),
        [lambda: Transmission(ParallelBeam(ODD, 4), 2.0), lambda: Transmission(ParallelBeam(ODD, 4), 5.0)],
    ),
    "paths": (
        lambda: NonlinearBlur(ODD, [1, 2], size=5),
        [lambda: NonlinearBlur(ODD, 1, size=5), lambda: NonlinearBlur(ODD, 2, size=5)],
    ),
}

ALL: dict[str, Factory] = SHARED | {f"{name} per image": pair[0] for name, pair in PER_IMAGE.items()}
LINEAR = [name for name, make in ALL.items() if isinstance(make(), LinearOperator)]
SPECTRAL = [name for name, make in ALL.items() if isinstance(make(), Spectral)]
NONLINEAR = [name for name in ALL if name not in LINEAR]
