"""Flash-Diffusion's severity encoder: from a degraded picture an estimate of it, and how wrong that estimate is.

Reference: Fabian, Tinaz and Soltanolkotabi, Adapt and Diffuse: Sample-adaptive Reconstruction via Latent Diffusion
Models, ICML 2024.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from pellucid.errors import ConfigError, PriorError
from pellucid.nn.unet import UNet
from pellucid.prior.diffusion import pad_to_multiple

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, VQModel

Family = Literal["vq", "kl"]
Head = Literal["latent", "features"]


class SeverityNetwork(nn.Module):
    """(z_hat, s2): y (b, c, h, w) in [-1, 1] -> an estimate (b, ...) and the variance of its error per entry, (b,).

    Attributes:
        config: its arguments.
        multiple: what the sides of y must be multiples of.
    """

    config: dict[str, Any]
    multiple: int

    @abstractmethod
    def field(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(z_hat, the variance of every entry of it), both (b, ...): the diagonal of the error's covariance."""

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(z_hat, s2): s2 is the mean of `field`'s variances."""
        z, variance = self.field(y)
        return z, variance.flatten(1).mean(1)


class SeverityEncoder(SeverityNetwork):
    """(z_hat, s2): y (b, 3, h, w) in [-1, 1] -> (b, latent, h / f, w / f) and (b,), f = `multiple`.

        vq:  z_hat = quant_conv(encoder(y)),             s2 = mean over the entries of std_conv(z_hat)^2
        kl:  (z_hat, u) = halves of quant_conv(encoder(y)),  s2 = mean over the entries of u^2

    With `head="features"` u = std_conv of the features that the encoder's last convolution sees, whatever the family:
    then s2 need not be told by z_hat itself.

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
        head: what u is made of: "latent" (the paper's) or "features".

    Raises:
        ConfigError: another family or head.
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
        head: Head = "latent",
    ) -> None:
        super().__init__()
        if family not in ("vq", "kl"):
            raise ConfigError(f"a severity encoder's family is 'vq' or 'kl', not {family!r}")
        if head not in ("latent", "features"):
            raise ConfigError(f"a severity encoder's head is on the 'latent' or on 'features', not {head!r}")
        try:
            from diffusers.models.autoencoders.vae import Encoder
        except ImportError as error:
            raise PriorError("severity encoders need the extra: pip install 'pellucid[diffusers]'") from error
        inner = latent if z_channels is None else z_channels
        self.config = {
            "family": family,
            "channels": channels,
            "latent": latent,
            "z_channels": inner,
            "widths": list(widths),
            "blocks": blocks,
            "groups": groups,
            "head": head,
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
        seen = widths[-1] if head == "features" else latent
        self.std_conv = nn.Conv2d(seen, latent, 1) if family == "vq" or head == "features" else None
        self.on_features = head == "features"

    def field(self, y: Tensor) -> tuple[Tensor, Tensor]:
        encoder: Any = self.encoder
        h = self.features(y)
        encoded: Tensor = self.quant_conv(encoder.conv_out(h))
        z = encoded.chunk(2, dim=1)[0] if self.family == "kl" else encoded
        head, seen = self.std_conv, h if self.on_features else z
        u = encoded.chunk(2, dim=1)[1] if head is None else head(seen)
        return z, u.float().square() if u.dtype == torch.bfloat16 else u.square()

    def features(self, y: Tensor) -> Tensor:
        """What the encoder's last convolution sees."""
        encoder: Any = self.encoder
        h = encoder.conv_in(y)
        for block in encoder.down_blocks:
            h = block(h)
        out: Tensor = encoder.conv_act(encoder.conv_norm_out(encoder.mid_block(h)))
        return out

    @classmethod
    def from_autoencoder(cls, autoencoder: VQModel | AutoencoderKL, head: Head = "latent") -> SeverityEncoder:
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
            head,
        )
        made.encoder.load_state_dict(parts.encoder.state_dict())
        if parts.quant_conv is None:
            raise PriorError("this autoencoder has no quant_conv, which the severity encoder continues")
        made.quant_conv.load_state_dict(parts.quant_conv.state_dict())
        return made


class PixelSeverity(SeverityNetwork):
    """(x_hat, s2) for pixel priors: x_hat = v + c and s2 = mean u^2, (c, u) the two halves of a UNet's output.

    The paper has no such network; the loss is its own, with pixels in [-1, 1] for latents.

    Args:
        channels: of the pictures.
        network: further arguments of `UNet`.
    """

    def __init__(self, channels: int = 3, **network: Any) -> None:
        super().__init__()
        self.unet = UNet(**{"channels": channels, "outputs": 2 * channels, **network})
        with torch.no_grad():  # a head that gives 0 would have no gradient through its square
            bias = self.unet.head.bias
            assert bias is not None
            bias[channels * self.unet.unshuffle**2 :] = 0.2
        self.config = {key: value for key, value in self.unet.config.items() if key != "outputs"}
        self.multiple = self.unet.multiple

    def field(self, y: Tensor) -> tuple[Tensor, Tensor]:
        height, width = y.shape[-2:]
        out = self.unet(pad_to_multiple(y, self.multiple), torch.zeros(len(y), device=y.device, dtype=y.dtype))
        correction, u = out[..., :height, :width].to(y.dtype).chunk(2, dim=1)
        return y + correction, u.square()


def make_severity(network: dict[str, Any]) -> SeverityNetwork:
    """A network from the words of a card or configuration: `class` "encoder" or "unet", and its arguments.

    Raises:
        ConfigError: another class.
    """
    arguments = dict(network)
    kind = arguments.pop("class", "encoder")
    makers: dict[str, type[SeverityNetwork]] = {"encoder": SeverityEncoder, "unet": PixelSeverity}
    if kind not in makers:
        raise ConfigError(f"a severity network's class is 'encoder' or 'unet', not {kind!r}")
    fast: SeverityNetwork = makers[kind](**arguments).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return fast
