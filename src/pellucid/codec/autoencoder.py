"""The codec of latent priors: an autoencoder between pictures and latents."""

from __future__ import annotations

from contextlib import nullcontext
from copy import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as checkpointed

from pellucid.account import count_decode, count_encode, decode_vjp_counter
from pellucid.codec import sparing
from pellucid.codec.base import Codec, Decoded
from pellucid.errors import PriorError, ShapeError
from pellucid.typing import Shape

if TYPE_CHECKING:
    from pellucid.problem import Observation, Problem


class AutoencoderCodec(Codec):
    """z = s (E(2 x - 1) - m) and x = (D(z / s + m) + 1) / 2, with encoder E, decoder D, scaling factor s and shift m.

    E gives the mean of the latents where it gives a distribution. D of a vector-quantised autoencoder first replaces
    every latent by the nearest entry of its code book; its gradient is then that at the entry, taken for the latent's
    (straight through; van den Oord et al., 2017). Neither is linear, so that every operator on latents is general.

    Pictures whose sides are no multiples of `factor` are continued by reflection when they are encoded; decoded ones
    are cropped to the picture's size (`picture`). A grey picture is given as three equal channels, and decoded to the
    mean.

    Args:
        module: has `encode` and `decode`, as diffusers' VQModel and AutoencoderKL, on pictures in [-1, 1]; returns
            tensors, tuples of them, or diffusers' outputs.
        scaling_factor, shift: s and m; by default those of the module's configuration.
        factor: a picture's side in latents; by default from the module's configuration.
        latent_channels, channels: of latents and pictures; likewise.
        quantise: False leaves out the code book (`force_not_quantize`).
        checkpoint: the decoder's activations are computed again for its gradient instead of being kept: part by part
            (`codec.sparing`) for the decoders of VQModel and AutoencoderKL, as a whole for others.
        autocast: dtype of the module's forward pass; None for the parameters' own.
        origin: sha256 of the weights, by which networks that were trained for them know them; None if not known.

    Raises:
        PriorError: the module has no such methods, or neither it nor the caller says the sizes.
    """

    linear = False

    def __init__(
        self,
        module: nn.Module,
        *,
        scaling_factor: float | None = None,
        shift: float | None = None,
        factor: int | None = None,
        latent_channels: int | None = None,
        channels: int | None = None,
        quantise: bool = True,
        checkpoint: bool = False,
        autocast: torch.dtype | None = None,
        origin: str | None = None,
    ) -> None:
        if not callable(getattr(module, "encode", None)) or not callable(getattr(module, "decode", None)):
            raise PriorError(f"{type(module).__name__} is no autoencoder: it has not both encode and decode")
        config: Any = getattr(module, "config", None) or {}
        if factor is None and "block_out_channels" in config:
            factor = 2 ** (len(config["block_out_channels"]) - 1)
        latent_channels = latent_channels or config.get("vq_embed_dim") or config.get("latent_channels")
        channels = channels or config.get("in_channels", 3)
        if factor is None or latent_channels is None:
            raise PriorError(f"say factor and latent_channels: {type(module).__name__} has no configuration that does")
        self.module, self.factor = module, factor
        self.latent_channels, self.channels = int(latent_channels), int(channels or 3)
        self.scaling_factor = float(_first(scaling_factor, config.get("scaling_factor"), 1.0))
        self.shift = float(_first(shift, config.get("shift_factor"), 0.0))
        self.quantised = quantise and isinstance(getattr(module, "quantize", None), nn.Module)
        self._takes_switch = isinstance(getattr(module, "quantize", None), nn.Module)
        self.checkpoint, self.autocast, self.origin = checkpoint, autocast, origin

    def shape(self, image_shape: Shape) -> Shape:
        """(latent channels, ceil(h / factor), ceil(w / factor)). Raises `ShapeError` for pictures of other channels."""
        if image_shape[0] != self.channels and not (image_shape[0] == 1 and self.channels == 3):
            raise ShapeError(f"this autoencoder takes pictures of {self.channels} channels, not of {image_shape[0]}")
        height, width = (-(-side // self.factor) for side in image_shape[-2:])
        return (self.latent_channels, height, width)

    def encode(self, image: Tensor) -> Tensor:
        """(b, c, h, w) in [0, 1] -> (b, latent channels, ceil(h / factor), ceil(w / factor)); no randomness."""
        from pellucid.prior.diffusion import pad_to_multiple

        self.shape(tuple(image.shape[1:]))
        if image.shape[1] != self.channels:
            image = image.expand(-1, self.channels, -1, -1)
        count_encode()
        out = self._run(self._encode, 2 * pad_to_multiple(image, self.factor) - 1)
        return self.scaling_factor * (out - self.shift)

    def decode(self, z: Tensor) -> Tensor:
        """(b, latent channels, h', w') -> (b, channels, factor h', factor w'), in [0, 1] but for overshoots."""
        run = self._decode
        if self.checkpoint and self._sparable():
            run = self._decode_sparingly
        elif self.checkpoint and torch.is_grad_enabled() and z.requires_grad:

            def run(h: Tensor) -> Tensor:
                return checkpointed(self._decode, h, use_reentrant=False)

        count_decode()
        image = (self._run(run, z / self.scaling_factor + self.shift) + 1) / 2
        if image.requires_grad:
            count = decode_vjp_counter()
            image.register_hook(lambda _: count())
        return image

    def picture(self, z: Tensor, image_shape: Shape) -> Tensor:
        image = self.decode(z)[..., : image_shape[-2], : image_shape[-1]]
        return image.mean(1, keepdim=True) if image_shape[0] == 1 and self.channels != 1 else image

    def smooth(self) -> AutoencoderCodec:
        """Without the code book, which makes decoding a step function."""
        if not self.quantised:
            return self
        other = copy(self)
        other.quantised = False
        return other

    def observe(self, problem: Problem) -> Observation:
        from pellucid.problem import Observation

        gain = torch.as_tensor(problem.gain, dtype=torch.float64).expand(len(problem.y))
        operator = Decoded(problem.operator, self)
        return Observation(
            problem.y, operator, problem.std, problem.variance, gain if gain.any() else None, problem=problem
        )

    def _encode(self, x: Tensor) -> Tensor:
        return _tensor(self.module.encode(x))  # type: ignore[operator]

    def _decode(self, h: Tensor) -> Tensor:
        decode: Any = self.module.decode
        return _tensor(decode(h, force_not_quantize=not self.quantised) if self._takes_switch else decode(h))

    def _sparable(self) -> bool:
        """Whether the module is one whose decoder is known part by part; slices and tiles are its own way to spare."""
        module: Any = self.module
        known = type(module).__name__ in ("VQModel", "AutoencoderKL") and sparing.sparable(module.decoder)
        own = getattr(module, "use_tiling", False) or getattr(module, "use_slicing", False)
        return known and not own and not module.config.get("lookup_from_codebook")

    def _decode_sparingly(self, h: Tensor) -> Tensor:
        module: Any = self.module
        if self.quantised:
            h = module.quantize(h)[0]
        return sparing.decode(module.decoder, h if module.post_quant_conv is None else module.post_quant_conv(h))

    def _run(self, function: Any, x: Tensor) -> Tensor:
        """In the module's dtype and on its device; the result in those of x."""
        own = next(self.module.parameters(), x)
        context = torch.autocast(own.device.type, self.autocast) if self.autocast else nullcontext()
        with context:
            out: Tensor = function(x.to(own.device, own.dtype))
        return out.to(x.device, x.dtype)


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


def _tensor(out: Any) -> Tensor:
    """The tensor in what encoders and decoders return; the mean of a distribution."""
    if isinstance(out, tuple):
        out = out[0]
    distribution = getattr(out, "latent_dist", None)
    if distribution is None and not isinstance(out, Tensor) and hasattr(out, "mode"):
        distribution = out
    if distribution is not None:
        out = distribution.mode()
    for name in ("latents", "sample"):
        if not isinstance(out, Tensor) and isinstance(getattr(out, name, None), Tensor):
            out = getattr(out, name)
    if not isinstance(out, Tensor):
        raise PriorError(f"an autoencoder returned a {type(out).__name__}, in which there is no tensor")
    return out
