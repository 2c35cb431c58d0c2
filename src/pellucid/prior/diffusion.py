"""A prior from any network: the foreign parametrisation is adapted once, here. Inside, a prior means E[x_0 | x_t]."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

from pellucid.codec import AffineCodec, Codec
from pellucid.errors import CompatibilityError, ShapeError
from pellucid.prior.base import Prior
from pellucid.process import DiscreteVP, Process
from pellucid.typing import Shape, expand

Prediction = Literal["eps", "x0", "v", "score", "denoiser"]
Network = Callable[[Tensor, Tensor], Tensor]


class DiffusionPrior(Prior):
    """E[x_0 | x_t] from a network.

    Args:
        network: called with x (b, c, h, w) and the time (b,). For a discrete process the time is the published codes'
            timestep i = t - 1; for "denoiser" it is the noise level sigma_t / alpha_t, and x is x_t / alpha_t.
        process: the forward process that the network was trained on (for "denoiser": any).
        predicts: what the network returns. With eps = (x_t - alpha x_0) / sigma: "eps"; "x0"; "v" = alpha eps - sigma
            x_0 (Salimans and Ho, 2022); "score" = -eps / sigma; "denoiser" = E[x_0 | x_0 + sigma n].
        learned_variance: whether the network returns twice the channels, the second half v with the variance mix
            f = (v + 1) / 2 (Nichol and Dhariwal, 2021).
        codec: by default pictures are mapped to [-1, 1].
        multiple: the network takes sides that are multiples of this; others are padded by reflection and cropped back.
        channels: of the network's pictures; grey pictures are given to a network of colour as `_toned` makes them.
        autocast: dtype of the network's forward pass on the CPU or GPU, None for the parameters' own.
        plug_and_play: why the network is of use in plug-and-play methods alone, and no E[x_0 | x_t] at the levels that
            diffusion begins with: "blind", it is not told how strong the noise is; "weak", it knows weak noise only.

    Raises:
        CompatibilityError: `predicts` is none of the five words.
    """

    def __init__(
        self,
        network: Network,
        process: Process | None = None,
        predicts: Prediction = "eps",
        *,
        learned_variance: bool = False,
        codec: Codec | None = None,
        multiple: int = 1,
        channels: int | None = None,
        autocast: torch.dtype | None = None,
        plug_and_play: Literal["blind", "weak"] | None = None,
    ) -> None:
        if predicts not in ("eps", "x0", "v", "score", "denoiser"):
            raise CompatibilityError(f"predicts must be eps, x0, v, score or denoiser, not {predicts!r}")
        self.network, self.predicts = network, predicts
        self.process, self.codec = process or DiscreteVP.linear(), codec or AffineCodec()
        self.learned_variance, self.multiple, self.channels, self.autocast = (
            learned_variance,
            multiple,
            channels,
            autocast,
        )
        self.plug_and_play = plug_and_play

    def check(self, image_shape: Shape) -> None:
        """Raises `ShapeError` where the network takes pictures of other channels."""
        found, wanted = self.codec.shape(image_shape)[0], self.channels
        if wanted is not None and found != wanted and not (found == 1 and wanted == 3):
            takes = (
                "grey or colour pictures, of 1 or 3 channels"
                if wanted == 3
                else f"pictures of {wanted} channel{'s' * (wanted > 1)}"
            )
            grey = (wanted, found) == (1, 3)
            remedy = "convert the picture to grey first" if grey else "an array is (channels, height, width)"
            raise ShapeError(f"this prior takes {takes}, not of {found}; {remedy}")

    def _denoise(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.channels == 3 and x.shape[1] == 1:
            x0, mix = self._denoise(*self._toned(x, t))
            return x0.mean(1, keepdim=True), None if mix is None else mix.mean(1, keepdim=True)
        alpha, sigma = expand(self.process.alpha(t), x), expand(self.process.sigma(t), x)
        if self.predicts == "denoiser":
            ratio = self.process.ratio(t).clamp(min=1e-4)
            return self._call(x / alpha, ratio), None
        out = self._call(x, t - 1 if self.process.discrete else t)
        mix = None
        if self.learned_variance:
            out, v = out.chunk(2, dim=1)
            mix = (v + 1) / 2
        if self.predicts == "x0":
            return out, mix
        if self.predicts == "v":
            return (alpha * x - sigma * out) / (alpha**2 + sigma**2), mix
        eps = out if self.predicts == "eps" else -sigma * out
        return (x - sigma * eps) / alpha, mix

    def _toned(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """A grey x_t as a colour network knows noisy pictures: (three channels, their time).

        Three equal channels would carry the same noise three times, which no network of colour has seen. With w white
        and of zero mean over the channels, x_t + sqrt(3) sigma_t w has independent noise of sqrt(3) sigma_t in each of
        them, and its mean over the channels is x_t: nothing is lost, and the mean of what the network says is E[x_0 |
        x_t] of a grey picture. w is the same field for all pictures and times.
        """
        process, field = (
            self.process,
            torch.randn(1, 3, *x.shape[2:], generator=torch.Generator().manual_seed(0), dtype=torch.float64),
        )
        w = (field - field.mean(1, keepdim=True)).to(x)
        later = process.time_at_ratio(3**0.5 * process.ratio(t))
        later = later if self.predicts == "denoiser" else process.on_grid(later)
        louder = 3**0.5 * process.sigma(t)
        scale = process.sigma(later) / louder.clamp(min=torch.finfo(torch.float64).tiny)
        return expand(scale, x) * (x + expand(louder, x) * w), later

    def _call(self, x: Tensor, time: Tensor) -> Tensor:
        """The network on padded pictures, in its own dtype and memory format; the result in x's dtype."""
        height, width = x.shape[-2:]
        padded = pad_to_multiple(x, self.multiple)
        dtype, device = self._own(x)
        context = torch.autocast(device.type, self.autocast) if self.autocast else nullcontext()
        with context:
            out = self.network(
                padded.to(device, dtype), time.to(device, torch.float64 if dtype == torch.float64 else torch.float32)
            )
        return out.to(x.device, x.dtype)[..., :height, :width]

    def _own(self, x: Tensor) -> tuple[torch.dtype, torch.device]:
        parameter = next(self.network.parameters(), None) if isinstance(self.network, nn.Module) else None
        return (x.dtype, x.device) if parameter is None else (parameter.dtype, parameter.device)


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Reflects at the right and lower edge until both sides are multiples; mirrors again where the picture is small."""
    for dim in (-2, -1):
        index = torch.arange(-(-x.shape[dim] // multiple) * multiple, device=x.device)
        period = max(2 * (x.shape[dim] - 1), 1)
        folded = index % period
        folded = torch.minimum(folded, period - folded) if x.shape[dim] > 1 else torch.zeros_like(index)
        if len(index) != x.shape[dim]:
            x = x.index_select(dim, folded)
    return x
