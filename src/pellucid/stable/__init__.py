"""Stable Diffusion conditioned on a picture: the x4 upscaler, and inpainting by words; both adaptable (ADIR)."""

from pellucid.stable.adaptation import InpaintLoss, UpscaleLoss, learned
from pellucid.stable.inpainter import Inpainter
from pellucid.stable.upscaler import Upscaler

__all__ = ["InpaintLoss", "Inpainter", "UpscaleLoss", "Upscaler", "learned"]
