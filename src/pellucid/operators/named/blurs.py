"""Names for the blurs."""

from __future__ import annotations

from pellucid.operators.base import LinearOperator
from pellucid.operators.bkse import build_encoded_blur
from pellucid.operators.blur import AnisotropicBlur, GaussianBlur, UniformBlur
from pellucid.operators.convolution import MotionBlur, kernel_blur
from pellucid.operators.files import read_kernel
from pellucid.operators.kernels import Boundary
from pellucid.operators.motion import motion_kernel
from pellucid.operators.named.entry import BOUNDARY, RCOND, SEED, Entry, Parameter
from pellucid.operators.nonlinear_blur import NonlinearBlur
from pellucid.operators.response import RESPONSES
from pellucid.operators.values import NUMBER, PATH, WHOLE, words
from pellucid.typing import Shape


def build_motion(image_shape: Shape, seed: int, size: int, intensity: float, boundary: Boundary) -> LinearOperator:
    """A motion blur; spectral if the boundary is circular."""
    if boundary == "circular":
        return kernel_blur(image_shape, motion_kernel(seed, size, intensity), boundary)
    return MotionBlur(image_shape, seed, size=size, intensity=intensity, boundary=boundary)


def build_from_file(image_shape: Shape, file: str, boundary: Boundary) -> LinearOperator:
    """A blur by the kernel in a file; spectral if the boundary is circular."""
    return kernel_blur(image_shape, read_kernel(file), boundary)


CUTS = (
    Parameter("kernel_size", WHOLE, None, "cuts the kernel to this many taps (odd)"),
    Parameter("truncate", NUMBER, 4.0, "cuts the kernel at this many std"),
    BOUNDARY,
    RCOND,
)
PATH_OF_CAMERA = (
    SEED,
    Parameter("size", WHOLE, 61, "of the kernel, in pixels"),
    Parameter("intensity", NUMBER, 0.5, "0 is a straight line, 1 shakes a lot"),
    BOUNDARY,
)

ENTRIES = (
    Entry(
        "gaussian-blur",
        GaussianBlur,
        "blur by a Gaussian",
        "gaussian-blur:std=3",
        (Parameter("std", NUMBER, 3.0, "in pixels"), *CUTS),
    ),
    Entry(
        "anisotropic-blur",
        AnisotropicBlur,
        "blur by a Gaussian that is wider along one axis",
        "anisotropic-blur:std_y=20,std_x=1,kernel_size=9",
        (
            Parameter("std_y", NUMBER, 20.0, "down the columns, in pixels"),
            Parameter("std_x", NUMBER, 1.0, "along the rows, in pixels"),
            *CUTS,
        ),
    ),
    Entry(
        "uniform-blur",
        UniformBlur,
        "blur by a box",
        "uniform-blur:size=9",
        (Parameter("size", WHOLE, 9, "of the box, in pixels"), BOUNDARY, RCOND),
    ),
    Entry("motion-blur", build_motion, "blur by a shaking camera", "motion-blur:seed=0,intensity=0.5", PATH_OF_CAMERA),
    Entry(
        "kernel-blur",
        build_from_file,
        "blur by a kernel from a file",
        "kernel-blur:file=kernel.npy",
        (Parameter("file", PATH, None, "a .npy array or a grey picture", required=True), BOUNDARY),
    ),
    Entry(
        "nonlinear-blur",
        NonlinearBlur,
        "blur by a shaking camera, in linear light",
        "nonlinear-blur:seed=0,response=gamma",
        (
            *PATH_OF_CAMERA,
            Parameter("response", words(*RESPONSES), "gamma", "of the camera"),
            Parameter("gamma", NUMBER, 2.2, "of the response gamma"),
        ),
    ),
    Entry(
        "bkse",
        build_encoded_blur,
        "blur by a shaking camera, as BKSE's network learned it",
        "bkse:weights=kernelwizard,seed=0",
        (
            Parameter("weights", PATH, None, "a folder made by pellucid import from GOPRO_wVAE.pth", required=True),
            SEED,
        ),
    ),
)
