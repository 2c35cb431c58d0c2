"""Denoising diffusion null-space models with a latent prior."""

from __future__ import annotations

from pellucid.consistency.latent_projection import LatentBackProjection
from pellucid.grid import Uniform
from pellucid.method import Method
from pellucid.transition import Mixed


def latent_ddnm(nfe: int = 100, eta: float = 0.85, factor: float = 1.0, residual_code: bool = True) -> Method:
    """Latent DDNM: every estimate is decoded, its measured part replaced by the measurement, and encoded again.

    Reference: Wang, Yu and Zhang, Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model, ICLR 2023;
    behind an autoencoder as in Song et al., ReSample, ICLR 2024, which it differs from by projecting in closed form.

    Equations: z0 <- E(D(z0) - A^+ (A D(z0) - y)), the projection of eq. (13) on pictures, in `LatentBackProjection`;
    step of eq. (14) in `Mixed`. With a pixel prior and no noise it is DDNM on an even grid.

    Limits: z0 -> E(D(z0)) is taken for the identity, and a consistent picture's code for a code that decodes
    consistently. Holding is let go of, direction by direction, where the measurement is noisier than the latents;
    where singular values are not known (tomography), by degrees.

    Args:
        nfe: network calls, each with one pass through the decoder and two through the encoder.
        eta: share of fresh noise.
        factor: a direction is held while its noise sigma_y / s is below this multiple of the estimate's.
        residual_code: z0 + E(projected) - E(D(z0)), in which the autoencoder's own error cancels; False: E(projected).
    """
    return Method(Uniform(nfe), Mixed(eta), consistency=LatentBackProjection(factor, residual_code), name="latent-ddnm")
