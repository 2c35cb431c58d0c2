"""Codecs: between pictures in [0, 1] and the space that the diffusion lives in. Ranges change here and nowhere else."""

from pellucid.codec.affine import AffineCodec
from pellucid.codec.base import Codec, Decoded

__all__ = ["AffineCodec", "Codec", "Decoded"]
