"""Flash-Diffusion's severity encoder: from a degraded picture a latent, and how wrong that latent is.

Reference: Fabian, Tinaz and Soltanolkotabi, Adapt and Diffuse: Sample-adaptive Reconstruction via Latent Diffusion
Models, ICML 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from pellucid.errors import ConfigError, PriorError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, VQModel

Family = Literal["vq", "kl"]


class SeverityEncoder(nn.Module):
    """(z_hat, s2): y (b, 3, h, w) in [-1, 1] -> (b, latent, h / f, w / f) and (b,), f = `multiple`.

        vq:  z_hat = quant_conv(encoder(y)),             s2 = mean over the entries of std_conv(z_hat)^2
        kl:  (z_hat, u) = halves of quant_conv(encoder(y)),  s2 = mean over the entries of u^2

    s2 estimates the variance of z_hat - z_0 per entry (not its standard deviation, as the paper's symbol suggests): it
    is compared with 1 / SNR = sigma_t^2 / alpha_t^2. The encoder is diffusers', so that an autoencoder's weights fit.

    Args:
        family: of the autoencoder.
        channels: of the pictures.
        latent: channels of z_hat, after quant_conv.
        z_channels: channels of the encoder's result (for "kl": of its mean), before quant_conv; `latent` if None.
        widths: feature channels of the levels; each but the last halves the size.
        blocks: residual blocks of each level.
        groups: of the group normalisations.

    Raises:
        ConfigError: another family.
        PriorError: diffusers is not installed.
    """

    def __init__(
        self,
        family: Family = "vq",
        channels: int = 3,
        latent: int = 3,
        z_channels: int | None = None,
        widths: Sequence[int] = (128, 256, 512),
        blocks: int = 2,
        groups: int = 32,
    ) -> None:
        super().__init__()
        if family not in ("vq", "kl"):
            raise ConfigError(f"a severity encoder's family is 'vq' or 'kl', not {family!r}")
        try:
            from diffusers.models.autoencoders.vae import Encoder
        except ImportError as error:
            raise PriorError("severity encoders need the extra: pip install 'pellucid[diffusers]'") from error
        inner = latent if z_channels is None else z_channels
        self.config: dict[str, Any] = {
            "family": family,
            "channels": channels,
            "latent": latent,
            "z_channels": inner,
            "widths": list(widths),
            "blocks": blocks,
            "groups": groups,
        }
        self.family: Family = family
        self.multiple = 2 ** (len(widths) - 1)
        times = 2 if family == "kl" else 1
        self.encoder: nn.Module = Encoder(
            in_channels=channels,
            out_channels=inner,
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            block_out_channels=tuple(widths),
            layers_per_block=blocks,
            norm_num_groups=groups,
            double_z=family == "kl",
        )
        self.quant_conv = nn.Conv2d(times * inner, times * latent, 1)
        self.std_conv = nn.Conv2d(latent, latent, 1) if family == "vq" else None

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(z_hat, s2)."""
        encoded: Tensor = self.quant_conv(self.encoder(y))
        if self.std_conv is not None:
            z, spread = encoded, self.std_conv(encoded)
        else:
            z, spread = encoded.chunk(2, dim=1)
        return z, spread.square().flatten(1).mean(1)

    @classmethod
    def from_autoencoder(cls, autoencoder: VQModel | AutoencoderKL) -> SeverityEncoder:
        """The start of training: encoder and quant_conv of an autoencoder, std_conv as torch initialises it.

        Raises:
            PriorError: its encoder is made of other blocks.
        """
        parts: Any = autoencoder
        config = parts.config
        family: Family = "vq" if type(autoencoder).__name__ == "VQModel" else "kl"
        latent = config["latent_channels"]
        if set(config["down_block_types"]) != {"DownEncoderBlock2D"}:
            raise PriorError(f"a severity encoder's blocks are DownEncoderBlock2D, not {config['down_block_types']}")
        made = cls(
            family,
            config["in_channels"],
            config.get("vq_embed_dim") or latent,
            latent,
            config["block_out_channels"],
            config["layers_per_block"],
            config["norm_num_groups"],
        )
        made.encoder.load_state_dict(parts.encoder.state_dict())
        if parts.quant_conv is None:
            raise PriorError("this autoencoder has no quant_conv, which the severity encoder continues")
        made.quant_conv.load_state_dict(parts.quant_conv.state_dict())
        return made
