"""Dirac's network: from a partly degraded picture and its noise level to the clean one, and a head for the severity."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pellucid.errors import ConfigError
from pellucid.nn.bands import SeverityHead
from pellucid.nn.edm import EDMDenoiser
from pellucid.nn.unet import UNet

PREDICTIONS = ("x0", "degraded", "noise")
TIMESTEPS = 1000.0  # a UNet2DModel is told sigma as this share of a thousand steps


class Restorer(nn.Module):
    """G(y_t, sigma_t), (b, c, h, w) in [0, 1] and (b,) in the same units -> (G, rate or None).

    G estimates what `predicts` says:

        "x0"         Phi = E[x_0 | y_t]            Dirac's
        "degraded"   E[A_t(x_0) | y_t]             y_t without its noise
        "noise"      the same, as y_t - sigma_t F: F is the noise

    With `lifted` it is shown what `Degradation.lifted` makes of y_t, c + 1 channels, and y_t below is the first c.

    The first two are residual: G = y + F for a SongUNet and a UNet2DModel; for our UNet EDM's mixture of y and F, which
    at these low levels is about y + sigma_t F, so that a denoiser of pictures is a beginning. With `rates`, F has as
    many channels again: -E[dA_t(x_0)/dt | y_t], so that increments need no family.

    Args:
        network: `class`: "unet" (the default), "songunet" or "UNet2DModel", and that class's arguments.
        predicts: see above.
        rates: see above.
        sigma_data: of EDM's mixture, in [-1, 1].
        lifted: see above; for our UNet.

    Raises:
        ConfigError: another class or prediction, or something lifted that cannot be.
    """

    def __init__(
        self,
        network: dict[str, Any],
        predicts: str = "x0",
        rates: bool = False,
        sigma_data: float = 0.5,
        lifted: bool = False,
    ) -> None:
        super().__init__()
        if predicts not in PREDICTIONS:
            raise ConfigError(f"predicts must be {', '.join(PREDICTIONS[:-1])} or {PREDICTIONS[-1]}, not {predicts!r}")
        if lifted and predicts != "x0":
            raise ConfigError("a lifted network predicts x0: y_t without its noise is not what it is shown")
        self.config = {"network": network, "predicts": predicts, "rates": rates, "sigma_data": sigma_data}
        self.config |= {"lifted": True} if lifted else {}
        self.predicts, self.rates, self.lifted = predicts, rates, lifted
        self.network, self.multiple, self.channels = _network(dict(network), rates, lifted)
        self._edm = [EDMDenoiser(self.network, sigma_data)] if isinstance(self.network, UNet) else []

    def forward(self, y: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        """(G, rate), in the dtype of y."""
        c = y.shape[1] - self.lifted
        y, weight = y[:, :c], y[:, c:]
        level = sigma.to(y)[:, None, None, None]
        if self._edm:
            x, noise = 2 * y - 1, 2 * sigma.to(y)
            c_skip, c_out, c_in = (value[:, None, None, None] for value in self._edm[0].coefficients(noise))
            out = self._edm[0].raw(torch.cat([c_in * x, 2 * weight - 1], dim=1), noise).to(y.dtype)
            estimate = (c_skip * x + c_out * out[:, :c] + 1) / 2
        else:
            out = self._raw(y, sigma).to(y.dtype)
            estimate = y + out[:, :c]
        if self.predicts == "noise":
            estimate = y - level * out[:, :c]
        return estimate, out[:, c:] if self.rates else None

    def _raw(self, y: Tensor, sigma: Tensor) -> Tensor:
        if type(self.network).__name__ == "SongUNet":
            out: Tensor = self.network(y, sigma)
            return out
        predicted: Tensor = self.network(2 * y - 1, TIMESTEPS * sigma, return_dict=False)[0]
        return predicted


def _network(words: dict[str, Any], rates: bool, lifted: bool) -> tuple[nn.Module, int, int]:
    """(the network, the multiple that sides must be of, channels of pictures)."""
    kind, channels = words.pop("class", "unet"), int(words.pop("channels", 3))
    outputs = 2 * channels if rates else channels
    network: Any
    if kind == "unet":
        network = UNet(channels=channels + lifted, outputs=outputs if rates or lifted else None, **words)
        return _fast(network), network.multiple, channels
    if lifted:
        raise ConfigError(f"only a 'unet' can be lifted, not a {kind!r}")
    if kind == "songunet":
        from pellucid.nn.songunet import SongUNet

        if rates:
            raise ConfigError("a 'songunet' makes pictures of the channels that it takes: rates need a 'unet'")
        network = SongUNet(channels=channels, **words)
        return _fast(network), network.multiple, channels
    if kind == "UNet2DModel":
        from diffusers import UNet2DModel

        network = UNet2DModel(in_channels=channels, out_channels=outputs, **words)  # type: ignore[no-untyped-call]
        return _fast(network), 2 ** (len(network.config.block_out_channels) - 1), channels
    raise ConfigError(f"a restorer's class is 'unet', 'songunet' or 'UNet2DModel', not {kind!r}")


class DiracNetwork(nn.Module):
    """What `pellucid train dirac` makes: a `Restorer`, and the head that tells the severity of a measurement.

    Args:
        network, predicts, rates, sigma_data, lifted: see `Restorer`.
        severity: whether there is a head.
    """

    def __init__(
        self,
        network: dict[str, Any],
        predicts: str = "x0",
        rates: bool = False,
        sigma_data: float = 0.5,
        severity: bool = True,
        lifted: bool = False,
    ) -> None:
        super().__init__()
        self.restorer = Restorer(network, predicts, rates, sigma_data, lifted)
        self.severity = SeverityHead() if severity else None
        self.lifted = lifted
        self.config = {**self.restorer.config, "severity": severity}

    def forward(self, y: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `Restorer`."""
        found: tuple[Tensor, Tensor | None] = self.restorer(y, sigma)
        return found


def _fast(network: Any) -> nn.Module:
    fast: nn.Module = network.to(memory_format=torch.channels_last)
    return fast
