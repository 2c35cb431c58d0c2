"""Forward models y = A(x): what happened to the picture."""

from pellucid.operators.adapter import as_operator
from pellucid.operators.algebra import stack
from pellucid.operators.base import LinearOperator, Operator, Spectral
from pellucid.operators.blur import AnisotropicBlur, GaussianBlur, UniformBlur
from pellucid.operators.check import CheckError, dot_test, penrose, require, spectral_test
from pellucid.operators.circular import CircularBlur
from pellucid.operators.color import Grey
from pellucid.operators.combined import Stack, Sum
from pellucid.operators.convolution import KernelBlur, MotionBlur, kernel_blur
from pellucid.operators.diagonal import Diagonal, Identity
from pellucid.operators.families import (
    BlurFamily,
    ContrastFamily,
    ExposureFamily,
    Family,
    JPEGFamily,
    MaskFamily,
    PixelationFamily,
    RandomMaskFamily,
    ViewFamily,
    family,
)
from pellucid.operators.hadamard import WalshHadamard
from pellucid.operators.jpeg import JPEG
from pellucid.operators.mask import Mask, SoftMask
from pellucid.operators.motion import motion_kernel
from pellucid.operators.nonlinear import HDR, PhaseRetrieval, Quantise
from pellucid.operators.nonlinear_blur import NonlinearBlur
from pellucid.operators.pixelation import Pixelation
from pellucid.operators.resize import Bicubic, BlockAverage
from pellucid.operators.separable import Separable
from pellucid.operators.text import OPERATORS, Spec, parse
from pellucid.operators.tomography import FanBeam, ParallelBeam, Tomograph
from pellucid.operators.tomography.sparse import SparseView
from pellucid.operators.tone import ContrastLoss, exposure
from pellucid.operators.transmission import Transmission
from pellucid.operators.views import Truncated

__all__ = [
    "HDR",
    "JPEG",
    "OPERATORS",
    "AnisotropicBlur",
    "Bicubic",
    "BlockAverage",
    "BlurFamily",
    "CheckError",
    "CircularBlur",
    "ContrastFamily",
    "ContrastLoss",
    "Diagonal",
    "ExposureFamily",
    "Family",
    "FanBeam",
    "GaussianBlur",
    "Grey",
    "Identity",
    "JPEGFamily",
    "KernelBlur",
    "LinearOperator",
    "Mask",
    "MaskFamily",
    "MotionBlur",
    "NonlinearBlur",
    "Operator",
    "ParallelBeam",
    "PhaseRetrieval",
    "Pixelation",
    "PixelationFamily",
    "Quantise",
    "RandomMaskFamily",
    "Separable",
    "SoftMask",
    "SparseView",
    "Spec",
    "Spectral",
    "Stack",
    "Sum",
    "Tomograph",
    "Transmission",
    "Truncated",
    "UniformBlur",
    "ViewFamily",
    "WalshHadamard",
    "as_operator",
    "dot_test",
    "exposure",
    "family",
    "kernel_blur",
    "motion_kernel",
    "parse",
    "penrose",
    "require",
    "spectral_test",
    "stack",
]
