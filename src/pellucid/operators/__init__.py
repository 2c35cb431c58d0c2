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
from pellucid.operators.families import BlurFamily, Family, MaskFamily, RandomMaskFamily
from pellucid.operators.hadamard import WalshHadamard
from pellucid.operators.jpeg import JPEG
from pellucid.operators.mask import Mask, SoftMask
from pellucid.operators.motion import motion_kernel
from pellucid.operators.nonlinear import HDR, PhaseRetrieval, Quantise
from pellucid.operators.nonlinear_blur import NonlinearBlur
from pellucid.operators.resize import Bicubic, BlockAverage
from pellucid.operators.separable import Separable
from pellucid.operators.text import OPERATORS, Spec, parse
from pellucid.operators.tomography import FanBeam, ParallelBeam, Tomograph
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
    "Diagonal",
    "Family",
    "FanBeam",
    "GaussianBlur",
    "Grey",
    "Identity",
    "KernelBlur",
    "LinearOperator",
    "Mask",
    "MaskFamily",
    "MotionBlur",
    "NonlinearBlur",
    "Operator",
    "ParallelBeam",
    "PhaseRetrieval",
    "Quantise",
    "RandomMaskFamily",
    "Separable",
    "SoftMask",
    "Spec",
    "Spectral",
    "Stack",
    "Sum",
    "Tomograph",
    "Transmission",
    "Truncated",
    "UniformBlur",
    "WalshHadamard",
    "as_operator",
    "dot_test",
    "kernel_blur",
    "motion_kernel",
    "parse",
    "penrose",
    "require",
    "spectral_test",
    "stack",
]
