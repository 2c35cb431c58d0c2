"""Forward models y = A(x): what happened to the picture."""

from pellucid.operators.algebra import Stack, Sum, stack
from pellucid.operators.base import LinearOperator, Operator, Spectral
from pellucid.operators.blur import AnisotropicBlur, GaussianBlur, UniformBlur
from pellucid.operators.color import Grey
from pellucid.operators.convolution import CircularBlur, KernelBlur, MotionBlur
from pellucid.operators.diagonal import Diagonal, Identity
from pellucid.operators.mask import Mask, SoftMask
from pellucid.operators.motion import motion_kernel
from pellucid.operators.resize import Bicubic, BlockAverage
from pellucid.operators.separable import Separable

__all__ = [
    "AnisotropicBlur",
    "Bicubic",
    "BlockAverage",
    "CircularBlur",
    "Diagonal",
    "GaussianBlur",
    "Grey",
    "Identity",
    "KernelBlur",
    "LinearOperator",
    "Mask",
    "MotionBlur",
    "Operator",
    "Separable",
    "SoftMask",
    "Spectral",
    "Stack",
    "Sum",
    "UniformBlur",
    "motion_kernel",
    "stack",
]
